//! Parked rows that are due, and dead letters whose copy is due.

use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, Iterable, JoinType, QueryFilter, QueryOrder,
    QueryResult, QuerySelect, QueryTrait,
};

use super::parked::{ParkedRow, ParkedState};
use super::target::Targets;
use super::{event, in_buckets, is_at, place, reason};
use crate::domain::{LogPlace, OutboxEvent, Topic};
use crate::parts::store::entity::outbox_parked::{Column, Entity};
use crate::parts::store::entity::{event_of_parked, outbox_event};
use crate::parts::store::{Store, StoreError};

/// Due parked rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueRows {
    /// Oldest first.
    pub parked: Vec<Parked>,
    /// Rows whose event this release cannot read, with the reason.
    pub unreadable: Vec<(ParkedRow, String)>,
}

/// A parked row with its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The event.
    pub event: OutboxEvent,
    /// Attempts charged so far.
    pub attempts: u32,
    /// Class of the last failure.
    pub error_class: String,
    /// The last failure.
    pub error: String,
}

impl Store {
    /// Due rows of `buckets` in one state, for these targets, oldest first, at most `rows_max`. Only one state, so
    /// that they are in the order of an index and the database stops early. A row that is due later than in `wait_max` was
    /// parked before the database's clock was set back: it is due, too.
    pub async fn parked_due(
        &self,
        state: ParkedState,
        buckets: &[u16],
        targets: &Targets,
        (rows_max, wait_max): (u32, Duration),
    ) -> Result<DueRows, StoreError> {
        let next_at = || Column::NextAt.into_expr();
        let is_due = next_at().lte(self.now_expr());
        let is_due = is_due.or(next_at().gt(self.after(wait_max)));
        let rows = Entity::find()
            .select_only()
            .columns(outbox_event::Column::iter())
            .columns([Column::Attempts, Column::ErrorClass, Column::Error])
            .join(JoinType::InnerJoin, event_of_parked())
            .filter(Column::State.eq(state.as_str()))
            .filter(is_due)
            .filter(in_buckets(Column::CampaignId, buckets))
            .filter(Column::Topic.is_in(Topic::ALL.map(Topic::as_str)))
            .filter(targets.condition())
            .order_by_asc(Column::State)
            .order_by_asc(Column::NextAt)
            .order_by_asc(Column::CampaignId)
            .order_by_asc(Column::Topic)
            .order_by_asc(Column::Sequence)
            .limit(u64::from(rows_max));
        let mut due = DueRows::default();
        for row in self.db.query_all(rows.as_query()).await? {
            match parked(&row) {
                Ok(parked) => due.parked.push(parked),
                Err(failure) => due.unreadable.push((parked_row(&row)?, reason(&failure))),
            }
        }
        Ok(due)
    }

    /// Records that the copy of a dead row is in the dead letter topic.
    pub async fn dead_letter_copied(&self, place: LogPlace) -> Result<bool, StoreError> {
        let noted = Entity::update_many()
            .col_expr(Column::CopiedAt, self.now_expr())
            .col_expr(Column::NextAt, Expr::null())
            .filter(is_at(place))
            .filter(Column::State.eq(ParkedState::Dead.as_str()));
        Ok(noted.exec(&self.db).await?.rows_affected == 1)
    }

    /// Postpones the copy of a dead row.
    pub async fn put_off_copy(&self, place: LogPlace, delay: Duration) -> Result<bool, StoreError> {
        let put_off = Entity::update_many()
            .col_expr(Column::NextAt, self.after(delay))
            .filter(is_at(place))
            .filter(Column::State.eq(ParkedState::Dead.as_str()))
            .filter(Column::CopiedAt.is_null());
        Ok(put_off.exec(&self.db).await?.rows_affected == 1)
    }
}

fn parked_row(row: &QueryResult) -> Result<ParkedRow, StoreError> {
    Ok(ParkedRow {
        place: place(row)?,
        key: row.try_get::<String>("", "message_key")?.into(),
    })
}

fn parked(row: &QueryResult) -> Result<Parked, StoreError> {
    let attempts: i64 = row.try_get("", "attempts")?;
    Ok(Parked {
        event: event(row)?,
        attempts: u32::try_from(attempts).unwrap_or_default(),
        error_class: row.try_get("", "error_class")?,
        error: row.try_get("", "error")?,
    })
}

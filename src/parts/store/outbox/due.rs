//! Parked rows that are due, and dead letters whose copy is due.

use std::time::Duration;

use sea_orm::QueryResult;

use super::parked::{ParkedRow, ParkedState};
use super::target::Targets;
use super::{EVENT_COLUMNS, event, in_buckets, place, reason};
use crate::domain::{LogPlace, OutboxEvent};
use crate::parts::store::numbers::to_signed;
use crate::parts::store::{Store, StoreError};

/// Parked rows whose time has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueRows {
    /// Oldest first.
    pub parked: Vec<Parked>,
    /// Rows whose event this release cannot read, and why.
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
    /// Rows of `buckets` in one state whose time has come, of these targets, oldest first, at most `rows_max`. Of one
    /// state, so that they come in the order of an index and the database stops when it has them.
    pub async fn parked_due(
        &self,
        state: ParkedState,
        buckets: &[u16],
        targets: &Targets,
        rows_max: u32,
    ) -> Result<DueRows, StoreError> {
        let mut sql = self.sql("SELECT ");
        sql.push(EVENT_COLUMNS)
            .push(", p.attempts, p.error_class, p.error FROM outbox_parked p ")
            .push(
                "JOIN outbox_event e ON e.campaign_id = p.campaign_id AND e.sequence = p.sequence",
            )
            .push(" WHERE p.state = ")
            .bind(state.as_str())
            .push(" AND p.next_at <= ")
            .now()
            .push(" AND ");
        in_buckets(&mut sql, "p.campaign_id", buckets);
        targets.condition(&mut sql);
        sql.push(" ORDER BY p.state, p.next_at, p.campaign_id, p.sequence LIMIT ")
            .bind(rows_max);
        let mut due = DueRows::default();
        for row in sql.rows(&self.db).await? {
            match parked(&row) {
                Ok(parked) => due.parked.push(parked),
                Err(failure) => due.unreadable.push((parked_row(&row)?, reason(&failure))),
            }
        }
        Ok(due)
    }

    /// Notes that a dead row's copy is in the dead letter topic.
    pub async fn dead_letter_copied(&self, place: LogPlace) -> Result<bool, StoreError> {
        let mut sql = self.sql("UPDATE outbox_parked SET copied_at = ");
        sql.now().push(", next_at = NULL WHERE campaign_id = ");
        sql.bind(place.campaign.0).push(" AND sequence = ");
        sql.bind(to_signed(place.sequence))
            .push(" AND state = 'dead'");
        Ok(sql.run(&self.db).await? == 1)
    }

    /// Puts off the copy of a dead row.
    pub async fn put_off_copy(&self, place: LogPlace, delay: Duration) -> Result<bool, StoreError> {
        let mut sql = self.sql("UPDATE outbox_parked SET next_at = ");
        sql.after(delay).push(" WHERE campaign_id = ");
        sql.bind(place.campaign.0).push(" AND sequence = ");
        sql.bind(to_signed(place.sequence));
        sql.push(" AND state = 'dead' AND copied_at IS NULL");
        Ok(sql.run(&self.db).await? == 1)
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

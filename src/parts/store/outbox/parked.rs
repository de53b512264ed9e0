//! Events that the position has passed and that are not published: they wait for a retry, behind an earlier event of
//! their key, for their request, or for a decision of an operator.
//!
//! At most one row of a key is retried at a time; the others are `blocked`. When it is delivered or given up, the
//! next one in order of sequence is retried.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::sea_query::{Condition, Expr, ExprTrait};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect,
    QueryTrait, Value,
};
use uuid::Uuid;

use super::{is_at, position};
use crate::domain::words::words;
use crate::domain::{EventId, LogPlace, OutboxEvent, StreamId, Topic, key_hash};
use crate::parts::store::entity::outbox_parked::{ActiveModel, Column, Entity};
use crate::parts::store::entity::{insert_rows, outbox_position};
use crate::parts::store::numbers::{narrow, to_signed};
use crate::parts::store::query::{delete_by_key, on_key};
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::text_limits::shortened;
use crate::parts::store::{Store, StoreError};

words! {
    /// Why a row is parked.
    pub enum ParkedState {
        /// Retried at its time.
        Retry = "retry",
        /// Its topic or partition accepts no records: retried when the target works again, and no attempt is charged.
        Waiting = "waiting",
        /// Waits behind an earlier row of its key.
        Blocked = "blocked",
        /// Its request publishes it; retried if that takes too long.
        Held = "held",
        /// Published, but the position has not passed it yet.
        Acknowledged = "acknowledged",
        /// A dead letter.
        Dead = "dead",
        /// Discarded by an admin; the row stays as a record.
        Discarded = "discarded",
    }
}

/// The new state of a row that could not be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedVerdict {
    /// Its state.
    pub state: ParkedState,
    /// Attempts charged so far.
    pub attempts: u32,
    /// Class of the failure: one word.
    pub error_class: &'static str,
    /// The failure for people, shortened to the length of the column.
    pub error: String,
    /// When it is retried; none: only on request.
    pub next_in: Option<Duration>,
}

/// The lease of a bucket under which a row was read. A relay that has lost the bucket since then parks none of its
/// rows: another relay has read them, and may have published later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// The bucket.
    pub bucket: u16,
    /// The number of owners of the bucket at that time.
    pub epoch: u64,
}

/// An event to be parked.
#[derive(Clone, Debug)]
pub struct NewlyParked {
    /// Its place.
    pub place: LogPlace,
    /// Its id.
    pub id: EventId,
    /// Its key; empty if it cannot be read.
    pub key: Arc<str>,
    /// The state in which it is parked.
    pub verdict: ParkedVerdict,
    /// The lease under which it was read.
    pub tenure: Tenure,
}

impl NewlyParked {
    /// That of an event.
    #[must_use]
    pub fn of(event: &OutboxEvent, verdict: ParkedVerdict, epoch: u64) -> Self {
        Self {
            place: event.place(),
            id: event.id,
            key: Arc::clone(&event.key),
            verdict,
            tenure: Tenure {
                bucket: event.campaign_id.bucket(),
                epoch,
            },
        }
    }
}

/// A parked row, and the key that it blocks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ParkedRow {
    /// Where its event is.
    pub place: LogPlace,
    /// The key of its event.
    pub key: Arc<str>,
}

impl ParkedRow {
    /// The key within its stream.
    #[must_use]
    pub fn stream_key(&self) -> StreamKey {
        (self.place.stream, Arc::clone(&self.key))
    }
}

/// A key within a stream: the order of its events is kept.
pub type StreamKey = (StreamId, Arc<str>);

/// States of rows that are retried.
pub(super) const TRIED_AGAIN: [&str; 3] = ["retry", "held", "waiting"];
/// States of rows that block the later rows of their key.
pub(super) const HOLDS_BACK: [&str; 4] = ["retry", "held", "waiting", "blocked"];

const ERROR_CHARACTERS_MAX: usize = 1_000;

impl Store {
    /// Parks events, except those whose bucket another relay owns now; returns the parked ones. An event that is
    /// already parked stays unchanged, so a repetition after a lost answer has no effect.
    pub async fn park(
        &self,
        owner: &str,
        rows: &[NewlyParked],
    ) -> Result<BTreeSet<LogPlace>, StoreError> {
        let tx = self.begin().await?;
        let tenures: BTreeSet<u16> = rows.iter().map(|row| row.tenure.bucket).collect();
        let leased = self.leased(&tx, owner, &tenures).await?;
        let ours: Vec<&NewlyParked> = rows
            .iter()
            .filter(|row| leased.get(&row.tenure.bucket) == Some(&row.tenure.epoch))
            .collect();
        if ours.is_empty() {
            tx.rollback().await?;
            return Ok(BTreeSet::new());
        }
        let rows = ours
            .iter()
            .map(|row| self.values_of((row.place, row.id.0, &row.key), &row.verdict));
        let mut insert = insert_rows::<Entity, _>(rows);
        let stays = on_key::<Entity>()
            .do_nothing_on([Column::Attempts])
            .to_owned();
        tx.execute(insert.on_conflict(stays)).await?;
        tx.commit().await?;
        Ok(ours.iter().map(|row| row.place).collect())
    }

    /// The values of the row of an event: its place, id and key.
    pub(super) fn values_of(
        &self,
        (place, id, key): (LogPlace, Uuid, &str),
        verdict: &ParkedVerdict,
    ) -> [(Column, Expr); 12] {
        [
            (Column::CampaignId, place.stream.campaign.0.into()),
            (Column::Topic, place.stream.topic.as_str().into()),
            (Column::Sequence, to_signed(place.sequence).into()),
            (Column::EventId, id.into()),
            (Column::MessageKey, key.into()),
            (Column::KeyHash, key_hash(key).into()),
            (Column::State, verdict.state.as_str().into()),
            (Column::Attempts, verdict.attempts.into()),
            (Column::ErrorClass, verdict.error_class.into()),
            (
                Column::Error,
                shortened(&verdict.error, ERROR_CHARACTERS_MAX).into(),
            ),
            (Column::NextAt, self.maybe_after(verdict.next_in)),
            (Column::ParkedAt, self.now_expr()),
        ]
    }

    /// Stores the new state of a row that was retried; false: it no longer waits for that.
    pub async fn park_again(
        &self,
        place: LogPlace,
        verdict: &ParkedVerdict,
    ) -> Result<bool, StoreError> {
        let row = ActiveModel {
            state: Set(verdict.state.as_str().to_owned()),
            attempts: Set(narrow(verdict.attempts)),
            error_class: Set(verdict.error_class.to_owned()),
            error: Set(shortened(&verdict.error, ERROR_CHARACTERS_MAX)),
            ..ActiveModel::default()
        };
        let parked = Entity::update_many()
            .set(row)
            .col_expr(Column::NextAt, self.maybe_after(verdict.next_in))
            .filter(is_at(place))
            .filter(Column::State.is_in(TRIED_AGAIN));
        Ok(parked.exec(&self.db).await?.rows_affected == 1)
    }

    /// Records that rows were acknowledged, after a retry or by their request. Rows that the position has passed are
    /// deleted; the others stay, because readers of the stream would publish their events again.
    pub async fn unpark(&self, places: &[LogPlace]) -> Result<u64, StoreError> {
        if places.is_empty() {
            return Ok(0);
        }
        let acknowledged = self.note_acknowledged(places).await?;
        let passed = Entity::delete_many().filter(self.are_at(places));
        delete_by_key(passed.filter(is_forgotten()), &self.db).await?;
        Ok(acknowledged)
    }

    /// Marks rows as acknowledged. Returns how many were still to be retried.
    pub(super) async fn note_acknowledged(&self, places: &[LogPlace]) -> Result<u64, StoreError> {
        let row = ActiveModel {
            state: Set(ParkedState::Acknowledged.as_str().to_owned()),
            next_at: Set(None),
            ..ActiveModel::default()
        };
        let noted = Entity::update_many()
            .set(row)
            .filter(self.are_at(places))
            .filter(Column::State.is_in(TRIED_AGAIN));
        Ok(noted.exec(&self.db).await?.rows_affected)
    }

    /// Deletes the rows of acknowledged events that the positions have passed since.
    pub async fn sweep_acknowledged(&self) -> Result<u64, StoreError> {
        let passed = Entity::delete_many().filter(is_forgotten());
        Ok(passed.exec(&self.db).await?.rows_affected)
    }

    /// The condition that a row is that of one of these events.
    pub(super) fn are_at(&self, places: &[LogPlace]) -> Expr {
        let key = |place: LogPlace| -> [Value; 3] {
            let stream = place.stream;
            [
                stream.campaign.0.into(),
                stream.topic.as_str().into(),
                to_signed(place.sequence).into(),
            ]
        };
        let columns = [Column::CampaignId, Column::Topic, Column::Sequence];
        let columns = columns.map(|column| (Entity, column));
        self.are_among(columns, padded(places).map(key))
    }
}

/// The condition that a row is acknowledged and the position has passed it.
fn is_forgotten() -> Condition {
    let is_own = Expr::col((outbox_position::Entity, outbox_position::Column::CampaignId))
        .equals((Entity, Column::CampaignId));
    let is_of = |topic: Topic| Expr::col((Entity, Column::Topic)).eq(topic.as_str());
    let of_topic = |topic: Topic| position(topic).into_expr();
    let published = Expr::case(is_of(Topic::Campaign), of_topic(Topic::Campaign))
        .case(is_of(Topic::Order), of_topic(Topic::Order))
        .finally(of_topic(Topic::Participation));
    let published = outbox_position::Entity::find()
        .select_only()
        .expr(published)
        .filter(is_own);
    Condition::all()
        .add(Column::State.eq(ParkedState::Acknowledged.as_str()))
        .add(Column::Sequence.into_expr().lte(published.into_query()))
}

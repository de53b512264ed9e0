//! Events that the position has passed and that are not published: they wait to be tried again, behind an earlier
//! event of their key, for their writer, or for somebody to decide.
//!
//! Of a key at most one row is tried again at a time; the others are `blocked`, and when it is delivered or given up
//! the next one, in order of sequence, becomes a retry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sea_orm::sea_query::{Condition, Expr, ExprTrait, Query};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait, Select, Value,
};

use super::{in_buckets, is_at, parse_topic, position};
use crate::domain::words::words;
use crate::domain::{CampaignId, EventId, LogPlace, OutboxEvent, StreamId, Topic, key_hash};
use crate::parts::store::entity::outbox_parked::{ActiveModel, Column, Entity};
use crate::parts::store::entity::{insert_rows, outbox_position};
use crate::parts::store::numbers::{narrow, to_signed, to_unsigned};
use crate::parts::store::query::{delete_by_key, on_key};
use crate::parts::store::shapes::padded;
use crate::parts::store::texts::shortened;
use crate::parts::store::{Store, StoreError};

words! {
    /// Why a row is parked.
    pub enum ParkedState {
        /// Tried again at its time.
        Retry = "retry",
        /// Its topic or partition takes no records: tried when that does, without an attempt charged.
        Waiting = "waiting",
        /// Waits behind a row of its key.
        Blocked = "blocked",
        /// Its writer publishes it; tried again if that takes too long.
        Held = "held",
        /// It was published, and the position has not passed it yet.
        Acknowledged = "acknowledged",
        /// Given up; a dead letter.
        Dead = "dead",
        /// Discarded by an admin; the row stays as a record.
        Discarded = "discarded",
    }
}

/// The new state of a row that could not be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its state.
    pub state: ParkedState,
    /// Attempts charged so far.
    pub attempts: u32,
    /// Class of the failure: one word.
    pub error_class: &'static str,
    /// The failure as people read it; cut to what the column takes.
    pub error: String,
    /// When it is tried again; none: only on request.
    pub next_in: Option<Duration>,
}

/// The lease of a bucket under which a row was read. A relay that has lost the bucket since parks none of its rows:
/// another relay has read them, and may have published later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// The bucket.
    pub bucket: u16,
    /// How many owners it had had.
    pub epoch: u64,
}

/// An event to be parked.
#[derive(Clone, Debug)]
pub struct NewlyParked {
    /// Where it is.
    pub place: LogPlace,
    /// Which event.
    pub id: EventId,
    /// Its key; empty if it cannot be read.
    pub key: Arc<str>,
    /// The state it is parked in.
    pub verdict: Verdict,
    /// The lease it was read under.
    pub tenure: Tenure,
}

impl NewlyParked {
    /// That of an event.
    #[must_use]
    pub fn of(event: &OutboxEvent, verdict: Verdict, epoch: u64) -> Self {
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

/// A parked row, and the key that it holds up.
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

/// A key within a stream: order is kept among its events.
pub type StreamKey = (StreamId, Arc<str>);

/// What still waits of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// Nothing: its next event may be sent.
    Free,
    /// A row waits to be tried again.
    Waits,
    /// The same, and it may be tried at once.
    Due,
}

/// States of rows that are tried again.
const TRIED_AGAIN: [&str; 3] = ["retry", "held", "waiting"];
/// States of rows that hold back the later rows of their key.
const HOLDS_BACK: [&str; 4] = ["retry", "held", "waiting", "blocked"];
const BLOCKED: &str = ParkedState::Blocked.as_str();

/// Maximum number of keys released by one search for orphans.
pub const ORPHAN_KEYS_MAX: usize = 100;

const ERROR_CHARACTERS_MAX: usize = 1_000;

impl Store {
    /// Parks events, each unless another relay has its bucket now; returns which. One that is parked already stays as
    /// it is: a repetition after a lost answer changes nothing.
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
        let rows = ours.iter().map(|row| self.parked_row(row));
        let mut insert = insert_rows::<Entity, _>(rows);
        let stays = on_key::<Entity>()
            .do_nothing_on([Column::Attempts])
            .to_owned();
        tx.execute(insert.on_conflict(stays)).await?;
        tx.commit().await?;
        Ok(ours.iter().map(|row| row.place).collect())
    }

    /// The values of a row.
    fn parked_row(&self, row: &NewlyParked) -> [(Column, Expr); 12] {
        let verdict = &row.verdict;
        [
            (Column::CampaignId, row.place.stream.campaign.0.into()),
            (Column::Topic, row.place.stream.topic.as_str().into()),
            (Column::Sequence, to_signed(row.place.sequence).into()),
            (Column::EventId, row.id.0.into()),
            (Column::MessageKey, (*row.key).into()),
            (Column::KeyHash, key_hash(&row.key).into()),
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

    /// Writes a new verdict about a row that was tried again; false: it no longer waits for that.
    pub async fn park_again(&self, place: LogPlace, verdict: &Verdict) -> Result<bool, StoreError> {
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

    /// Notes that rows that were tried again, or published by their writer, are acknowledged. Those that the position
    /// has passed are deleted; the others stay, because whoever reads the stream would publish their events again.
    pub async fn unpark(&self, places: &[LogPlace]) -> Result<u64, StoreError> {
        if places.is_empty() {
            return Ok(0);
        }
        let acknowledged = self.note_acknowledged(places).await?;
        let passed = Entity::delete_many().filter(self.are_at(places));
        delete_by_key(passed.filter(is_forgotten()), &self.db).await?;
        Ok(acknowledged)
    }

    /// Notes that rows are acknowledged; how many were still to be tried.
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

    /// Deletes the rows of acknowledged events that positions have passed since.
    pub async fn sweep_acknowledged(&self) -> Result<u64, StoreError> {
        let passed = Entity::delete_many().filter(is_forgotten());
        Ok(passed.exec(&self.db).await?.rows_affected)
    }

    /// Makes the next blocked row of each key a retry, unless a row of the key waits for that already. Returns what
    /// still waits of each key.
    pub async fn release_keys(
        &self,
        keys: &[StreamKey],
    ) -> Result<BTreeMap<StreamKey, Released>, StoreError> {
        let mut released: BTreeMap<StreamKey, Released> = BTreeMap::new();
        if keys.is_empty() {
            return Ok(released);
        }
        let names: Vec<&str> = keys.iter().map(|(_, key)| &**key).collect();
        let tx = self.begin_current().await?;
        let columns = [
            Column::CampaignId,
            Column::Topic,
            Column::Sequence,
            Column::MessageKey,
            Column::State,
        ];
        let rows: Vec<(i64, String, i64, String, String)> = Entity::find()
            .select_only()
            .columns(columns)
            .filter(Column::MessageKey.is_in(padded(&names)))
            .filter(Column::State.is_in(HOLDS_BACK))
            .filter(Column::Topic.is_in(Topic::ALL.map(Topic::as_str)))
            .order_by_asc(Column::CampaignId)
            .order_by_asc(Column::Topic)
            .order_by_asc(Column::Sequence)
            .into_tuple()
            .all(&tx)
            .await?;
        let mut due = Vec::new();
        for (campaign, topic, sequence, key, state) in rows {
            let (stream, sequence) = (stream(campaign, &topic)?, to_unsigned(sequence));
            let place = LogPlace { stream, sequence };
            let is_blocked = state == BLOCKED;
            let key: StreamKey = (stream, key.into());
            // Another stream may have the same key.
            if !keys.contains(&key) {
                continue;
            }
            released.entry(key).or_insert_with(|| {
                if is_blocked {
                    due.push(place);
                    Released::Due
                } else {
                    Released::Waits
                }
            });
        }
        self.end_current(tx).await?;
        if !due.is_empty() {
            let rows = Entity::update_many()
                .col_expr(Column::State, ParkedState::Retry.as_str().into())
                .col_expr(Column::NextAt, self.now_expr())
                .filter(self.are_at(&due))
                .filter(Column::State.eq(BLOCKED));
            rows.exec(&self.db).await?;
        }
        for key in keys {
            released.entry(key.clone()).or_insert(Released::Free);
        }
        Ok(released)
    }

    /// Keys of `buckets` with a row that holds later ones back.
    pub async fn waiting_keys(&self, buckets: &[u16]) -> Result<Vec<StreamKey>, StoreError> {
        let rows = stream_keys().filter(Column::State.is_in(HOLDS_BACK));
        self.keys(rows.filter(in_buckets(Column::CampaignId, buckets)))
            .await
    }

    /// Keys of `buckets` whose rows wait behind nothing, left by a crash. No more than `ORPHAN_KEYS_MAX`.
    pub async fn orphan_keys(&self, buckets: &[u16]) -> Result<Vec<StreamKey>, StoreError> {
        let same = |column| Expr::col(("r", column)).equals((Entity, column));
        let waits = Query::select()
            .expr(Expr::Constant(1.into()))
            .from_as(Entity, "r")
            .and_where(same(Column::MessageKey))
            .and_where(same(Column::CampaignId))
            .and_where(same(Column::Topic))
            .and_where(Expr::col(("r", Column::State)).is_in(TRIED_AGAIN))
            .to_owned();
        let rows = stream_keys()
            .filter(Column::State.eq(BLOCKED))
            .filter(Expr::not_exists(waits))
            .filter(in_buckets(Column::CampaignId, buckets))
            .limit(ORPHAN_KEYS_MAX as u64);
        self.keys(rows).await
    }

    /// A key that is missed here lets rows pass those that wait: a server that takes no writes is not trusted.
    async fn keys(&self, keys: Select<Entity>) -> Result<Vec<StreamKey>, StoreError> {
        let tx = self.begin_current().await?;
        let rows: Vec<(i64, String, String)> = keys.into_tuple().all(&tx).await?;
        self.end_current(tx).await?;
        rows.into_iter()
            .map(|(campaign, topic, key)| Ok((stream(campaign, &topic)?, key.into())))
            .collect()
    }

    /// The condition that a row is that of one of these events.
    fn are_at(&self, places: &[LogPlace]) -> Expr {
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

fn stream(campaign: i64, topic: &str) -> Result<StreamId, StoreError> {
    Ok(StreamId {
        campaign: CampaignId(campaign),
        topic: parse_topic(topic)?,
    })
}

/// The keys of rows, of the topics that this release knows.
fn stream_keys() -> Select<Entity> {
    Entity::find()
        .select_only()
        .distinct()
        .columns([Column::CampaignId, Column::Topic, Column::MessageKey])
        .filter(Column::Topic.is_in(Topic::ALL.map(Topic::as_str)))
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

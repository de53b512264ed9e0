//! The outbox for the relay: pending and parked rows, and their counts. The writer writes the rows, in the
//! transaction of the change; nothing here does.
//!
//! An event is in `outbox_pending`, or in `outbox_parked`, or acknowledged. Each transition is one transaction, and
//! each DELETE names its rows and their state, so that a late answer of the broker changes no row that has moved.
//! Acknowledged events are deleted when they are old; see `purge`.

mod blocked;
mod counts;
mod due;
mod leases;
mod parked;
mod places;
mod purge;

use std::collections::HashSet;

use sea_orm::QueryResult;

pub use blocked::ORPHAN_KEYS_MAX;
pub use counts::OutboxCounts;
pub use due::{DueRows, Parked};
pub use leases::{Held, RelaySeat};
pub use parked::{ParkedKey, ParkedState, Reparked, Under, Verdict};
use places::Columns;
pub use places::{Partitions, Without};
pub use purge::{PurgePage, Purgeable};

use super::shapes::padded;
use super::sql::Sql;
use super::{Store, StoreError};
use crate::domain::{CampaignId, EventId, OutboxEvent, Stream};

/// Where a pending row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PendingKey {
    /// Share of the outbox.
    pub bucket: u16,
    /// The event.
    pub event_id: EventId,
}

impl PendingKey {
    /// Where the row of an event is.
    #[must_use]
    pub const fn of(event: &OutboxEvent) -> Self {
        Self {
            bucket: event.bucket,
            event_id: event.id,
        }
    }
}

/// A pending row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Where it is.
    pub key: PendingKey,
    /// The campaign it belongs to.
    pub campaign_id: CampaignId,
    /// Whether its writer is publishing it itself.
    pub held: bool,
}

/// Events read, and those that could not be.
#[derive(Debug, Default)]
pub struct Loaded {
    /// In order of id.
    pub events: Vec<OutboxEvent>,
    /// Rows that hold something this release does not know, and why.
    pub unreadable: Vec<(EventId, String)>,
}

const EVENT_COLUMNS: &str = "e.id, e.bucket, e.campaign_id, e.aggregatetype, e.aggregateid, \
     e.type, e.message_key, e.key_sequence, e.`rank`, e.traceparent, e.payload, e.created_at";

/// The columns of a pending row that determine its partition.
const PENDING_COLUMNS: Columns = Columns {
    stream: "stream",
    key_hash: "key_hash",
};

/// The head of a statement that makes parked rows, `p`, pending again.
pub(super) const PEND_PARKED: &str = "INSERT INTO outbox_pending (bucket, event_id, campaign_id, stream, key_hash) \
     SELECT p.bucket, p.event_id, p.campaign_id, e.aggregatetype, p.key_hash FROM outbox_parked p \
     JOIN outbox_event e ON e.id = p.event_id";

impl Store {
    /// Pending rows of `buckets` but for those that are not to be read, in order of bucket and event, at most
    /// `rows_max`.
    pub async fn pending(
        &self,
        buckets: &[u16],
        without: &Without,
        rows_max: u32,
    ) -> Result<Vec<Pending>, StoreError> {
        let only = |sql: &mut Sql| without.condition(sql, PENDING_COLUMNS);
        self.pending_where(buckets, only, rows_max).await
    }

    /// The same of those for some partitions alone.
    pub async fn pending_for(
        &self,
        buckets: &[u16],
        partitions: &Partitions,
        rows_max: u32,
    ) -> Result<Vec<Pending>, StoreError> {
        let only = |sql: &mut Sql| {
            sql.push(" AND ");
            partitions.condition(sql, PENDING_COLUMNS);
        };
        self.pending_where(buckets, only, rows_max).await
    }

    async fn pending_where(
        &self,
        buckets: &[u16],
        only: impl FnOnce(&mut Sql),
        rows_max: u32,
    ) -> Result<Vec<Pending>, StoreError> {
        if buckets.is_empty() || rows_max == 0 {
            return Ok(Vec::new());
        }
        let mut sql = self.sql("SELECT bucket, event_id, campaign_id, hold_until > ");
        sql.now()
            .push(" AS held FROM outbox_pending WHERE bucket IN ");
        only(sql.list(padded(buckets)));
        sql.push(" ORDER BY bucket, event_id LIMIT ").bind(rows_max);
        let rows = sql.rows(&self.db).await?;
        rows.iter()
            .map(|row| {
                let held: Option<i64> = row.try_get("", "held")?;
                Ok(Pending {
                    key: PendingKey {
                        bucket: bucket(row, "bucket")?,
                        event_id: EventId(row.try_get("", "event_id")?),
                    },
                    campaign_id: CampaignId(row.try_get("", "campaign_id")?),
                    held: held.is_some_and(|held| held != 0),
                })
            })
            .collect()
    }

    /// The keys of these events.
    pub async fn keys_of(&self, ids: &[EventId]) -> Result<HashSet<String>, StoreError> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let mut sql = self.sql("SELECT message_key FROM outbox_event WHERE id IN ");
        sql.list(padded(ids).map(|id| id.0));
        let rows = sql.rows(&self.db).await?;
        rows.iter()
            .map(|row| Ok(row.try_get("", "message_key")?))
            .collect()
    }

    /// Whether an event about `aggregate` still waits to be published in `bucket`.
    pub async fn is_pending(&self, bucket: u16, aggregate: &str) -> Result<bool, StoreError> {
        let mut sql = self.sql("SELECT 1 FROM outbox_pending p");
        sql.push(" JOIN outbox_event e ON e.id = p.event_id WHERE p.bucket = ");
        sql.bind(bucket).push(" AND e.aggregateid = ");
        sql.bind(aggregate).push(" LIMIT 1");
        Ok(!sql.rows(&self.db).await?.is_empty())
    }

    /// The events with these ids. One that is not there is in neither list.
    pub async fn outbox_events(&self, ids: &[EventId]) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        if ids.is_empty() {
            return Ok(loaded);
        }
        let mut sql = self.sql("SELECT ");
        sql.push(EVENT_COLUMNS)
            .push(" FROM outbox_event e WHERE id IN ");
        sql.list(padded(ids).map(|id| id.0)).push(" ORDER BY e.id");
        for row in sql.rows(&self.db).await? {
            match event(&row) {
                Ok(event) => loaded.events.push(event),
                Err(failure) => {
                    let id = EventId(row.try_get("", "id")?);
                    loaded.unreadable.push((id, reason(&failure)));
                }
            }
        }
        Ok(loaded)
    }

    /// Forgets acknowledged rows: how many were still pending.
    pub async fn delete_pending(&self, keys: &[PendingKey]) -> Result<u64, StoreError> {
        if keys.is_empty() {
            return Ok(0);
        }
        let mut sql = self.sql(&self.db.delete_by_key("outbox_pending"));
        sql.push(" WHERE (bucket, event_id) IN ");
        sql.pairs(padded(keys).map(|key| (key.bucket.into(), key.event_id.0.into())));
        sql.run(&self.db).await
    }
}

/// The whole chain of causes in one line.
fn reason(failure: &StoreError) -> String {
    let mut text = failure.to_string();
    let mut cause = std::error::Error::source(failure);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

fn bucket(row: &QueryResult, column: &str) -> Result<u16, StoreError> {
    let number: i64 = row.try_get("", column)?;
    u16::try_from(number).map_err(|_| unknown(column, &number.to_string()))
}

/// A value in a column that no version of ours has written.
fn unknown(column: &str, value: &str) -> StoreError {
    StoreError::Database(sea_orm::DbErr::Type(format!("{column} holds {value}")))
}

fn event(row: &QueryResult) -> Result<OutboxEvent, StoreError> {
    let stream: String = row.try_get("", "aggregatetype")?;
    let rank: Option<i64> = row.try_get("", "rank")?;
    let sequence: i64 = row.try_get("", "key_sequence")?;
    Ok(OutboxEvent {
        id: EventId(row.try_get("", "id")?),
        bucket: bucket(row, "bucket")?,
        stream: Stream::parse(&stream).ok_or_else(|| unknown("aggregatetype", &stream))?,
        campaign_id: CampaignId(row.try_get("", "campaign_id")?),
        aggregate_id: row.try_get("", "aggregateid")?,
        event_type: row.try_get("", "type")?,
        key: row.try_get::<String>("", "message_key")?.into(),
        key_sequence: u32::try_from(sequence).unwrap_or_default(),
        rank: rank.and_then(|rank| u64::try_from(rank).ok()),
        traceparent: row.try_get("", "traceparent")?,
        payload: row.try_get("", "payload")?,
        created_at: row.try_get("", "created_at")?,
    })
}

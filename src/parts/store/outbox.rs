//! The outbox for the relay: a log of events for each campaign, its stream, and how far each stream is published.
//! The group commit appends events, in the transaction of the change; nothing here does.
//!
//! Everything up to a stream's position was acknowledged by the broker or is in `outbox_parked`; everything behind
//! it is pending. A position only moves forward, so a relay that has lost a stream can do no harm. Published events
//! are deleted when they are old; see `purge`.

mod counts;
mod due;
mod held;
mod leases;
mod parked;
mod purge;
mod target;

use sea_orm::{QueryResult, Value};

pub use counts::OutboxCounts;
pub use due::{DueRows, Parked};
pub use leases::{LeasedBucket, RelayLease};
pub use parked::{
    NewlyParked, ORPHAN_KEYS_MAX, ParkedRow, ParkedState, Released, StreamKey, Tenure, Verdict,
};
pub use purge::{PurgePage, Purgeable};
pub use target::{Partitions, Targets};

use super::sql::Sql;
use super::{Store, StoreError};
use crate::domain::{BUCKETS, CampaignId, EventId, LogPlace, OutboxEvent, Topic};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::shapes::padded;

/// A stream and how far it is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamEnds {
    /// The campaign.
    pub campaign: CampaignId,
    /// Its position: everything up to this sequence is published or parked.
    pub published: u64,
    /// The sequence of its last event.
    pub end: u64,
}

/// An event read from a stream.
#[derive(Clone, Debug)]
pub enum LogEntry {
    /// It is to be published.
    Event(OutboxEvent),
    /// It is parked, or its writer publishes it: the position passes it.
    Parked(ParkedRow, ParkedState),
    /// It holds something this release does not know.
    Unreadable {
        /// Where it is.
        place: LogPlace,
        /// Which event.
        id: EventId,
        /// Why it cannot be read.
        error: String,
    },
}

impl LogEntry {
    /// Its number in the stream.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        match self {
            Self::Event(event) => event.sequence,
            Self::Parked(row, _) => row.place.sequence,
            Self::Unreadable { place, .. } => place.sequence,
        }
    }
}

/// The columns of an event, `e`.
const EVENT_COLUMNS: &str = "e.campaign_id, e.sequence, e.id, e.aggregatetype, e.aggregateid, e.type, e.message_key, \
     e.key_sequence, e.`rank`, e.traceparent, e.payload, e.created_at";

/// Campaigns with their positions.
const ENDS: &str = "SELECT c.id, c.event_sequence, o.published FROM campaign c \
     LEFT JOIN outbox_position o ON o.campaign_id = c.id WHERE ";

impl Store {
    /// The streams of `buckets` with pending events.
    pub async fn streams_behind(&self, buckets: &[u16]) -> Result<Vec<StreamEnds>, StoreError> {
        if buckets.is_empty() {
            return Ok(Vec::new());
        }
        let mut sql = self.sql(ENDS);
        sql.push("c.event_sequence > COALESCE(o.published, 0) AND ");
        in_buckets(&mut sql, "c.id", buckets);
        self.ends(&mut sql).await
    }

    /// These streams, those with nothing pending too.
    pub async fn stream_ends(
        &self,
        campaigns: &[CampaignId],
    ) -> Result<Vec<StreamEnds>, StoreError> {
        if campaigns.is_empty() {
            return Ok(Vec::new());
        }
        let mut sql = self.sql(ENDS);
        sql.push("c.id IN ").list(padded(campaigns).map(|id| id.0));
        self.ends(&mut sql).await
    }

    async fn ends(&self, sql: &mut Sql) -> Result<Vec<StreamEnds>, StoreError> {
        let rows = sql.rows(&self.db).await?;
        rows.iter()
            .map(|row| {
                let published: Option<i64> = row.try_get("", "published")?;
                Ok(StreamEnds {
                    campaign: CampaignId(row.try_get("", "id")?),
                    published: published.map_or(0, to_unsigned),
                    end: to_unsigned(row.try_get("", "event_sequence")?),
                })
            })
            .collect()
    }

    /// The events of a stream after a sequence, in order, at most `rows_max`.
    pub async fn read_stream(
        &self,
        campaign: CampaignId,
        after: u64,
        rows_max: u32,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let mut sql = self.sql("SELECT ");
        sql.push(EVENT_COLUMNS)
            .push(", p.state AS parked_state FROM outbox_event e LEFT JOIN outbox_parked p ")
            .push("ON p.campaign_id = e.campaign_id AND p.sequence = e.sequence ")
            .push("WHERE e.campaign_id = ")
            .bind(campaign.0)
            .push(" AND e.sequence > ")
            .bind(to_signed(after))
            .push(" ORDER BY e.sequence LIMIT ")
            .bind(rows_max);
        sql.rows(&self.db).await?.iter().map(entry).collect()
    }

    /// Moves the positions of streams forward, never back.
    pub async fn advance(&self, positions: &[(CampaignId, u64)]) -> Result<(), StoreError> {
        if positions.is_empty() {
            return Ok(());
        }
        // Always in this order, so that two relays cannot deadlock.
        let mut positions = positions.to_vec();
        positions.sort_unstable();
        let mut sql = self.sql("INSERT INTO outbox_position (campaign_id, published) VALUES ");
        sql.rows_of(positions.iter().map(|(campaign, published)| -> [Value; 2] {
            [campaign.0.into(), to_signed(*published).into()]
        }));
        sql.push(if self.is_embedded() {
            " ON CONFLICT (campaign_id) DO UPDATE SET published = MAX(published, excluded.published)"
        } else {
            " AS moved ON DUPLICATE KEY UPDATE \
             published = GREATEST(outbox_position.published, moved.published)"
        });
        sql.run(&self.db).await?;
        Ok(())
    }

    /// Whether an event still waits to be published.
    pub async fn is_pending(&self, place: LogPlace) -> Result<bool, StoreError> {
        let mut sql = self.sql("SELECT 1 FROM outbox_position WHERE campaign_id = ");
        sql.bind(place.campaign.0).push(" AND published >= ");
        sql.bind(to_signed(place.sequence));
        sql.push(" AND NOT EXISTS (SELECT 1 FROM outbox_parked p WHERE p.campaign_id = ");
        sql.bind(place.campaign.0).push(" AND p.sequence = ");
        sql.bind(to_signed(place.sequence));
        sql.push(" AND p.state IN ('retry', 'waiting', 'blocked'))");
        Ok(sql.rows(&self.db).await?.is_empty())
    }
}

/// Appends the condition that the campaign of a row is in one of these buckets; see [`CampaignId::bucket`].
fn in_buckets<'a>(sql: &'a mut Sql, campaign: &str, buckets: &[u16]) -> &'a mut Sql {
    sql.push(campaign).push(" % ").bind(BUCKETS);
    sql.push(" IN ").list(padded(buckets))
}

fn entry(row: &QueryResult) -> Result<LogEntry, StoreError> {
    let state: Option<String> = row.try_get("", "parked_state")?;
    if let Some(state) = state {
        let state = ParkedState::parse(&state).ok_or_else(|| unknown("state", &state))?;
        let parked = ParkedRow {
            place: place(row)?,
            key: row.try_get::<String>("", "message_key")?.into(),
        };
        return Ok(LogEntry::Parked(parked, state));
    }
    Ok(match event(row) {
        Ok(event) => LogEntry::Event(event),
        Err(failure) => LogEntry::Unreadable {
            place: place(row)?,
            id: EventId(row.try_get("", "id")?),
            error: reason(&failure),
        },
    })
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

fn place(row: &QueryResult) -> Result<LogPlace, StoreError> {
    Ok(LogPlace {
        campaign: CampaignId(row.try_get("", "campaign_id")?),
        sequence: to_unsigned(row.try_get("", "sequence")?),
    })
}

/// A value in a column that no version of ours has written.
fn unknown(column: &str, value: &str) -> StoreError {
    StoreError::Database(sea_orm::DbErr::Type(format!("{column} holds {value}")))
}

fn event(row: &QueryResult) -> Result<OutboxEvent, StoreError> {
    let topic: String = row.try_get("", "aggregatetype")?;
    let rank: Option<i64> = row.try_get("", "rank")?;
    let change: i64 = row.try_get("", "key_sequence")?;
    let LogPlace { campaign, sequence } = place(row)?;
    Ok(OutboxEvent {
        id: EventId(row.try_get("", "id")?),
        campaign_id: campaign,
        sequence,
        topic: Topic::parse(&topic).ok_or_else(|| unknown("aggregatetype", &topic))?,
        aggregate_id: row.try_get("", "aggregateid")?,
        event_type: row.try_get("", "type")?,
        key: row.try_get::<String>("", "message_key")?.into(),
        key_sequence: u32::try_from(change)
            .map_err(|_| unknown("key_sequence", &change.to_string()))?,
        rank: rank.map(to_unsigned),
        traceparent: row.try_get("", "traceparent")?,
        payload: row.try_get("", "payload")?,
        created_at: row.try_get("", "created_at")?,
    })
}

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
mod published;
mod purge;
mod target;

use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, FromQueryResult, JoinType, QueryFilter,
    QueryOrder, QueryResult, QuerySelect, QueryTrait, Select,
};

pub use counts::OutboxCounts;
pub use due::{DueRows, Parked};
pub use leases::{LeasedBucket, RelayLease};
pub use parked::{
    NewlyParked, ORPHAN_KEYS_MAX, ParkedRow, ParkedState, Released, StreamKey, Tenure, Verdict,
};
pub use published::PublishedEvent;
pub use purge::{PurgePage, Purgeable};
pub use target::{Partitions, Targets};

use super::entity::{
    campaign, event_of_parked, insert_rows, outbox_event, outbox_parked, outbox_position,
    position_of_campaign,
};
use super::query::on_key;
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

impl Store {
    /// The streams of `buckets` with pending events.
    pub async fn streams_behind(&self, buckets: &[u16]) -> Result<Vec<StreamEnds>, StoreError> {
        if buckets.is_empty() {
            return Ok(Vec::new());
        }
        let behind = campaign::Column::EventSequence.into_expr().gt(published());
        let ends = ends().filter(behind);
        self.ends(ends.filter(in_buckets(campaign::Column::Id, buckets)))
            .await
    }

    /// These streams, those with nothing pending too.
    pub async fn stream_ends(
        &self,
        campaigns: &[CampaignId],
    ) -> Result<Vec<StreamEnds>, StoreError> {
        if campaigns.is_empty() {
            return Ok(Vec::new());
        }
        let these = campaign::Column::Id.is_in(padded(campaigns).map(|id| id.0));
        self.ends(ends().filter(these)).await
    }

    async fn ends(&self, ends: Select<campaign::Entity>) -> Result<Vec<StreamEnds>, StoreError> {
        let rows: Vec<(i64, i64, Option<i64>)> = ends.into_tuple().all(&self.db).await?;
        let ends = |(campaign, end, published): (i64, i64, Option<i64>)| StreamEnds {
            campaign: CampaignId(campaign),
            published: published.map_or(0, to_unsigned),
            end: to_unsigned(end),
        };
        Ok(rows.into_iter().map(ends).collect())
    }

    /// The events of a stream after a sequence, in order, at most `rows_max`.
    pub async fn read_stream(
        &self,
        campaign: CampaignId,
        after: u64,
        rows_max: u32,
    ) -> Result<Vec<LogEntry>, StoreError> {
        use outbox_event::{Column, Entity};
        let events = Entity::find()
            .join(JoinType::LeftJoin, event_of_parked().rev())
            .column_as(outbox_parked::Column::State, "parked_state")
            .filter(Column::CampaignId.eq(campaign.0))
            .filter(Column::Sequence.gt(to_signed(after)))
            .order_by_asc(Column::Sequence)
            .limit(u64::from(rows_max));
        let rows = self.db.query_all(events.as_query()).await?;
        rows.iter().map(entry).collect()
    }

    /// Moves the positions of streams forward, never back.
    pub async fn advance(&self, positions: &[(CampaignId, u64)]) -> Result<(), StoreError> {
        use outbox_position::{Column, Entity};
        if positions.is_empty() {
            return Ok(());
        }
        // Always in this order, so that two relays cannot deadlock.
        let mut positions = positions.to_vec();
        positions.sort_unstable();
        let rows = positions.iter().map(|(campaign, published)| {
            let published = to_signed(*published);
            [
                (Column::CampaignId, campaign.0.into()),
                (Column::Published, published.into()),
            ]
        });
        let known = Expr::col((Entity, Column::Published));
        let later = Func::greatest([known, self.fresh(Column::Published)]);
        let advance = on_key::<Entity>()
            .value(Column::Published, later)
            .to_owned();
        let mut insert = insert_rows::<Entity, _>(rows);
        self.db.execute(insert.on_conflict(advance)).await?;
        Ok(())
    }

    /// Whether an event still waits to be published.
    pub async fn is_pending(&self, place: LogPlace) -> Result<bool, StoreError> {
        use outbox_position::{Column, Entity};
        let waits = ["retry", "waiting", "blocked"];
        let waits = outbox_parked::Entity::find()
            .filter(is_at(place))
            .filter(outbox_parked::Column::State.is_in(waits));
        let published = Entity::find_by_id(place.campaign.0)
            .filter(Column::Published.gte(to_signed(place.sequence)))
            .filter(Expr::not_exists(waits.into_query()));
        Ok(published.one(&self.db).await?.is_none())
    }
}

/// Campaigns with their positions.
fn ends() -> Select<campaign::Entity> {
    use campaign::{Column, Entity};
    Entity::find()
        .select_only()
        .columns([Column::Id, Column::EventSequence])
        .column(outbox_position::Column::Published)
        .join(JoinType::LeftJoin, position_of_campaign())
}

/// The position of a stream, 0 if there is none.
fn published() -> Expr {
    let published = outbox_position::Column::Published.into_expr();
    Func::coalesce([published, Expr::Constant(0.into())]).into()
}

/// The condition that the campaign of a row is in one of these buckets; see [`CampaignId::bucket`].
fn in_buckets(campaign: impl ColumnTrait, buckets: &[u16]) -> Expr {
    let bucket = campaign.into_expr().modulo(BUCKETS);
    bucket.is_in(padded(buckets))
}

/// The condition that a parked row is that of this event.
fn is_at(place: LogPlace) -> Condition {
    use outbox_parked::Column;
    Condition::all()
        .add(Column::CampaignId.eq(place.campaign.0))
        .add(Column::Sequence.eq(to_signed(place.sequence)))
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
    let row = outbox_event::Model::from_query_result(row, "")?;
    let (topic, change) = (row.aggregate_type, row.key_sequence);
    Ok(OutboxEvent {
        id: EventId(row.id),
        campaign_id: CampaignId(row.campaign_id),
        sequence: to_unsigned(row.sequence),
        topic: Topic::parse(&topic).ok_or_else(|| unknown("aggregatetype", &topic))?,
        aggregate_id: row.aggregate_id,
        event_type: row.event_type,
        key: row.message_key.into(),
        key_sequence: u32::try_from(change)
            .map_err(|_| unknown("key_sequence", &change.to_string()))?,
        rank: row.rank.map(to_unsigned),
        traceparent: row.traceparent,
        payload: row.payload,
        created_at: row.created_at,
    })
}

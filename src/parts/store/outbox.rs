//! The outbox for the relay: the streams (the log of events of each campaign for each topic), and the position up to
//! which each is published. Events are appended in the transaction of the change, by the group commit and by
//! `campaigns`, never here.
//!
//! Everything up to a stream's position was acknowledged by the broker or is in `outbox_parked`; everything after it
//! is pending. A position only moves forward, so a relay that has lost a stream can do no harm. Old published events
//! are deleted; see `purge`.

mod counts;
mod due;
mod held;
mod keys;
mod leases;
mod parked;
mod published;
mod purge;
mod republish;
mod target;
mod unexpired_leases;

use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, FromQueryResult, JoinType, QueryFilter,
    QueryOrder, QueryResult, QuerySelect, QueryTrait, Select,
};

pub use counts::OutboxCounts;
pub use due::{DueRows, Parked};
pub use keys::{ORPHAN_KEYS_MAX, Released};
pub use leases::{LeasedBucket, RelayLease};
pub use parked::{NewlyParked, ParkedRow, ParkedState, ParkedVerdict, StreamKey, Tenure};
pub use published::PublishedEvent;
pub use purge::{PurgePage, Purgeable};
pub use republish::REPUBLISH_MAX;
pub use target::{Partitions, Targets};
pub use unexpired_leases::UnexpiredLease;

use super::entity::{
    campaign, event_of_parked, insert_rows, outbox_event, outbox_parked, outbox_position,
    position_of_campaign,
};
use super::query::on_key;
use super::{Store, StoreError};
use crate::domain::{BUCKETS, CampaignId, EventId, LogPlace, OutboxEvent, StreamId, Topic};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::statement_lengths::padded;

/// A stream and its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamEnds {
    /// The stream.
    pub stream: StreamId,
    /// Its position: all events up to this sequence are published or parked.
    pub published: u64,
    /// The sequence of its last event.
    pub end: u64,
}

/// An event read from a stream.
#[derive(Clone, Debug)]
pub enum LogEntry {
    /// It must be published.
    Event(OutboxEvent),
    /// It is parked, or its request publishes it: the position passes it.
    Parked(ParkedRow, ParkedState),
    /// It has a value that this release does not know.
    Unreadable {
        /// Its place.
        place: LogPlace,
        /// Its id.
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
        let is_behind = Topic::ALL.map(|topic| end(topic).into_expr().gt(published(topic)));
        let is_behind = is_behind.into_iter().fold(Condition::any(), Condition::add);
        let ends = ends().filter(is_behind);
        let mut ends = self
            .ends(ends.filter(in_buckets(campaign::Column::Id, buckets)))
            .await?;
        ends.retain(|ends| ends.end > ends.published);
        Ok(ends)
    }

    /// The streams of these campaigns, including those without pending events.
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
        /// The campaign, and the end and the position of each topic.
        type Row = (i64, i64, Option<i64>, i64, Option<i64>, i64, Option<i64>);
        let rows: Vec<Row> = ends.into_tuple().all(&self.db).await?;
        let ends = |(campaign, end, at, campaign_end, campaign_at, order_end, order_at): Row| {
            let of = |topic, end, published: Option<i64>| StreamEnds {
                stream: StreamId {
                    campaign: CampaignId(campaign),
                    topic,
                },
                published: published.map_or(0, to_unsigned),
                end: to_unsigned(end),
            };
            [
                of(Topic::Participation, end, at),
                of(Topic::Campaign, campaign_end, campaign_at),
                of(Topic::Order, order_end, order_at),
            ]
        };
        Ok(rows.into_iter().flat_map(ends).collect())
    }

    /// The events of a stream after a sequence, in order, at most `rows_max`.
    pub async fn read_stream(
        &self,
        stream: StreamId,
        after: u64,
        rows_max: u32,
    ) -> Result<Vec<LogEntry>, StoreError> {
        use outbox_event::{Column, Entity};
        let events = Entity::find()
            .join(JoinType::LeftJoin, event_of_parked().rev())
            .column_as(outbox_parked::Column::State, "parked_state")
            .filter(Column::CampaignId.eq(stream.campaign.0))
            .filter(Column::AggregateType.eq(stream.topic.as_str()))
            .filter(Column::Sequence.gt(to_signed(after)))
            .order_by_asc(Column::Sequence)
            .limit(u64::from(rows_max));
        let rows = self.db.query_all(events.as_query()).await?;
        rows.iter().map(entry).collect()
    }

    /// Moves the positions of streams forward, never backward.
    pub async fn advance(&self, positions: &[(StreamId, u64)]) -> Result<(), StoreError> {
        use outbox_position::{Column, Entity};
        if positions.is_empty() {
            return Ok(());
        }
        // Always in this order, so that two relays cannot deadlock.
        let mut positions = positions.to_vec();
        positions.sort_unstable();
        let rows = positions.iter().map(|(stream, published)| {
            // The positions of the other streams cannot be before 0.
            let of = |topic| (topic == stream.topic).then_some(to_signed(*published));
            let of = |topic| of(topic).unwrap_or(0);
            [
                (Column::CampaignId, stream.campaign.0.into()),
                (Column::Published, of(Topic::Participation).into()),
                (Column::CampaignPublished, of(Topic::Campaign).into()),
                (Column::OrderPublished, of(Topic::Order).into()),
            ]
        });
        let mut advance = on_key::<Entity>();
        for topic in Topic::ALL {
            let column = position(topic);
            let known = Expr::col((Entity, column));
            advance.value(column, Func::greatest([known, self.fresh(column)]));
        }
        let mut insert = insert_rows::<Entity, _>(rows);
        self.db.execute(insert.on_conflict(advance)).await?;
        Ok(())
    }

    /// Whether an event is still pending.
    pub async fn is_pending(&self, place: LogPlace) -> Result<bool, StoreError> {
        let waits = ["retry", "waiting", "blocked"];
        let waits = outbox_parked::Entity::find()
            .filter(is_at(place))
            .filter(outbox_parked::Column::State.is_in(waits));
        let position = position(place.stream.topic);
        let published = outbox_position::Entity::find_by_id(place.stream.campaign.0)
            .filter(position.gte(to_signed(place.sequence)))
            .filter(Expr::not_exists(waits.into_query()));
        Ok(published.one(&self.db).await?.is_none())
    }
}

/// The column of the campaign with the last sequence of its stream for a topic.
const fn end(topic: Topic) -> campaign::Column {
    match topic {
        Topic::Participation => campaign::Column::EventSequence,
        Topic::Campaign => campaign::Column::CampaignEvents,
        Topic::Order => campaign::Column::OrderEvents,
    }
}

/// The condition that an event is of this stream.
fn is_event_of(stream: StreamId) -> Expr {
    use outbox_event::Column;
    let is_of_campaign = Column::CampaignId.eq(stream.campaign.0);
    is_of_campaign.and(Column::AggregateType.eq(stream.topic.as_str()))
}

/// The column with the position of that stream.
const fn position(topic: Topic) -> outbox_position::Column {
    match topic {
        Topic::Participation => outbox_position::Column::Published,
        Topic::Campaign => outbox_position::Column::CampaignPublished,
        Topic::Order => outbox_position::Column::OrderPublished,
    }
}

/// Campaigns with the ends and positions of their streams.
fn ends() -> Select<campaign::Entity> {
    let ends = campaign::Entity::find()
        .select_only()
        .column(campaign::Column::Id);
    let ends = Topic::ALL.into_iter().fold(ends, |ends, topic| {
        ends.column(end(topic)).column(position(topic))
    });
    ends.join(JoinType::LeftJoin, position_of_campaign())
}

/// The position of a stream for a topic, 0 if there is none.
fn published(topic: Topic) -> Expr {
    let published = position(topic).into_expr();
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
        .add(Column::CampaignId.eq(place.stream.campaign.0))
        .add(Column::Topic.eq(place.stream.topic.as_str()))
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

/// All causes in one line.
fn reason(failure: &StoreError) -> String {
    let mut text = failure.to_string();
    let mut cause = std::error::Error::source(failure);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// The place of a row with the columns of an event.
fn place(row: &QueryResult) -> Result<LogPlace, StoreError> {
    let topic: String = row.try_get("", "aggregatetype")?;
    Ok(LogPlace {
        stream: StreamId {
            campaign: CampaignId(row.try_get("", "campaign_id")?),
            topic: parse_topic(&topic)?,
        },
        sequence: to_unsigned(row.try_get("", "sequence")?),
    })
}

fn parse_topic(word: &str) -> Result<Topic, StoreError> {
    Topic::parse(word).ok_or_else(|| unknown("aggregatetype", word))
}

/// A column has a value that no version of this service writes.
fn unknown(column: &str, value: &str) -> StoreError {
    StoreError::Database(sea_orm::DbErr::Type(format!("{column} holds {value}")))
}

fn event(row: &QueryResult) -> Result<OutboxEvent, StoreError> {
    let row = outbox_event::Model::from_query_result(row, "")?;
    let change = row.key_sequence;
    Ok(OutboxEvent {
        id: EventId(row.id),
        campaign_id: CampaignId(row.campaign_id),
        sequence: to_unsigned(row.sequence),
        topic: parse_topic(&row.aggregate_type)?,
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

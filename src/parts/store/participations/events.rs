//! The events of one participation, and the state of each. They are found backward from the last one, so that the
//! outbox needs no further index, which would slow down every commit.

use sea_orm::{ColumnTrait, EntityTrait, JoinType, QueryFilter, QuerySelect};
use uuid::Uuid;

use crate::domain::{CampaignId, EventId, LogPlace, ParticipationId, StreamId, Timestamp};
use crate::parts::store::entity::outbox_event::{self, Column};
use crate::parts::store::entity::{
    event_of_parked, outbox_parked, outbox_position, outbox_published, participation,
    published_of_event,
};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::outbox::{ParkedState, PublishedEvent};
use crate::parts::store::unreadable::parse;
use crate::parts::store::{Store, StoreError};

/// The events of a participation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipationEvents {
    /// The campaign of their stream.
    pub campaign: CampaignId,
    /// Number of changes; each has an event until it is purged.
    pub changes: u32,
    /// The existing events, in order.
    pub events: Vec<ParticipationEvent>,
}

/// An event of a participation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipationEvent {
    /// Its number in the stream.
    pub sequence: u64,
    /// Its `ce_id`.
    pub id: EventId,
    /// Its `ce_type`.
    pub event_type: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// Its state.
    pub state: EventState,
    /// Where it was published, if positions are stored.
    pub published: Option<PublishedEvent>,
}

/// The state of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventState {
    /// It is pending.
    Pending,
    /// It is parked, or will not be published.
    Parked(ParkedState),
    /// The broker has acknowledged it.
    Published,
}

/// The columns of an event, of its parked row, and of where it was published.
type Row = (
    Uuid,
    String,
    Timestamp,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<i32>,
    Option<i64>,
    Option<Timestamp>,
);

impl Store {
    /// The events of a participation: as many rows as it has changes. None: there is no such participation.
    pub async fn events_of(
        &self,
        id: ParticipationId,
    ) -> Result<Option<ParticipationEvents>, StoreError> {
        let found = participation::Entity::find().filter(participation::Column::Id.eq(id.0));
        let Some(row) = found.one(&self.db).await? else {
            return Ok(None);
        };
        let campaign = CampaignId(row.campaign_id);
        // Read before the events: an event that the position has passed by then is published or parked.
        let position = outbox_position::Entity::find_by_id(campaign.0);
        let position = position.one(&self.db).await?;
        let passed = position.map_or(0, |position| to_unsigned(position.published));
        let changes = row.version.unsigned_abs();
        let mut events = Vec::new();
        let mut next = row.last_event;
        while let Some(sequence) = next.map(to_unsigned)
            && u32::try_from(events.len()).is_ok_and(|found| found < changes)
        {
            let stream = StreamId::of_participations(campaign);
            let place = LogPlace { stream, sequence };
            let Some((event, previous)) = self.event_at(place, passed).await? else {
                break;
            };
            next = previous.filter(|previous| to_unsigned(*previous) < sequence);
            events.push(event);
        }
        events.reverse();
        Ok(Some(ParticipationEvents {
            campaign,
            changes,
            events,
        }))
    }

    /// The event with this sequence, and the sequence of the previous event of its participation. None: it is purged.
    async fn event_at(
        &self,
        place: LogPlace,
        passed: u64,
    ) -> Result<Option<(ParticipationEvent, Option<i64>)>, StoreError> {
        let StreamId { campaign, topic } = place.stream;
        let key = (
            campaign.0,
            topic.as_str().to_owned(),
            to_signed(place.sequence),
        );
        let row: Option<Row> = outbox_event::Entity::find_by_id(key)
            .select_only()
            .columns([
                Column::Id,
                Column::EventType,
                Column::CreatedAt,
                Column::PreviousEvent,
            ])
            .column(outbox_parked::Column::State)
            .columns([
                outbox_published::Column::Topic,
                outbox_published::Column::PartitionNumber,
                outbox_published::Column::RecordOffset,
                outbox_published::Column::PublishedAt,
            ])
            .join(JoinType::LeftJoin, event_of_parked().rev())
            .join(JoinType::LeftJoin, published_of_event())
            .into_tuple()
            .one(&self.db)
            .await?;
        let Some((id, event_type, created_at, previous, parked, topic, partition, offset, at)) =
            row
        else {
            return Ok(None);
        };
        let parked = parked.map(|state| parse("an event's state", &state, ParkedState::parse));
        let published = topic.zip(partition).zip(offset).zip(at);
        let event = ParticipationEvent {
            sequence: place.sequence,
            id: EventId(id),
            event_type,
            created_at,
            state: match parked.transpose()? {
                Some(ParkedState::Acknowledged) => EventState::Published,
                Some(ParkedState::Held) => EventState::Pending,
                Some(state) => EventState::Parked(state),
                None if place.sequence <= passed => EventState::Published,
                None => EventState::Pending,
            },
            published: published.map(|(((topic, partition), offset), published_at)| {
                PublishedEvent {
                    place,
                    topic,
                    partition,
                    offset,
                    published_at,
                }
            }),
        };
        Ok(Some((event, previous)))
    }
}

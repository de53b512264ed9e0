//! Where events were published, for installations that store it (`relay.keep_offsets`). The purge deletes a row
//! together with its event.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use crate::domain::{LogPlace, StreamId, Timestamp, to_stored_precision};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::insert_rows;
use crate::parts::store::entity::outbox_published::{Column, Entity};
use crate::parts::store::numbers::to_signed;
use crate::parts::store::query::{delete_by_key, or_replace};
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::{Store, StoreError};

/// Where an event was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedEvent {
    /// The event.
    pub place: LogPlace,
    /// Name of the topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// When the broker acknowledged it.
    pub published_at: Timestamp,
}

impl Store {
    /// Stores where events were published; for an event that is published again, the last position.
    pub async fn store_published(&self, events: &[PublishedEvent]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        // Always in this order, so that two relays cannot deadlock.
        let mut events: Vec<&PublishedEvent> = events.iter().collect();
        events.sort_by_key(|event| event.place);
        let rows = events.into_iter().map(|event| {
            [
                (Column::CampaignId, event.place.stream.campaign.0.into()),
                (
                    Column::AggregateType,
                    event.place.stream.topic.as_str().into(),
                ),
                (Column::Sequence, to_signed(event.place.sequence).into()),
                (Column::Topic, event.topic.as_str().into()),
                (Column::PartitionNumber, event.partition.into()),
                (Column::RecordOffset, event.offset.into()),
                (
                    Column::PublishedAt,
                    to_stored_precision(event.published_at).into(),
                ),
            ]
        });
        let mut insert = insert_rows::<Entity, _>(rows);
        let insert = insert.on_conflict(or_replace::<Entity>());
        self.db.execute(insert).await?;
        Ok(())
    }

    /// Deletes the positions of deleted events.
    pub(super) async fn forget_published(
        &self,
        transaction: &Tx,
        stream: StreamId,
        sequences: &[i64],
    ) -> Result<(), StoreError> {
        let kept = Entity::delete_many()
            .filter(Column::CampaignId.eq(stream.campaign.0))
            .filter(Column::AggregateType.eq(stream.topic.as_str()))
            .filter(Column::Sequence.is_in(padded(sequences)));
        delete_by_key(kept, transaction).await?;
        Ok(())
    }
}

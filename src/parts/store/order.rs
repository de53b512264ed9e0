//! The changes of a campaign's participations in order of arrival, each with its event. The sequence of an event in
//! the stream is the order of processing.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::entity::{campaign, outbox_event};
use super::numbers::{to_signed, to_unsigned};
use super::{Store, StoreError};
use crate::domain::{CampaignId, EventId, Topic};

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Rank of the participation, given by the gate.
    pub rank: u64,
    /// Position among the changes of the participation, from 1.
    pub sequence: u32,
    /// Number of its event in the campaign's stream: events are in the order of commits.
    pub position: u64,
    /// Its event.
    pub event: EventId,
}

impl Store {
    /// Changes of participations from a rank on, in order of rank and sequence. The stream has another order, so this
    /// reads all of it: request many rows at once.
    pub async fn changes_by_rank(
        &self,
        campaign: CampaignId,
        from_rank: u64,
        rows_max: u32,
    ) -> Result<Vec<Ordered>, StoreError> {
        use outbox_event::{Column, Entity};
        let rows: Vec<(i64, i32, i64, Uuid)> = Entity::find()
            .select_only()
            .columns([
                Column::Rank,
                Column::KeySequence,
                Column::Sequence,
                Column::Id,
            ])
            .filter(Column::CampaignId.eq(campaign.0))
            .filter(Column::AggregateType.eq(Topic::Participation.as_str()))
            .filter(Column::Rank.gte(to_signed(from_rank)))
            .order_by_asc(Column::Rank)
            .order_by_asc(Column::KeySequence)
            .limit(u64::from(rows_max))
            .into_tuple()
            .all(&self.db)
            .await?;
        let ordered = |(rank, change, position, event): (i64, i32, i64, Uuid)| Ordered {
            rank: to_unsigned(rank),
            sequence: change.unsigned_abs(),
            position: to_unsigned(position),
            event: EventId(event),
        };
        Ok(rows.into_iter().map(ordered).collect())
    }

    /// Number of deleted published events of a campaign; their order is unknown.
    pub async fn purged_count(&self, campaign: CampaignId) -> Result<u64, StoreError> {
        let purged: Option<i64> = campaign::Entity::find_by_id(campaign.0)
            .select_only()
            .column(campaign::Column::PurgedEvents)
            .into_tuple()
            .one(&self.db)
            .await?;
        Ok(purged.map_or(0, to_unsigned))
    }
}

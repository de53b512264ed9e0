//! The changes of a campaign's participations in order of arrival, each with its event, whose id gives the order of
//! processing.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::entity::by_index;
use super::entity::outbox_event::{Column, Entity};
use super::numbers::{to_signed, to_unsigned};
use super::{Store, StoreError};
use crate::domain::{CampaignId, EventId};

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Place in line of the participation, given by the gate.
    pub rank: u64,
    /// Position among the changes of the participation, from 1.
    pub sequence: u32,
    /// Its event; events are in the order in which they were made.
    pub event: EventId,
}

impl Store {
    /// Changes of participations from a rank on, in order of rank and sequence, from the index alone.
    pub async fn changes_by_rank(
        &self,
        campaign: CampaignId,
        from_rank: u64,
        rows_max: u32,
    ) -> Result<Vec<Ordered>, StoreError> {
        let mut rows = Entity::find()
            .select_only()
            .columns([Column::Rank, Column::KeySequence, Column::Id])
            .filter(Column::CampaignId.eq(campaign.0))
            .filter(Column::Rank.gte(to_signed(from_rank)))
            .order_by_asc(Column::CampaignId)
            .order_by_asc(Column::Rank)
            .order_by_asc(Column::KeySequence)
            .limit(u64::from(rows_max));
        by_index(&mut rows, "event_change");
        let rows: Vec<(i64, i32, Uuid)> = rows.into_tuple().all(&self.db).await?;
        let ordered = |(rank, sequence, id): (i64, i32, Uuid)| Ordered {
            rank: to_unsigned(rank),
            sequence: sequence.unsigned_abs(),
            event: EventId(id),
        };
        Ok(rows.into_iter().map(ordered).collect())
    }

    /// Number of published events of a campaign that are deleted; their order is unknown.
    pub async fn purged_count(&self, campaign: CampaignId) -> Result<u64, StoreError> {
        let mut sql = self.sql("SELECT purged_events FROM campaign WHERE id = ");
        let rows = sql.bind(campaign.0).rows(&self.db).await?;
        Ok(match rows.first() {
            Some(row) => to_unsigned(row.try_get("", "purged_events")?),
            None => 0,
        })
    }
}

//! How many rows wait, and for how long.

use std::time::Duration;

use sea_orm::{ColumnTrait, EntityTrait, QuerySelect};
use uuid::Uuid;

use super::ParkedState;
use crate::domain::{CampaignId, Instant};
use crate::parts::store::entity::{outbox_event, outbox_pending};
use crate::parts::store::{Store, StoreError};

/// How many rows there are, by where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// Waiting to be published.
    pub pending: u64,
    /// Waiting to be tried again.
    pub retry: u64,
    /// Waiting behind a row of the same key.
    pub blocked: u64,
    /// Given up.
    pub dead: u64,
    /// Discarded by an admin.
    pub discarded: u64,
}

impl Store {
    /// How many rows wait and where, of one campaign or of all.
    pub async fn outbox_counts(
        &self,
        campaign: Option<CampaignId>,
    ) -> Result<OutboxCounts, StoreError> {
        let mut sql =
            self.sql("SELECT 'pending' AS place, COUNT(*) AS count_rows FROM outbox_pending");
        if let Some(campaign) = campaign {
            sql.push(" WHERE campaign_id = ").bind(campaign.0);
        }
        sql.push(" UNION ALL SELECT state AS place, COUNT(*) AS count_rows FROM outbox_parked");
        if let Some(campaign) = campaign {
            sql.push(" WHERE campaign_id = ").bind(campaign.0);
        }
        sql.push(" GROUP BY state");
        let mut counts = OutboxCounts::default();
        for row in sql.rows(&self.db).await? {
            let rows = u64::try_from(row.try_get::<i64>("", "count_rows")?).unwrap_or_default();
            let place: String = row.try_get("", "place")?;
            match ParkedState::parse(&place) {
                Some(ParkedState::Retry) => counts.retry = rows,
                Some(ParkedState::Blocked) => counts.blocked = rows,
                Some(ParkedState::Dead) => counts.dead = rows,
                Some(ParkedState::Discarded) => counts.discarded = rows,
                None => counts.pending = rows,
            }
        }
        Ok(counts)
    }

    /// For how long the oldest pending row has waited; none: nothing is pending.
    pub async fn oldest_pending_age(&self) -> Result<Option<Duration>, StoreError> {
        // Ids are in order of time, and the smallest of each bucket is one step in the index.
        let oldest: Vec<Uuid> = outbox_pending::Entity::find()
            .select_only()
            .column_as(outbox_pending::Column::EventId.min(), "event_id")
            .group_by(outbox_pending::Column::Bucket)
            .into_tuple()
            .all(&self.db)
            .await?;
        let Some(oldest) = oldest.into_iter().min() else {
            return Ok(None);
        };
        let event: Option<Instant> = outbox_event::Entity::find_by_id(oldest)
            .select_only()
            .column(outbox_event::Column::CreatedAt)
            .into_tuple()
            .one(&self.db)
            .await?;
        let Some(created_at) = event else {
            return Ok(None);
        };
        let age = self.clock.now().signed_duration_since(created_at);
        Ok(Some(age.to_std().unwrap_or_default()))
    }
}

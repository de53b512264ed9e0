//! How many events wait, and for how long.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ParkedState;
use crate::domain::{CampaignId, Instant};
use crate::parts::store::numbers::to_unsigned;
use crate::parts::store::{Store, StoreError};

/// How many events wait, by state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// Waiting to be published: behind the position, or held by their writer.
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

/// Events behind the position of their stream. A parked event is not pending, on whichever side of the position.
const BEHIND: &str = "SELECT c.id, c.event_sequence - COALESCE(o.published, 0) - \
     (SELECT COUNT(*) FROM outbox_parked p WHERE p.campaign_id = c.id AND p.sequence > COALESCE(o.published, 0)) \
     AS behind FROM campaign c LEFT JOIN outbox_position o ON o.campaign_id = c.id \
     WHERE c.event_sequence > COALESCE(o.published, 0)";

impl Store {
    /// How many events wait and where, of one campaign or of all.
    pub async fn outbox_counts(
        &self,
        campaign: Option<CampaignId>,
    ) -> Result<OutboxCounts, StoreError> {
        let pending = self.behind(campaign).await?.into_values().sum();
        let mut counts = OutboxCounts {
            pending,
            ..OutboxCounts::default()
        };
        let mut sql = self.sql("SELECT state, COUNT(*) AS count_rows FROM outbox_parked");
        if let Some(campaign) = campaign {
            sql.push(" WHERE campaign_id = ").bind(campaign.0);
        }
        sql.push(" GROUP BY state");
        for row in sql.rows(&self.db).await? {
            let rows = to_unsigned(row.try_get("", "count_rows")?);
            let state: String = row.try_get("", "state")?;
            match ParkedState::parse(&state) {
                Some(ParkedState::Retry | ParkedState::Waiting) => counts.retry += rows,
                Some(ParkedState::Blocked) => counts.blocked = rows,
                Some(ParkedState::Dead) => counts.dead = rows,
                Some(ParkedState::Discarded) => counts.discarded = rows,
                Some(ParkedState::Held) => counts.pending += rows,
                Some(ParkedState::Acknowledged) | None => {}
            }
        }
        Ok(counts)
    }

    /// Events behind the positions, by campaign.
    async fn behind(
        &self,
        campaign: Option<CampaignId>,
    ) -> Result<BTreeMap<CampaignId, u64>, StoreError> {
        let mut sql = self.sql(BEHIND);
        if let Some(campaign) = campaign {
            sql.push(" AND c.id = ").bind(campaign.0);
        }
        let rows = sql.rows(&self.db).await?;
        rows.iter()
            .map(|row| {
                let campaign = CampaignId(row.try_get("", "id")?);
                Ok((campaign, to_unsigned(row.try_get("", "behind")?)))
            })
            .collect()
    }

    /// Events that the broker has not acknowledged, of each campaign that has any. Reads what waits, and
    /// nothing of what was published.
    pub async fn unpublished_counts(&self) -> Result<BTreeMap<CampaignId, u64>, StoreError> {
        let mut counts = self.behind(None).await?;
        let mut sql = self.sql("SELECT campaign_id, COUNT(*) AS count_rows FROM outbox_parked ");
        sql.push("WHERE state <> 'acknowledged' GROUP BY campaign_id");
        for row in sql.rows(&self.db).await? {
            let campaign = CampaignId(row.try_get("", "campaign_id")?);
            *counts.entry(campaign).or_default() += to_unsigned(row.try_get("", "count_rows")?);
        }
        Ok(counts)
    }

    /// For how long the oldest pending event has waited; none: nothing is pending.
    pub async fn oldest_pending_age(&self) -> Result<Option<Duration>, StoreError> {
        let mut sql = self.sql(
            "SELECT MIN(e.created_at) AS oldest FROM campaign c \
             LEFT JOIN outbox_position o ON o.campaign_id = c.id \
             JOIN outbox_event e ON e.campaign_id = c.id AND e.sequence = COALESCE(o.published, 0) + 1 \
             WHERE c.event_sequence > COALESCE(o.published, 0)",
        );
        let rows = sql.rows(&self.db).await?;
        let oldest: Option<Instant> = match rows.first() {
            Some(row) => row.try_get("", "oldest")?,
            None => None,
        };
        let age = |at| self.clock.now().signed_duration_since(at).to_std();
        Ok(oldest.map(|at| age(at).unwrap_or_default()))
    }
}

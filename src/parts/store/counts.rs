//! Counts of one campaign.

use super::verification::RowSelection;
use super::{Store, StoreError};
use crate::domain::CampaignId;

/// The rows of one campaign, by table and state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Participations, whatever their status.
    pub participations: u64,
    /// Changes of participations, each of which has an event.
    pub changes: u64,
    /// Units held by participations.
    pub units: u64,
    /// Users who hold more than the limit.
    pub users_over_limit: u64,
    /// Events about participations in the outbox.
    pub events: u64,
    /// Published events that were deleted from the outbox.
    pub purged: u64,
    /// Events that wait to be published.
    pub pending: u64,
    /// Parked events, including dead ones.
    pub parked: u64,
    /// Parked rows without an event, or with an event elsewhere.
    pub orphans: u64,
}

impl Store {
    /// Counts all rows of one campaign in one snapshot. Reads all of them.
    pub async fn counts(&self, campaign: CampaignId) -> Result<Counts, StoreError> {
        let snapshot = self.snapshot_of_any_server().await?;
        let ids = &[campaign];
        let sums = snapshot.sums(RowSelection::Whole(ids)).await?;
        let sums = sums.get(&campaign).copied().unwrap_or_default();
        let log = snapshot.log_sums(ids).await?;
        let log = log.get(&campaign).copied().unwrap_or_default();
        let counters = snapshot.counters(ids).await?;
        let waiting = snapshot.waiting(&counters).await?;
        let waiting = waiting.get(&campaign).copied().unwrap_or_default();
        let (users_over_limit, _) = snapshot.users_over_limit(campaign).await?;
        snapshot.end().await?;
        Ok(Counts {
            participations: sums.participations,
            changes: sums.changes,
            units: sums.units,
            users_over_limit,
            events: log.events,
            purged: counters
                .first()
                .map_or(0, |counters| counters.purged_events),
            pending: waiting.pending,
            parked: waiting.parked,
            orphans: waiting.astray,
        })
    }
}

//! Counts of one campaign.

use super::verification::Ground;
use super::{Store, StoreError};
use crate::domain::CampaignId;

/// The rows of one campaign, by table and state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Participations, whatever their status.
    pub participations: u64,
    /// Changes of participations, each of which has an event.
    pub changes: u64,
    /// Units held by participations that stand.
    pub units: u64,
    /// Users holding more than they may.
    pub users_over_limit: u64,
    /// Events about participations in the outbox.
    pub events: u64,
    /// Published events that were in the outbox and are deleted.
    pub purged: u64,
    /// Events waiting to be published.
    pub pending: u64,
    /// Events waiting outside the hot path, dead ones included.
    pub parked: u64,
    /// Waiting entries without an event, or with an event elsewhere.
    pub orphans: u64,
}

impl Store {
    /// Counts everything of one campaign, at one moment. Reads all its rows.
    pub async fn counts(&self, campaign: CampaignId) -> Result<Counts, StoreError> {
        let snapshot = self.snapshot().await?;
        let ids = &[campaign];
        let sums = snapshot.sums(Ground::Whole(ids)).await?;
        let sums = sums.get(&campaign).copied().unwrap_or_default();
        let log = snapshot.log_sums(ids).await?;
        let log = log.get(&campaign).copied().unwrap_or_default();
        let books = snapshot.books(ids).await?;
        let waiting = snapshot.waiting(&books).await?;
        let waiting = waiting.get(&campaign).copied().unwrap_or_default();
        let (users_over_limit, _) = snapshot.users_over_limit(campaign).await?;
        snapshot.end().await?;
        Ok(Counts {
            participations: sums.participations,
            changes: sums.changes,
            units: sums.units,
            users_over_limit,
            events: log.events,
            purged: books.first().map_or(0, |books| books.purged_events),
            pending: waiting.pending,
            parked: waiting.parked,
            orphans: waiting.astray,
        })
    }
}

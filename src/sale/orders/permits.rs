//! Permits for the transactions of orders. A decision waits for the row of its home campaign while it occupies a
//! connection, so without permits a flood of orders would take all connections of the pool.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::domain::CampaignId;

/// Longest wait for a permit.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The end of a wait for a permit that begins now.
pub(super) fn deadline() -> Instant {
    Instant::now() + WAIT_MAX
}

/// The permits of a process.
pub(super) struct Permits {
    transactions: Semaphore,
    /// Each is locked by the decision that is in progress for this home campaign.
    homes: Mutex<HashMap<CampaignId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Permits {
    /// Permits this many transactions at the same time, at least one.
    pub(super) fn new(transactions_max: usize) -> Self {
        Self {
            transactions: Semaphore::new(transactions_max.max(1)),
            homes: Mutex::default(),
        }
    }

    /// The permit for a transaction; none: others have all of them until the deadline.
    pub(super) async fn transaction(&self, deadline: Instant) -> Option<SemaphorePermit<'_>> {
        let permit = timeout_at(deadline, self.transactions.acquire()).await;
        // Never closed.
        permit.ok()?.ok()
    }

    /// The permit for a decision, the only one at a time of its home campaign. Decisions that wait for that have no
    /// permit for a transaction, so they do not delay those of other campaigns.
    pub(super) async fn decision(
        &self,
        home: CampaignId,
        deadline: Instant,
    ) -> Option<(SemaphorePermit<'_>, OwnedMutexGuard<()>)> {
        let alone = timeout_at(deadline, self.home(home).lock_owned()).await;
        let alone = alone.ok()?;
        Some((self.transaction(deadline).await?, alone))
    }

    fn home(&self, id: CampaignId) -> Arc<tokio::sync::Mutex<()>> {
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        // Drops unused ones, so that the size of the map is bounded by the traffic.
        homes.retain(|_, home| Arc::strong_count(home) > 1);
        Arc::clone(homes.entry(id).or_default())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream::FuturesUnordered;
    use futures_util::{FutureExt, StreamExt};

    use super::*;

    const HOT: CampaignId = CampaignId(1);
    const QUIET: CampaignId = CampaignId(2);

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_one_campaign_leaves_permits_for_others() {
        let permits = Permits::new(2);
        let (began, deadline) = (Instant::now(), deadline());
        let first = permits.decision(HOT, deadline).await;
        let decide = |_| permits.decision(HOT, deadline);
        let mut flood: FuturesUnordered<_> = (0..10).map(decide).collect();
        assert!(flood.next().now_or_never().is_none());
        assert!(permits.decision(QUIET, deadline).await.is_some());
        assert!(permits.transaction(deadline).await.is_some());
        drop(first);
        let mut decided = 0;
        while let Some(permit) = flood.next().await {
            assert!(permit.is_some());
            decided += 1;
        }
        assert_eq!((decided, began.elapsed()), (10, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_a_permit_has_a_limit() {
        let permits = Permits::new(1);
        let deadline = deadline();
        let first = permits.decision(HOT, deadline).await;
        assert!(first.is_some());
        for campaign in [HOT, QUIET] {
            assert!(permits.decision(campaign, deadline).await.is_none());
        }
        assert!(permits.transaction(deadline).await.is_none());
        assert!(Instant::now() >= deadline);
        drop(first);
        assert!(permits.decision(HOT, deadline).await.is_some());
    }

    #[tokio::test]
    async fn campaigns_without_decisions_leave_no_state() {
        let permits = Permits::new(2);
        for campaign in [HOT, QUIET] {
            assert!(permits.decision(campaign, deadline()).await.is_some());
        }
        assert_eq!(permits.homes.lock().unwrap().len(), 1);
    }
}

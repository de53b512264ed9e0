//! Events about the stock of campaigns: that one has sold out, or has units again. Sales write none of them, so that
//! participations do not pay for them. One replica at a time compares the campaigns on sale with their last event,
//! and writes the differences. The store also does so when it closes a campaign or changes its stock, so a lasting
//! change of the stock is never missed. One replica is enough to save work; of two, one would find nothing to write.

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::parts::store::{Store, StoreError, Term};
use crate::runtime::supervisor::Spawner;
use crate::runtime::telemetry::cause;
use crate::sale::relay_hints::RelayHints;

const TASK: &str = "stock_events";
/// The lease of this task.
const TERM: Duration = Duration::from_secs(5);
/// Pause between two comparisons.
const INTERVAL: Duration = Duration::from_secs(1);
/// A comparison is followed by a pause of its own duration times this factor at least.
const SLOW_SHARE: u32 = 20;
/// The longest pause: a comparison may have been slow only because the database stood still.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Maximum number of campaigns per run.
const CAMPAIGNS_MAX: u64 = 500;

/// Writes the events.
#[derive(Clone, Debug)]
pub struct StockEvents {
    store: Store,
    hints: RelayHints,
}

impl StockEvents {
    /// Writes to this store, and notifies the relay.
    #[must_use]
    pub const fn new(store: Store, hints: RelayHints) -> Self {
        Self { store, hints }
    }

    /// Starts the task.
    pub fn start(self, spawner: &Spawner) {
        let owner = Uuid::now_v7().to_string();
        spawner.repeat("stock.events", INTERVAL, move |_stop| {
            let (events, owner) = (self.clone(), owner.clone());
            async move {
                let began = Instant::now();
                if let Err(error) = events.step(&owner).await {
                    tracing::warn!(
                        error = cause(&error),
                        "events about stock were not written; it will be retried"
                    );
                }
                (began.elapsed() * SLOW_SHARE).clamp(INTERVAL, PAUSE_MAX)
            }
        });
    }

    /// Compares once, unless another replica has the task lease. Returns how many events were written.
    pub async fn step(&self, owner: &str) -> Result<usize, StoreError> {
        let mut written = 0;
        if !self
            .store
            .take_task_lease(TASK, owner, Term::Fixed(TERM))
            .await?
        {
            return Ok(written);
        }
        for campaign in self.store.stock_changes(CAMPAIGNS_MAX).await? {
            match self.store.record_stock(campaign).await {
                Ok(0) => {}
                Ok(events) => {
                    written += events;
                    self.hints.campaign_changed(campaign);
                }
                // The other campaigns still get their events.
                Err(error) => tracing::warn!(
                    campaign.id = %campaign,
                    error = cause(&error),
                    "no event about the stock was written; it will be retried"
                ),
            }
        }
        Ok(written)
    }
}

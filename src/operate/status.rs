//! The live status of a campaign. It is read from counters, at most four times a second for any number of clients, so its
//! cost does not depend on the number of participations. Only unpublished events are counted row by row: once for all
//! campaigns, and less often the longer it takes.

mod replicas;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

pub use self::replicas::{Replicas, Scope};
use crate::domain::{Campaign, CampaignId};
use crate::parts::gate::Gate;
use crate::parts::store::{Store, StoreError};
use crate::runtime::cache::ReadThrough;
use crate::runtime::metrics::registers;
use crate::runtime::telemetry::cause;
use crate::sale::meter::{Meter, Recent};

/// Campaigns whose status is cached.
const CAMPAIGNS_MAX: u64 = 10_000;
/// Maximum age of a status.
const AGE_MAX: Duration = Duration::from_millis(250);
/// Maximum age of the count of unpublished events.
const WAITING_AGE_MAX: Duration = Duration::from_secs(30);

/// The stages of a campaign's participations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Funnel {
    /// Committed or holding a lease.
    pub admitted: u64,
    /// In the database.
    pub committed: u64,
    /// Acknowledged by the broker.
    pub published: u64,
    /// With a granted reward.
    pub rewarded: u64,
}

/// The live view of a campaign.
#[derive(Clone, Debug)]
pub struct CampaignStatus {
    /// The campaign now.
    pub campaign: Campaign,
    /// Participations ever committed.
    pub success_count: u64,
    /// Rejections.
    pub fail_count: u64,
    /// Rejections by code.
    pub failures: BTreeMap<String, u64>,
    /// The stages of its participations.
    pub funnel: Funnel,
    /// The decisions of the last seconds.
    pub recent: Recent,
    /// The replicas that these figures include.
    pub scope: Scope,
}

/// Reads statuses.
#[derive(Clone)]
pub struct StatusBoard {
    store: Store,
    gate: Arc<dyn Gate>,
    meter: Meter,
    replicas: Replicas,
    recent: ReadThrough<CampaignId, Option<Arc<CampaignStatus>>, Arc<StoreError>>,
    /// Unpublished events, by campaign.
    waiting: ReadThrough<(), Arc<BTreeMap<CampaignId, u64>>, StoreError>,
    reads: Counter,
}

registers!(pub StatusBoard: reads = STATUS_READS);

impl StatusBoard {
    /// A board over these parts.
    #[must_use]
    pub fn new(store: Store, gate: Arc<dyn Gate>, meter: Meter, replicas: Replicas) -> Self {
        Self {
            store,
            gate,
            meter,
            replicas,
            recent: ReadThrough::new(CAMPAIGNS_MAX, AGE_MAX..=AGE_MAX),
            waiting: ReadThrough::new(1, AGE_MAX..=WAITING_AGE_MAX),
            reads: Counter::default(),
        }
    }

    /// The status of a campaign; none: there is no such campaign.
    pub async fn of(&self, id: CampaignId) -> Result<Option<CampaignStatus>, Arc<StoreError>> {
        let status = self.recent.get(id, || self.read(id)).await;
        let status = status.map_err(Arc::unwrap_or_clone)?;
        Ok(status.map(Arc::unwrap_or_clone))
    }

    async fn read(&self, id: CampaignId) -> Result<Option<Arc<CampaignStatus>>, Arc<StoreError>> {
        self.reads.inc();
        let Some((campaign, committed)) = self.store.campaign_and_count(id).await? else {
            return Ok(None);
        };
        let unpublished = self.unpublished(id).await?;
        let rewarded = self.store.rewarded_count(id).await?;
        let mut failures = self.store.refusals(id).await?;
        for (reason, count) in self.meter.unwritten(id) {
            *failures.entry(reason.to_owned()).or_default() += count;
        }
        // If the gate is unavailable, the rest of the status is still shown.
        let leases = match self.gate.inspect(id).await {
            Ok(state) => state.map_or(0, |state| state.leases),
            Err(error) => {
                tracing::debug!(
                    error = cause(&error),
                    "the status has no figures of the gate"
                );
                0
            }
        };
        let (recent, scope) = self.replicas.add_to(self.meter.recent(id), id).await;
        Ok(Some(Arc::new(CampaignStatus {
            campaign,
            success_count: committed,
            fail_count: failures.values().sum(),
            failures,
            funnel: Funnel {
                admitted: committed + leases,
                committed,
                published: committed.saturating_sub(unpublished),
                rewarded,
            },
            recent,
            scope,
        })))
    }

    async fn unpublished(&self, id: CampaignId) -> Result<u64, Arc<StoreError>> {
        let count = || async { Ok(Arc::new(self.store.unpublished_counts().await?)) };
        let waiting = self.waiting.get((), count).await?;
        Ok(waiting.get(&id).copied().unwrap_or(0))
    }
}

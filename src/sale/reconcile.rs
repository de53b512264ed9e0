//! Keeps the gate consistent with the store: rebuilds missing and wrong state, and sweeps the leases of killed
//! processes. The store is authoritative.
//!
//! A rebuild raises the campaign's epoch, which invalidates all earlier admissions; then it reads the committed
//! participations, and replaces the gate's state. If the process dies in between, the gate has an older epoch, and the
//! next request or the next sweep rebuilds it.

mod drift;
mod metrics;
mod outcome;
mod rebuild;
mod replicas;
mod single_flight;
mod sweep;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache;

pub use self::metrics::Metrics;
pub use self::outcome::{Aligned, Patience, Renewed, Swept};
pub use self::replicas::{REPLICA_INTERVAL, ReplicaLease};
use self::single_flight::SingleFlight;
use crate::domain::{Campaign, CampaignId, State};
use crate::parts::gate::{Configured, Footprint, Gate, GateError, GateState, Settings};
use crate::parts::store::{CampaignFilter, States, Store, StoreError};
use crate::runtime::supervisor::Spawner;
use crate::runtime::telemetry::cause;

/// Attempts to configure a gate that other callers rebuild at the same time.
const CONFIGURE_ATTEMPTS_MAX: usize = 3;
/// Campaigns read in one page.
const PAGE: u64 = 500;
/// Default of the shortest interval between two rebuilds of a campaign.
pub const REBUILD_INTERVAL: Duration = Duration::from_millis(500);
/// Ended campaigns that are cached.
const VOIDED_MAX: u64 = 10_000;
/// Campaigns whose gates have failed that are cached, and for how long.
const FAILED_MAX: u64 = 10_000;
const FAILED_AGE_MAX: Duration = Duration::from_secs(60);

/// The gate could not be reconciled.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The store failed.
    #[error("read the committed participations")]
    Store(#[from] StoreError),
    /// The gate failed.
    #[error("reconcile the gate")]
    Gate(#[from] GateError),
    /// A replica that cannot reach the gate serves the campaign from the database.
    #[error("rebuild the gate: the campaign is served from the database")]
    Closed,
}

impl ReconcileError {
    /// Whether other campaigns would fail, too: the whole gate is away, or the store has failed, and not only because a
    /// row was locked.
    const fn is_of_all_campaigns(&self) -> bool {
        match self {
            Self::Store(error) => !matches!(error, StoreError::Contended(_)),
            Self::Gate(error) => matches!(error, GateError::Away),
            Self::Closed => false,
        }
    }
}

/// Reconciles the gate with the store.
#[derive(Clone)]
pub struct Reconciler {
    store: Store,
    gate: Arc<dyn Gate>,
    spawner: Spawner,
    flights: Arc<Mutex<HashMap<CampaignId, Arc<SingleFlight>>>>,
    /// Returned units missing in the gates at the last comparison.
    lacking: Arc<Mutex<HashMap<CampaignId, u64>>>,
    rebuild_interval: Duration,
    /// Ended campaigns in which nothing can be committed any more.
    voided: Cache<CampaignId, ()>,
    /// Campaigns whose gates have failed a moment ago.
    failed: Cache<CampaignId, ()>,
    metrics: Metrics,
}

impl Reconciler {
    /// A reconciler of this gate with this store; the spawner runs the rebuilds.
    #[must_use]
    pub fn new(store: Store, gate: Arc<dyn Gate>, spawner: Spawner) -> Self {
        Self {
            store,
            gate,
            spawner,
            flights: Arc::default(),
            lacking: Arc::default(),
            rebuild_interval: REBUILD_INTERVAL,
            voided: Cache::new(VOIDED_MAX),
            failed: Cache::builder()
                .max_capacity(FAILED_MAX)
                .time_to_live(FAILED_AGE_MAX)
                .build(),
            metrics: Metrics::default(),
        }
    }

    /// Sets the shortest interval between two rebuilds of a campaign; zero: none.
    #[must_use]
    pub const fn with_rebuild_interval(mut self, interval: Duration) -> Self {
        self.rebuild_interval = interval;
        self
    }

    /// The metrics.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The gate's state of a campaign, and its memory, for display.
    pub async fn inspect(
        &self,
        id: CampaignId,
    ) -> Result<(Option<GateState>, Footprint), ReconcileError> {
        let state = self.gate.inspect(id).await?;
        Ok((state, self.gate.footprint(id).await?))
    }

    /// Whether the campaign was served from the database a moment ago.
    #[must_use]
    pub fn is_closed(&self, id: CampaignId) -> bool {
        let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.get(&id).is_some_and(|flight| flight.is_closed())
    }

    /// Writes a campaign's settings to the gate. Rebuilds the gate if it has no state, or settings that the store has
    /// lost.
    pub async fn configure(
        &self,
        campaign: &Campaign,
        patience: Patience,
    ) -> Result<Renewed, ReconcileError> {
        let (id, settings) = (campaign.id, Settings::from(campaign));
        for _ in 0..CONFIGURE_ATTEMPTS_MAX {
            match self.gate.configure(id, &settings).await? {
                Configured::Applied => return Ok(Renewed::InStep),
                Configured::Missing => {}
                Configured::Stale => match self.gate.inspect(id).await? {
                    None => {}
                    Some(gate) if self.has_lost(id, &gate.settings).await? => {
                        return self.renew(id, Some(gate.epoch), patience).await;
                    }
                    Some(_) => return Ok(Renewed::InStep),
                },
            }
            let renewed = self.renew(id, None, patience).await?;
            if renewed != Renewed::InStep {
                return Ok(renewed);
            }
            // Another caller may have rebuilt the gate, with the campaign as it was before this change.
        }
        Ok(Renewed::Later)
    }

    /// Whether these settings of the gate are newer than the store's, because the store was restored to an older copy.
    async fn has_lost(&self, id: CampaignId, seen: &Settings) -> Result<bool, StoreError> {
        let known = self.store.current_campaign(id).await?;
        Ok(known.is_some_and(|known| seen.is_newer_than(&Settings::from(&known))))
    }

    /// Writes the settings of all live campaigns to the gate, and rebuilds missing state: at start, and after an outage
    /// of the gate. It does not wait for running rebuilds, which would delay other campaigns.
    pub async fn align(&self) -> Result<Aligned, ReconcileError> {
        let mut campaigns = self.live_campaigns().await?;
        self.put_failed_last(&mut campaigns);
        let mut aligned = Aligned {
            campaigns: campaigns.len(),
            closed: 0,
            later: 0,
            failed: 0,
        };
        for campaign in &campaigns {
            match self.align_campaign(campaign).await {
                Ok(Renewed::InStep) => {}
                Ok(Renewed::Closed) => aligned.closed += 1,
                Ok(Renewed::Later) => aligned.later += 1,
                Err(error) => {
                    self.skip(campaign.id, error)?;
                    aligned.failed += 1;
                }
            }
        }
        Ok(aligned)
    }

    async fn align_campaign(&self, campaign: &Campaign) -> Result<Renewed, ReconcileError> {
        match self.configure(campaign, Patience::None).await? {
            Renewed::InStep => self.catch_up(campaign).await,
            renewed @ (Renewed::Closed | Renewed::Later) => Ok(renewed),
        }
    }

    /// The gate of one campaign has failed: logs it, so that a pass over all campaigns can continue with the next one.
    /// Returns the error if the next one would fail, too.
    fn skip(&self, id: CampaignId, error: ReconcileError) -> Result<(), ReconcileError> {
        if error.is_of_all_campaigns() {
            return Err(error);
        }
        tracing::warn!(
            campaign.id = %id,
            error = cause(&error),
            "the gate of a campaign was not reconciled; it will be retried"
        );
        self.failed.insert(id, ());
        Ok(())
    }

    /// Moves campaigns whose gates have failed to the end of a pass: a gate that does not answer opens the breaker,
    /// which ends the pass.
    fn put_failed_last(&self, campaigns: &mut [Campaign]) {
        campaigns.sort_by_cached_key(|campaign| self.failed.contains_key(&campaign.id));
    }

    pub(crate) async fn live_campaigns(&self) -> Result<Vec<Campaign>, StoreError> {
        let mut filter = CampaignFilter {
            states: States::Stored(vec![State::Scheduled, State::Open, State::Paused]),
            kind: None,
            after: None,
            limit: PAGE,
        };
        let mut campaigns = Vec::new();
        loop {
            let page = self.store.campaigns(&filter).await?;
            filter.after = page.last().map(|campaign| campaign.id);
            let last = u64::try_from(page.len()).unwrap_or(PAGE) < PAGE;
            campaigns.extend(page);
            if last {
                return Ok(campaigns);
            }
        }
    }

    fn flight(&self, id: CampaignId) -> Arc<SingleFlight> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        // Drops unused ones, so that the size of the map is bounded by the traffic.
        flights.retain(|_, flight| Arc::strong_count(flight) > 1 || flight.is_closed());
        Arc::clone(flights.entry(id).or_default())
    }
}

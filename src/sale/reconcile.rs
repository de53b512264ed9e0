//! Keeps the gate in step with the store: rebuilds what is missing or wrong, and sweeps the leases of
//! those who died. The store is always right.
//!
//! A rebuild raises the campaign's epoch first, which voids whatever any gate admitted before, then
//! reads what is committed, then swaps it in. Whoever dies in between leaves a campaign whose gate is of
//! an older epoch: the next request, or the next sweep, begins anew.

mod drift;
mod metrics;
mod outcome;
mod rebuild;
mod single_flight;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache;

pub use self::metrics::Metrics;
use self::outcome::Corrected;
pub use self::outcome::{Aligned, Patience, Renewed, Swept};
use self::single_flight::SingleFlight;
use crate::domain::{Campaign, CampaignId, ParticipationId, State};
use crate::parts::gate::{Configured, Footprint, Gate, GateError, GateState, Settings};
use crate::parts::store::{CampaignFilter, States, Store, StoreError};
use crate::runtime::failpoint;

/// Leases looked at in one go, per campaign.
const SWEEP_BATCH: usize = 1_000;
/// Campaigns read in one page.
const PAGE: u64 = 500;
/// Campaigns that are over, of which the gate is told in one sweep.
const OVER_PAGE: u64 = 200;
/// How long after a rebuild the next one of the same campaign begins, unless told otherwise.
pub const REBUILD_INTERVAL: Duration = Duration::from_millis(500);
/// Campaigns that are over which are remembered.
const VOIDED_MAX: u64 = 10_000;

/// Why the gate could not be brought into step.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The store could not be asked.
    #[error("read what is committed")]
    Store(#[from] StoreError),
    /// The gate could not be asked.
    #[error("bring the gate into step")]
    Gate(#[from] GateError),
    /// Some replica cannot reach the gate and serves the campaign by the database.
    #[error("rebuild the gate: the campaign is served by the database")]
    Closed,
}

/// Brings the gate into step with the store.
#[derive(Clone)]
pub struct Reconciler {
    store: Store,
    gate: Arc<dyn Gate>,
    flights: Arc<Mutex<HashMap<CampaignId, Arc<SingleFlight>>>>,
    /// Returns that gates lacked when they were last compared with the store.
    lacking: Arc<Mutex<HashMap<CampaignId, u64>>>,
    rebuild_interval: Duration,
    /// Campaigns that are over, of which nothing can be committed.
    voided: Cache<CampaignId, ()>,
    metrics: Metrics,
}

impl Reconciler {
    /// A reconciler of this gate with this store.
    #[must_use]
    pub fn new(store: Store, gate: Arc<dyn Gate>) -> Self {
        Self {
            store,
            gate,
            flights: Arc::default(),
            lacking: Arc::default(),
            rebuild_interval: REBUILD_INTERVAL,
            voided: Cache::new(VOIDED_MAX),
            metrics: Metrics::default(),
        }
    }

    /// The same, with another time between two rebuilds of a campaign; none: one may follow the other.
    #[must_use]
    pub const fn with_rebuild_interval(mut self, interval: Duration) -> Self {
        self.rebuild_interval = interval;
        self
    }

    /// What it counts.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What the gate knows of a campaign, and the memory it takes, for people.
    pub async fn look(
        &self,
        id: CampaignId,
    ) -> Result<(Option<GateState>, Footprint), ReconcileError> {
        let state = self.gate.inspect(id).await?;
        Ok((state, self.gate.footprint(id).await?))
    }

    /// Whether the campaign was found to be served by the database a moment ago.
    #[must_use]
    pub fn is_closed(&self, id: CampaignId) -> bool {
        let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.get(&id).is_some_and(|flight| flight.is_closed())
    }

    /// Tells the gate a campaign's settings, rebuilding its state when it has none, or when it has settings
    /// that the store has lost.
    pub async fn configure(
        &self,
        campaign: &Campaign,
        patience: Patience,
    ) -> Result<Renewed, ReconcileError> {
        let (id, settings) = (campaign.id, Settings::from(campaign));
        match self.gate.configure(id, &settings).await? {
            Configured::Applied => Ok(Renewed::InStep),
            Configured::Missing => self.renew(id, None, patience).await,
            Configured::Stale => match self.gate.inspect(id).await? {
                None => self.renew(id, None, patience).await,
                Some(gate) if self.has_lost(id, &gate.settings).await? => {
                    self.renew(id, Some(gate.epoch), patience).await
                }
                Some(_) => Ok(Renewed::InStep),
            },
        }
    }

    /// Whether these settings, seen in the gate before, are newer than the store's: it was set back.
    async fn has_lost(&self, id: CampaignId, seen: &Settings) -> Result<bool, StoreError> {
        let known = self.store.current_campaign(id).await?;
        Ok(known.is_some_and(|known| seen.is_newer_than(&Settings::from(&known))))
    }

    /// Tells the gate the settings of every campaign that may take participations, and rebuilds what is
    /// missing: at start, and after the gate was away. It waits for nobody's rebuild: there are other campaigns.
    pub async fn align(&self) -> Result<Aligned, ReconcileError> {
        let campaigns = self.live_campaigns().await?;
        let mut aligned = Aligned {
            campaigns: campaigns.len(),
            closed: 0,
            later: 0,
        };
        for campaign in &campaigns {
            let mut renewed = self.configure(campaign, Patience::None).await?;
            if renewed == Renewed::InStep {
                renewed = self.catch_up(campaign).await?;
            }
            aligned.closed += usize::from(renewed == Renewed::Closed);
            aligned.later += usize::from(renewed == Renewed::Later);
        }
        Ok(aligned)
    }

    /// Ends leases that have run out: settled where the store has the participation, released where it
    /// has not. A writer never commits after its lease, so the answer cannot change any more. Then
    /// compares the gate with the store and rebuilds what disagrees.
    pub async fn sweep(&self) -> Result<Swept, ReconcileError> {
        let mut swept = Swept::default();
        for campaign in self.live_campaigns().await? {
            while self.sweep_some(campaign.id, &mut swept).await? == SWEEP_BATCH {}
            match self.check_drift(&campaign).await? {
                Corrected::Nothing => {}
                Corrected::Settings => swept.configured += 1,
                Corrected::All => swept.rebuilt += 1,
            }
        }
        swept.over = self.expire_closed_campaigns().await?;
        self.metrics.count(swept);
        Ok(swept)
    }

    /// How many leases had run out.
    async fn sweep_some(
        &self,
        campaign: CampaignId,
        swept: &mut Swept,
    ) -> Result<usize, ReconcileError> {
        let expired = self.gate.expired(campaign, SWEEP_BATCH).await?;
        if expired.is_empty() {
            return Ok(0);
        }
        let ids: Vec<ParticipationId> = expired.iter().map(|lease| lease.participation).collect();
        let committed = self.store.committed_among(&ids).await?;
        failpoint::point("sweep.asked");
        self.gate.settle(campaign, &committed).await?;
        failpoint::point("sweep.settled");
        // By epoch: whoever was refused may have been admitted again under a newer one since.
        let mut lost: BTreeMap<u64, Vec<ParticipationId>> = BTreeMap::new();
        for lease in &expired {
            if !committed.contains(&lease.participation) {
                lost.entry(lease.epoch)
                    .or_default()
                    .push(lease.participation);
            }
        }
        for (epoch, ids) in &lost {
            self.gate.release(campaign, *epoch, ids).await?;
            swept.released += ids.len();
        }
        swept.settled += committed.len();
        Ok(expired.len())
    }

    /// Configures the gates of campaigns that are over, in case the replica that ended them died first: their keys
    /// expire from then on. Returns how many there were.
    async fn expire_closed_campaigns(&self) -> Result<usize, ReconcileError> {
        let over = self.store.over_in_gate(OVER_PAGE).await?;
        let mut told = Vec::with_capacity(over.len());
        for campaign in &over {
            if self.configure(campaign, Patience::None).await? == Renewed::InStep {
                told.push(campaign.id);
            }
        }
        self.store.note_gate_expires(&told).await?;
        Ok(told.len())
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
        // Those nobody needs any more are dropped here, so that the map stays as small as the traffic.
        flights.retain(|_, flight| Arc::strong_count(flight) > 1 || flight.is_closed());
        Arc::clone(flights.entry(id).or_default())
    }
}

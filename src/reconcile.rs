//! Keeps the gate in step with the store: rebuilds what is missing or wrong, and sweeps the leases of
//! those who died. The store is always right.
//!
//! A rebuild raises the campaign's epoch first, which voids whatever any gate admitted before, then
//! reads what is committed, then swaps it in. Whoever dies in between leaves a campaign whose gate is of
//! an older epoch: the next request, or the next sweep, begins anew.

mod audit;
mod metrics;
pub mod verify;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use self::metrics::Metrics;
use crate::crash;
use crate::domain::{Campaign, CampaignId, ParticipationId, State};
use crate::gate::{Configured, Gate, GateError, Settings};
use crate::store::{CampaignFilter, Raised, Store, StoreError};

/// Leases looked at in one go, per campaign.
const SWEEP_BATCH: usize = 1_000;
/// Campaigns read in one page.
const PAGE: u64 = 500;
/// How often somebody who asked for a rebuild waits for the end of a term.
const TERMS_MAX: usize = 8;

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

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Leases whose participation is committed.
    pub settled: usize,
    /// Leases whose participation never was.
    pub released: usize,
    /// Gates that disagreed with the store and were rebuilt.
    pub rebuilt: usize,
}

/// What came of a wish to put a gate right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// Ask it again.
    InStep,
    /// It stays closed for now: the campaign is served by the database.
    Closed,
}

/// One rebuild of a campaign at a time, and until when there is no point in trying.
#[derive(Debug, Default)]
struct Flight {
    turn: tokio::sync::Mutex<()>,
    closed_until: Mutex<Option<Instant>>,
}

impl Flight {
    fn is_closed(&self) -> bool {
        let until = self
            .closed_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn close_for(&self, term: Duration) {
        let mut until = self
            .closed_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *until = Some(Instant::now() + term);
    }
}

/// Brings the gate into step with the store.
#[derive(Clone)]
pub struct Reconciler {
    store: Store,
    gate: Arc<dyn Gate>,
    flights: Arc<Mutex<HashMap<CampaignId, Arc<Flight>>>>,
    /// Returns that gates lacked when they were last compared with the store.
    lacking: Arc<Mutex<HashMap<CampaignId, u64>>>,
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
            metrics: Metrics::default(),
        }
    }

    /// What it counts.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Rebuilds the gate's state of a campaign from what is committed, in a new epoch. Everybody
    /// admitted before is refused by the writer and asks again. None: there is no such campaign.
    pub async fn rebuild(&self, id: CampaignId) -> Result<Option<u64>, ReconcileError> {
        let flight = self.flight(id);
        let _alone = flight.turn.lock().await;
        for _ in 0..TERMS_MAX {
            match self.rebuild_alone(id).await? {
                Rebuilt::Closed(term) => tokio::time::sleep(term).await,
                Rebuilt::In(epoch) => return Ok(Some(epoch)),
                Rebuilt::Unknown => return Ok(None),
            }
        }
        Err(ReconcileError::Closed)
    }

    /// Rebuilds unless somebody else just did: `seen` is the epoch that was found wrong, none when the
    /// gate had no state at all.
    pub async fn renew(
        &self,
        id: CampaignId,
        seen: Option<u64>,
    ) -> Result<Renewed, ReconcileError> {
        let flight = self.flight(id);
        let _alone = flight.turn.lock().await;
        if flight.is_closed() {
            return Ok(Renewed::Closed);
        }
        if self.gate.inspect(id).await?.map(|state| state.epoch) != seen {
            return Ok(Renewed::InStep);
        }
        match self.rebuild_alone(id).await? {
            Rebuilt::Closed(term) => {
                flight.close_for(term);
                Ok(Renewed::Closed)
            }
            Rebuilt::In(_) | Rebuilt::Unknown => Ok(Renewed::InStep),
        }
    }

    /// Whether the campaign was found to be served by the database a moment ago.
    #[must_use]
    pub fn is_closed(&self, id: CampaignId) -> bool {
        let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.get(&id).is_some_and(|flight| flight.is_closed())
    }

    /// Tells the gate a campaign's settings, rebuilding its state when it has none.
    pub async fn configure(&self, campaign: &Campaign) -> Result<Renewed, ReconcileError> {
        match self
            .gate
            .configure(campaign.id, &Settings::from(campaign))
            .await?
        {
            Configured::Applied | Configured::Stale => Ok(Renewed::InStep),
            Configured::Missing => self.renew(campaign.id, None).await,
        }
    }

    /// Tells the gate the settings of every campaign that may take participations, and rebuilds what is
    /// missing: at start, and after the gate was away.
    pub async fn align(&self) -> Result<Aligned, ReconcileError> {
        let campaigns = self.live_campaigns().await?;
        let mut aligned = Aligned {
            campaigns: campaigns.len(),
            closed: 0,
        };
        for campaign in &campaigns {
            let mut renewed = self.configure(campaign).await?;
            if renewed == Renewed::InStep {
                renewed = self.catch_up(campaign).await?;
            }
            aligned.closed += usize::from(renewed == Renewed::Closed);
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
            swept.rebuilt += usize::from(self.audit(&campaign).await?);
        }
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
        crash::point("sweep.asked");
        self.gate.settle(campaign, &committed).await?;
        crash::point("sweep.settled");
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

    async fn rebuild_alone(&self, id: CampaignId) -> Result<Rebuilt, ReconcileError> {
        let mut beyond = 0;
        loop {
            let campaign = match self.store.raise_epoch(id, beyond).await? {
                Raised::To(campaign) => campaign,
                Raised::Closed(term) => return Ok(Rebuilt::Closed(term)),
                Raised::Unknown => return Ok(Rebuilt::Unknown),
            };
            self.metrics.rebuilds.inc();
            crash::point("rebuild.raised");
            let epoch = campaign.gate_epoch;
            let snapshot = self.store.snapshot().await?;
            let committed = snapshot.committed(id).await?;
            snapshot.end().await?;
            let (settings, seats) = (Settings::from(campaign.as_ref()), &committed.seats);
            let applied = self
                .gate
                .rebuild(id, epoch, &settings, seats, committed.mark)
                .await?;
            tracing::info!(campaign.id = %id, gate.epoch = epoch, seats = seats.len(), applied, "gate rebuilt");
            if applied {
                return Ok(Rebuilt::In(epoch));
            }
            // A newer epoch in the gate is another replica's work, unless the store has not given it out
            // yet: then the store was set back, and the gate's epoch has to be left behind.
            let Some(ahead) = self.gate.inspect(id).await?.map(|state| state.epoch) else {
                return Ok(Rebuilt::In(epoch));
            };
            let known = self.store.campaign(id).await?;
            if known.is_none_or(|known| known.gate_epoch >= ahead) {
                return Ok(Rebuilt::In(epoch));
            }
            beyond = ahead;
        }
    }

    pub(crate) async fn live_campaigns(&self) -> Result<Vec<Campaign>, StoreError> {
        let mut filter = CampaignFilter {
            states: vec![State::Scheduled, State::Open, State::Paused],
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

    fn flight(&self, id: CampaignId) -> Arc<Flight> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        // Those nobody needs any more are dropped here, so that the map stays as small as the traffic.
        flights.retain(|_, flight| Arc::strong_count(flight) > 1 || flight.is_closed());
        Arc::clone(flights.entry(id).or_default())
    }
}

/// What came of one attempt to rebuild.
enum Rebuilt {
    /// The gate has this epoch, or a newer one.
    In(u64),
    /// The campaign is served by the database for so long.
    Closed(Duration),
    /// There is no such campaign.
    Unknown,
}

/// What came of aligning the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aligned {
    /// Campaigns the gate was told of.
    pub campaigns: usize,
    /// Those that are still served by the database.
    pub closed: usize,
}

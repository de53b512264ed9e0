//! Keeps the gate in step with the store: rebuilds what is missing or wrong, and sweeps the leases of
//! those who died. The store is always right.

pub mod verify;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::{Campaign, CampaignId, ParticipationId, State};
use crate::gate::{Configured, Gate, GateError, Settings};
use crate::store::{CampaignFilter, Store, StoreError};

/// Leases looked at in one go, per campaign.
const SWEEP_BATCH: usize = 1_000;
/// Campaigns read in one page.
const PAGE: u64 = 500;

/// Why the gate could not be brought into step.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The store could not be asked.
    #[error("read what is committed")]
    Store(#[from] StoreError),
    /// The gate could not be asked.
    #[error("bring the gate into step")]
    Gate(#[from] GateError),
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Leases whose participation is committed.
    pub settled: usize,
    /// Leases whose participation never was.
    pub released: usize,
}

/// Brings the gate into step with the store.
#[derive(Clone)]
pub struct Reconciler {
    store: Store,
    gate: Arc<dyn Gate>,
    flights: Arc<Mutex<HashMap<CampaignId, Arc<tokio::sync::Mutex<()>>>>>,
}

impl Reconciler {
    /// A reconciler of this gate with this store.
    #[must_use]
    pub fn new(store: Store, gate: Arc<dyn Gate>) -> Self {
        Self {
            store,
            gate,
            flights: Arc::default(),
        }
    }

    /// Rebuilds the gate's state of a campaign from what is committed, in a new epoch. Everybody
    /// admitted before is refused by the writer and asks again. None: there is no such campaign.
    pub async fn rebuild(&self, id: CampaignId) -> Result<Option<u64>, ReconcileError> {
        let flight = self.flight(id);
        let _alone = flight.lock().await;
        self.rebuild_alone(id).await
    }

    /// Rebuilds unless somebody else just did: `seen` is the epoch that was found wrong, none when the
    /// gate had no state at all.
    pub async fn renew(&self, id: CampaignId, seen: Option<u64>) -> Result<(), ReconcileError> {
        let flight = self.flight(id);
        let _alone = flight.lock().await;
        if self.gate.inspect(id).await?.map(|state| state.epoch) == seen {
            self.rebuild_alone(id).await?;
        }
        Ok(())
    }

    /// Tells the gate a campaign's settings, rebuilding its state when it has none.
    pub async fn configure(&self, campaign: &Campaign) -> Result<(), ReconcileError> {
        match self
            .gate
            .configure(campaign.id, &Settings::from(campaign))
            .await?
        {
            Configured::Applied | Configured::Stale => Ok(()),
            Configured::Missing => self.renew(campaign.id, None).await,
        }
    }

    /// Tells the gate the settings of every campaign that may take participations: at start, and after
    /// the gate was away.
    pub async fn align(&self) -> Result<usize, ReconcileError> {
        let campaigns = self.live_campaigns().await?;
        for campaign in &campaigns {
            self.configure(campaign).await?;
        }
        Ok(campaigns.len())
    }

    /// Ends leases that have run out: settled where the store has the participation, released where it
    /// has not. A writer never commits after its lease, so the answer cannot change any more.
    pub async fn sweep(&self) -> Result<Swept, ReconcileError> {
        let mut swept = Swept::default();
        for campaign in self.live_campaigns().await? {
            let expired = self.gate.expired(campaign.id, SWEEP_BATCH).await?;
            if expired.is_empty() {
                continue;
            }
            let ids: Vec<ParticipationId> =
                expired.iter().map(|lease| lease.participation).collect();
            let committed = self.store.committed_among(&ids).await?;
            let lost: Vec<ParticipationId> = ids
                .into_iter()
                .filter(|id| !committed.contains(id))
                .collect();
            self.gate.settle(campaign.id, &committed).await?;
            self.gate.release(campaign.id, &lost).await?;
            swept.settled += committed.len();
            swept.released += lost.len();
        }
        Ok(swept)
    }

    async fn rebuild_alone(&self, id: CampaignId) -> Result<Option<u64>, ReconcileError> {
        let Some(committed) = self.store.raise_epoch(id).await? else {
            return Ok(None);
        };
        let epoch = committed.campaign.gate_epoch;
        let settings = Settings::from(&committed.campaign);
        let applied = self
            .gate
            .rebuild(id, epoch, &settings, &committed.seats, committed.last_rank)
            .await?;
        tracing::info!(campaign.id = %id, gate.epoch = epoch, seats = committed.seats.len(), applied, "gate rebuilt");
        Ok(Some(epoch))
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

    fn flight(&self, id: CampaignId) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        // Those nobody holds any more are dropped here, so that the map stays as small as the traffic.
        flights.retain(|_, flight| Arc::strong_count(flight) > 1);
        Arc::clone(flights.entry(id).or_default())
    }
}

/// How often leases are swept.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(4);

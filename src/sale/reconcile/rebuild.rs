//! Rebuilds a campaign's gate: one rebuild at a time on all replicas, and a pause after each. It does not decide
//! whether a gate is wrong.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout_at;

use super::single_flight::SingleFlight;
use super::{Patience, ReconcileError, Reconciler, Renewed};
use crate::domain::{Campaign, CampaignId};
use crate::parts::gate::{GateState, Settings};
use crate::parts::store::{Raise, Raised, StoreError, Turn};
use crate::runtime::failpoint;
use crate::runtime::supervisor::Stage;
use crate::runtime::telemetry::cause;

/// How often a requested rebuild waits for others.
const TERMS_MAX: usize = 8;
/// How long a rebuild blocks others after its process has died, and how often it renews this.
const TERM: Duration = Duration::from_secs(2);
const RENEWAL_INTERVAL: Duration = Duration::from_millis(500);
/// Longest interval until the next rebuild after a slow one.
const INTERVAL_MAX: Duration = Duration::from_secs(5);
/// How long a statement may wait for the campaign's row, which it compares with the time of its start.
const ROW_WAIT_MAX: Duration = Duration::from_secs(2);
/// Pause between reads of the gate while another process rebuilds it.
const READ_INTERVAL: Duration = Duration::from_millis(50);
/// How long a caller waits for a rebuild before it must retry.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// A fault of a gate.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Its state of this epoch is wrong; none: it has no state.
    State(Option<u64>),
    /// Its epoch is not the store's.
    Epoch,
}

/// The result of replacing the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swap {
    /// The gate has the new state.
    Done,
    /// The gate had this epoch, or a newer one.
    Refused(u64),
}

/// The result of one attempt to rebuild.
pub(super) enum Rebuilt {
    /// The gate has this epoch, or a newer one.
    In(u64),
    /// The campaign is served from the database for this long.
    Closed(Duration),
    /// Another rebuild is running, or has just ended: for this long none begins.
    Underway(Duration),
    /// There is no such campaign.
    Unknown,
}

impl Reconciler {
    /// Rebuilds the gate's state of a campaign from the committed participations, in a new epoch, without waiting for
    /// other callers. The writer rejects earlier admissions, which are repeated. None: there is no such campaign.
    pub async fn rebuild(&self, id: CampaignId) -> Result<Option<u64>, ReconcileError> {
        let flight = self.flight(id);
        for _ in 0..TERMS_MAX {
            let rebuilt = {
                let alone = Arc::clone(&flight.turn).lock_owned().await;
                self.rebuild_detached(&flight, alone, (id, Turn::AtOnce))
                    .await?
            };
            match rebuilt {
                Rebuilt::Closed(term) | Rebuilt::Underway(term) => tokio::time::sleep(term).await,
                Rebuilt::In(epoch) => return Ok(Some(epoch)),
                Rebuilt::Unknown => return Ok(None),
            }
        }
        Err(ReconcileError::Closed)
    }

    /// Rebuilds the gate unless another caller has: `seen` is the epoch of the wrong state, none if the gate has no
    /// state. The rate of rebuilds of a campaign is bounded for all callers in all processes: the pause after a rebuild
    /// is as long as the rebuild, within bounds, and at least the interval.
    pub async fn renew(
        &self,
        id: CampaignId,
        seen: Option<u64>,
        patience: Patience,
    ) -> Result<Renewed, ReconcileError> {
        let (flight, fault) = (self.flight(id), Fault::State(seen));
        if patience == Patience::Waits {
            return self.repair_in_turn(&flight, id, fault).await;
        }
        // Another caller is rebuilding the gate.
        let Ok(alone) = Arc::clone(&flight.turn).try_lock_owned() else {
            return Ok(Renewed::Later);
        };
        Ok(match self.repair_alone(&flight, alone, id, fault).await? {
            ControlFlow::Break(renewed) => renewed,
            ControlFlow::Continue(_) => Renewed::Later,
        })
    }

    /// Opens the gate of a campaign that is served from the database, unless another caller has.
    pub async fn reopen(&self, id: CampaignId) -> Result<Renewed, ReconcileError> {
        let flight = self.flight(id);
        self.repair_in_turn(&flight, id, Fault::Epoch).await
    }

    /// Waits until no other caller, in any process, rebuilds the gate; then repairs it. The lease of a killed process
    /// expires.
    async fn repair_in_turn(
        &self,
        flight: &Arc<SingleFlight>,
        id: CampaignId,
        fault: Fault,
    ) -> Result<Renewed, ReconcileError> {
        let began = Instant::now();
        let until = tokio::time::Instant::now() + WAIT_MAX;
        let Ok(_waiter) = flight.waiters.try_acquire() else {
            return Ok(Renewed::Later);
        };
        let Ok(_reader) = timeout_at(until, flight.reader.lock()).await else {
            return Ok(Renewed::Later);
        };
        loop {
            let turn = Arc::clone(&flight.turn).lock_owned();
            let Ok(alone) = timeout_at(until, turn).await else {
                return Ok(Renewed::Later);
            };
            // Another caller has read the gate, or rebuilt it, while this one waited: all need not read it again.
            if let (Fault::State(seen), Some(epoch)) = (fault, flight.epoch_since(began))
                && Some(epoch) != seen
            {
                return Ok(Renewed::InStep);
            }
            let left = match self.repair_alone(flight, alone, id, fault).await? {
                ControlFlow::Break(renewed) => return Ok(renewed),
                ControlFlow::Continue(left) => left,
            };
            if tokio::time::Instant::now() >= until {
                return Ok(Renewed::Later);
            }
            tokio::time::sleep(left.min(READ_INTERVAL)).await;
        }
    }

    /// Repairs the gate if it still has the fault; the caller must be the only one in this process. `Continue` has
    /// the time until the next rebuild may begin.
    async fn repair_alone(
        &self,
        flight: &Arc<SingleFlight>,
        alone: OwnedMutexGuard<()>,
        id: CampaignId,
        fault: Fault,
    ) -> Result<ControlFlow<Renewed, Duration>, ReconcileError> {
        if flight.is_closed() {
            return Ok(ControlFlow::Break(Renewed::Closed));
        }
        let asked_at = Instant::now();
        let in_force = self.gate.inspect(id).await?.map(|state| state.epoch);
        if let Some(epoch) = in_force {
            flight.note_epoch(epoch, asked_at);
        }
        let is_repaired = match fault {
            Fault::State(seen) => in_force != seen,
            Fault::Epoch => {
                let known = self.store.current_campaign(id).await?;
                known.is_none_or(|known| Some(known.gate_epoch) == in_force)
            }
        };
        if is_repaired {
            return Ok(ControlFlow::Break(Renewed::InStep));
        }
        Ok(
            match self
                .rebuild_detached(flight, alone, (id, Turn::Waits))
                .await?
            {
                Rebuilt::Closed(term) => {
                    flight.close_for(term);
                    ControlFlow::Break(Renewed::Closed)
                }
                Rebuilt::In(_) | Rebuilt::Unknown => ControlFlow::Break(Renewed::InStep),
                Rebuilt::Underway(left) => {
                    self.metrics.deferred.inc();
                    ControlFlow::Continue(left)
                }
            },
        )
    }

    /// Invalidates the admissions of a lost gate of an ended campaign. No more are made afterwards, so this is done
    /// once.
    pub async fn void(&self, id: CampaignId) -> Result<(), StoreError> {
        if self.voided.contains_key(&id) {
            return Ok(());
        }
        let how = Raise {
            turn: Turn::AtOnce,
            ..Raise::default()
        };
        if matches!(self.store.raise_epoch(id, &how).await?, Raised::To(_)) {
            self.voided.insert(id, ());
        }
        Ok(())
    }

    /// Rebuilds in a separate task, which continues if the caller disconnects: an interrupted rebuild leaves a gate
    /// whose admissions are all void, and blocks other rebuilds for its term.
    pub(super) async fn rebuild_detached(
        &self,
        flight: &Arc<SingleFlight>,
        alone: OwnedMutexGuard<()>,
        (id, turn): (CampaignId, Turn),
    ) -> Result<Rebuilt, ReconcileError> {
        let (reconciler, flight) = (self.clone(), Arc::clone(flight));
        let work = async move {
            let rebuilt = reconciler.rebuild_alone(id, turn).await;
            if let Ok(Rebuilt::In(epoch)) = rebuilt {
                // For callers that came during the rebuild, too: at worst they ask once more.
                flight.note_epoch(epoch, Instant::now());
            }
            drop(alone);
            rebuilt
        };
        let spawner = &self.spawner;
        let rebuilt = spawner.run_detached("reconcile.rebuild", Stage::Admission, work);
        // It failed without a result: the store allows the next one after its term.
        rebuilt.await.unwrap_or(Ok(Rebuilt::Underway(TERM)))
    }

    /// How the epoch is raised, and how long others wait for what follows.
    pub(super) fn raise(&self, turn: Turn) -> Raise {
        Raise {
            beyond: 0,
            term: TERM,
            turn,
            believed_max: TERM.max(INTERVAL_MAX).max(self.rebuild_interval) + ROW_WAIT_MAX,
        }
    }

    async fn rebuild_alone(&self, id: CampaignId, turn: Turn) -> Result<Rebuilt, ReconcileError> {
        let mut how = self.raise(turn);
        loop {
            let campaign = match self.store.raise_epoch(id, &how).await? {
                Raised::To(campaign) => campaign,
                Raised::Closed(term) => return Ok(Rebuilt::Closed(term)),
                Raised::Underway(left) => return Ok(Rebuilt::Underway(left)),
                Raised::Unknown => return Ok(Rebuilt::Unknown),
            };
            self.metrics.rebuilds.inc();
            failpoint::point("rebuild.raised");
            let (epoch, began) = (campaign.gate_epoch, Instant::now());
            let replaced = self.replace_in_turn(&campaign).await;
            let rest = match &replaced {
                Ok(_) if !self.rebuild_interval.is_zero() => {
                    began.elapsed().min(INTERVAL_MAX).max(self.rebuild_interval)
                }
                Ok(_) | Err(_) => Duration::ZERO,
            };
            self.store.hold_rebuild(id, epoch, rest).await?;
            let swap = replaced?;
            match self.ahead_of_store(id, swap).await? {
                None => return Ok(Rebuilt::In(epoch)),
                Some(ahead) => (how.beyond, how.turn) = (ahead, Turn::AtOnce),
            }
        }
    }

    /// Replaces the gate's state, and renews the hold of this rebuild meanwhile.
    async fn replace_in_turn(&self, campaign: &Campaign) -> Result<Swap, ReconcileError> {
        tokio::select! {
            replaced = self.replace(campaign) => replaced,
            never = self.renew_hold(campaign) => match never {},
        }
    }

    async fn renew_hold(&self, campaign: &Campaign) -> Infallible {
        loop {
            tokio::time::sleep(RENEWAL_INTERVAL).await;
            let (id, epoch) = (campaign.id, campaign.gate_epoch);
            if let Err(error) = self.store.hold_rebuild(id, epoch, TERM).await {
                tracing::debug!(
                    error = cause(&error),
                    "the lease of a rebuild was not renewed; another rebuild may begin"
                );
            }
        }
    }

    async fn replace(&self, campaign: &Campaign) -> Result<Swap, ReconcileError> {
        let (id, epoch) = (campaign.id, campaign.gate_epoch);
        let snapshot = self.store.snapshot().await?;
        let committed = snapshot.committed(id).await?;
        snapshot.end_current().await?;
        let (settings, users) = (Settings::from(campaign), &committed.seats);
        let applied = self
            .gate
            .rebuild(id, epoch, &settings, users, committed.mark)
            .await?;
        tracing::info!(campaign.id = %id, gate.epoch = epoch, users = users.len(), applied, "gate rebuilt");
        Ok(if applied {
            Swap::Done
        } else {
            Swap::Refused(epoch)
        })
    }

    /// The epoch that the next rebuild must exceed, if the gate is ahead of the store; none: it is not. A newer epoch in
    /// the gate is normally the work of another replica, and newer settings a change made meanwhile. If the store does
    /// not have them, the store was restored to an older copy. Epochs are unique, so a gate that already has this one
    /// got it before the restore. The gate is read first, so that the store is at least as new.
    async fn ahead_of_store(
        &self,
        id: CampaignId,
        swap: Swap,
    ) -> Result<Option<u64>, ReconcileError> {
        let Some(gate) = self.gate.inspect(id).await? else {
            return Ok(None);
        };
        let known = self.store.current_campaign(id).await?;
        Ok(known.and_then(|known| ahead(&gate, &known, swap)))
    }
}

fn ahead(gate: &GateState, known: &Campaign, swap: Swap) -> Option<u64> {
    let newer = gate.settings.is_newer_than(&Settings::from(known));
    let lost = gate.epoch > known.gate_epoch || swap == Swap::Refused(gate.epoch);
    (lost || newer).then(|| gate.epoch.max(gate.settings.epoch))
}

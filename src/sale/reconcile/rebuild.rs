//! Rebuilding a campaign's gate: one rebuild at a time in this process, and none of another process while one
//! is under way or has just ended. It must not decide what is wrong with a gate.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::single_flight::SingleFlight;
use super::{Patience, ReconcileError, Reconciler, Renewed};
use crate::domain::{Campaign, CampaignId};
use crate::parts::gate::{GateState, Settings};
use crate::parts::store::{Raise, Raised, StoreError, Turn};
use crate::runtime::failpoint;

/// Terms that a requested rebuild waits for.
const TERMS_MAX: usize = 8;
/// How long a rebuild keeps others from beginning one after its process has died, and how often it renews that.
const TERM: Duration = Duration::from_secs(2);
const RENEWAL_INTERVAL: Duration = Duration::from_millis(500);
/// Longest interval until the next rebuild after a slow one.
const INTERVAL_MAX: Duration = Duration::from_secs(5);
/// How long a statement may wait for the campaign's row: it knows the time at which it began.
const ROW_WAIT_MAX: Duration = Duration::from_secs(2);
/// Pause between readings of the gate while another process rebuilds it.
const READ_INTERVAL: Duration = Duration::from_millis(50);
/// How long a caller waits for a rebuild before it is told to retry.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What is wrong with a gate.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Its state of this epoch; none: it has no state.
    In(Option<u64>),
    /// Its epoch is not the store's.
    Epoch,
}

/// The result of a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swap {
    /// The gate has the new state.
    Done,
    /// The gate had this epoch, or a newer one.
    Refused(u64),
}

/// The result of one attempt to rebuild.
enum Rebuilt {
    /// The gate has this epoch, or a newer one.
    In(u64),
    /// The campaign is served by the database for so long.
    Closed(Duration),
    /// Another rebuild is under way, or ended just now: for so long none begins.
    Underway(Duration),
    /// There is no such campaign.
    Unknown,
}

impl Reconciler {
    /// Rebuilds the gate's state of a campaign from what is committed, in a new epoch, at once: beside those who
    /// wait, too. Everybody admitted before is refused by the writer and asks again. None: there is no such
    /// campaign.
    pub async fn rebuild(&self, id: CampaignId) -> Result<Option<u64>, ReconcileError> {
        let flight = self.flight(id);
        for _ in 0..TERMS_MAX {
            let rebuilt = {
                let _alone = flight.turn.lock().await;
                self.rebuild_alone(id, Turn::AtOnce).await?
            };
            match rebuilt {
                Rebuilt::Closed(term) | Rebuilt::Underway(term) => tokio::time::sleep(term).await,
                Rebuilt::In(epoch) => return Ok(Some(epoch)),
                Rebuilt::Unknown => return Ok(None),
            }
        }
        Err(ReconcileError::Closed)
    }

    /// Rebuilds unless somebody else just did: `seen` is the epoch that was found wrong, none when the
    /// gate had no state at all. However many ask, and in however many processes, a campaign is rebuilt at a
    /// bounded rate: a rebuild waits as long as the one before took, within bounds, and at least the interval.
    pub async fn renew(
        &self,
        id: CampaignId,
        seen: Option<u64>,
        patience: Patience,
    ) -> Result<Renewed, ReconcileError> {
        let (flight, fault) = (self.flight(id), Fault::In(seen));
        if patience == Patience::Waits {
            return self.mend_in_turn(&flight, id, fault).await;
        }
        // Somebody is at it: there is nothing to be done beside them.
        let Ok(_alone) = flight.turn.try_lock() else {
            return Ok(Renewed::Later);
        };
        Ok(match self.mend_alone(&flight, id, fault).await? {
            ControlFlow::Break(renewed) => renewed,
            ControlFlow::Continue(_) => Renewed::Later,
        })
    }

    /// Opens the gate of a campaign that was found to be served by the database, unless somebody did so.
    pub async fn reopen(&self, id: CampaignId) -> Result<Renewed, ReconcileError> {
        let flight = self.flight(id);
        self.mend_in_turn(&flight, id, Fault::Epoch).await
    }

    /// Waits for whoever is at it, here or in another process. It ends, or its process dies and its term does:
    /// then it is the turn of this one.
    async fn mend_in_turn(
        &self,
        flight: &SingleFlight,
        id: CampaignId,
        fault: Fault,
    ) -> Result<Renewed, ReconcileError> {
        let until = tokio::time::Instant::now() + WAIT_MAX;
        let Ok(_place) = flight.waiters.try_acquire() else {
            return Ok(Renewed::Later);
        };
        let Ok(_lookout) = timeout_at(until, flight.lookout.lock()).await else {
            return Ok(Renewed::Later);
        };
        loop {
            let left = {
                let Ok(_alone) = timeout_at(until, flight.turn.lock()).await else {
                    return Ok(Renewed::Later);
                };
                match self.mend_alone(flight, id, fault).await? {
                    ControlFlow::Break(renewed) => return Ok(renewed),
                    ControlFlow::Continue(left) => left,
                }
            };
            if tokio::time::Instant::now() >= until {
                return Ok(Renewed::Later);
            }
            tokio::time::sleep(left.min(READ_INTERVAL)).await;
        }
    }

    /// Puts the gate right if it still is as it was found; for whoever has the turn. Goes on with how long no
    /// rebuild begins.
    async fn mend_alone(
        &self,
        flight: &SingleFlight,
        id: CampaignId,
        fault: Fault,
    ) -> Result<ControlFlow<Renewed, Duration>, ReconcileError> {
        if flight.is_closed() {
            return Ok(ControlFlow::Break(Renewed::Closed));
        }
        let in_force = self.gate.inspect(id).await?.map(|state| state.epoch);
        let is_mended = match fault {
            Fault::In(seen) => in_force != seen,
            Fault::Epoch => {
                let known = self.store.current_campaign(id).await?;
                known.is_none_or(|known| Some(known.gate_epoch) == in_force)
            }
        };
        if is_mended {
            return Ok(ControlFlow::Break(Renewed::InStep));
        }
        Ok(match self.rebuild_alone(id, Turn::Waits).await? {
            Rebuilt::Closed(term) => {
                flight.close_for(term);
                ControlFlow::Break(Renewed::Closed)
            }
            Rebuilt::In(_) | Rebuilt::Unknown => ControlFlow::Break(Renewed::InStep),
            Rebuilt::Underway(left) => {
                self.metrics.deferred.inc();
                ControlFlow::Continue(left)
            }
        })
    }

    /// Makes sure that nothing can be committed any more by what a gate once admitted, for a campaign that
    /// is over and whose gate is gone. Nothing is admitted to it afterwards, so once is enough.
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

    async fn rebuild_alone(&self, id: CampaignId, turn: Turn) -> Result<Rebuilt, ReconcileError> {
        let mut how = Raise {
            beyond: 0,
            term: TERM,
            turn,
            believed_max: TERM.max(INTERVAL_MAX).max(self.rebuild_interval) + ROW_WAIT_MAX,
        };
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

    /// Replaces the gate's state, and says meanwhile that this rebuild is alive.
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
                    error = &error as &dyn std::error::Error,
                    "others may begin a rebuild beside this one"
                );
            }
        }
    }

    async fn replace(&self, campaign: &Campaign) -> Result<Swap, ReconcileError> {
        let (id, epoch) = (campaign.id, campaign.gate_epoch);
        let snapshot = self.store.snapshot().await?;
        let committed = snapshot.committed(id).await?;
        snapshot.end_current().await?;
        let (settings, seats) = (Settings::from(campaign), &committed.seats);
        let applied = self
            .gate
            .rebuild(id, epoch, &settings, seats, committed.mark)
            .await?;
        tracing::info!(campaign.id = %id, gate.epoch = epoch, seats = seats.len(), applied, "gate rebuilt");
        Ok(if applied {
            Swap::Done
        } else {
            Swap::Refused(epoch)
        })
    }

    /// The epoch that has to be left behind before the gate takes what the store says. A newer one in the gate
    /// is another replica's work, and newer settings are a change made meanwhile, unless the store does not
    /// know of them: then it was set back. An epoch is given out once, so a gate that had this one already has it
    /// from before the store was set back. The gate is read first, so that the store knows of all that it has.
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

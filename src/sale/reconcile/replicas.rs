//! Ends the leases of dead replicas, long before they expire: until then their units cannot be sold, and a repeated
//! request with an idempotency key gets no definite answer.
//!
//! Each replica renews a lease of its own on the database's clock. One whose lease has ended may be dead, or only slow or
//! cut off, and a transaction of it may still commit. So the campaign's epoch is raised first: this waits for the
//! campaign's row, and afterwards nothing that was admitted before can commit. What the dead replica held is committed
//! then, or never will be. The other replicas' leases move to the new epoch, and their rejected transactions are repeated
//! under them. A rebuild would do the same, but its time grows with the number of participations.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{ReconcileError, Reconciler, Swept};
use crate::domain::CampaignId;
use crate::parts::gate::HeldLease;
use crate::parts::store::{Raised, StoreError, Turn};
use crate::runtime::failpoint;

/// How long a replica counts as alive after it has renewed its lease.
const ALIVE: Duration = Duration::from_secs(3);
/// How often a replica renews its lease, and how often it looks for dead ones.
pub const REPLICA_INTERVAL: Duration = Duration::from_millis(800);
/// Dead replicas handled at a time.
const DEAD_MAX: u64 = 100;
/// Leases of one replica ended at a time, and how often.
const LEASES: usize = 1_000;
const ROUNDS_MAX: usize = 100;

/// This replica's lease.
#[derive(Clone)]
pub struct ReplicaLease {
    reconciler: Reconciler,
    unbroken: Arc<Mutex<Option<Unbroken>>>,
}

/// A time in which the lease was never over.
#[derive(Clone, Copy, Debug)]
struct Unbroken {
    since: Instant,
    renewed_at: Instant,
}

impl ReplicaLease {
    /// The lease of this process. It is not taken before it is renewed for the first time.
    #[must_use]
    pub fn new(reconciler: Reconciler) -> Self {
        Self {
            reconciler,
            unbroken: Arc::default(),
        }
    }

    /// Says that this replica is alive.
    pub async fn renew(&self) -> Result<(), StoreError> {
        let asked_at = Instant::now();
        let (store, gate) = (&self.reconciler.store, &self.reconciler.gate);
        store.renew_replica(gate.owner(), ALIVE).await?;
        let mut unbroken = self.unbroken.lock().unwrap_or_else(PoisonError::into_inner);
        let before = unbroken.filter(|before| asked_at.duration_since(before.renewed_at) < ALIVE);
        *unbroken = Some(Unbroken {
            since: before.map_or(asked_at, |before| before.since),
            renewed_at: asked_at,
        });
        Ok(())
    }

    /// Whether this replica has been alive for long enough to judge others. After an outage of the database the leases of
    /// all have ended, and each renews its own at its next turn.
    fn may_judge(&self) -> bool {
        let unbroken = self.unbroken.lock().unwrap_or_else(PoisonError::into_inner);
        unbroken.is_some_and(|unbroken| {
            unbroken.renewed_at.elapsed() < ALIVE && unbroken.since.elapsed() >= ALIVE
        })
    }

    /// Ends what dead replicas held, and forgets them.
    pub async fn end_dead(&self) -> Result<(), ReconcileError> {
        if !self.may_judge() {
            return Ok(());
        }
        let store = &self.reconciler.store;
        let dead = store.dead_replicas(DEAD_MAX).await?;
        if dead.is_empty() || !self.reconciler.end_leases_of(&dead).await? {
            return Ok(());
        }
        for replica in &dead {
            store.forget_replica(replica).await?;
        }
        Ok(())
    }
}

impl Reconciler {
    /// Ends the leases of dead replicas in all campaigns. False: some are left, because a rebuild is running or has just
    /// ended.
    pub async fn end_leases_of(&self, dead: &[String]) -> Result<bool, ReconcileError> {
        let (mut swept, mut is_done) = (Swept::default(), true);
        for campaign in self.live_campaigns().await? {
            is_done &= self.end_leases_in(campaign.id, dead, &mut swept).await?;
        }
        self.metrics.count(swept);
        if is_done {
            self.metrics.dead_replicas.inc_by(dead.len() as u64);
            tracing::warn!(
                replicas = dead.len(),
                swept.settled,
                swept.released,
                "replicas stopped renewing their leases: what they held was settled or released"
            );
        }
        Ok(is_done)
    }

    async fn end_leases_in(
        &self,
        id: CampaignId,
        dead: &[String],
        swept: &mut Swept,
    ) -> Result<bool, ReconcileError> {
        if self.leases_of(id, dead).await?.is_empty() {
            return Ok(true);
        }
        let Some(epoch) = self.fence(id, dead).await? else {
            return Ok(false);
        };
        failpoint::point("replicas.fenced");
        for _ in 0..ROUNDS_MAX {
            let mut leases = self.leases_of(id, dead).await?;
            // A replica that is alive after all may have been admitted since.
            leases.retain(|lease| lease.epoch < epoch);
            if leases.is_empty() {
                return Ok(true);
            }
            self.end_leases(id, &leases, swept).await?;
        }
        Ok(false)
    }

    async fn leases_of(
        &self,
        id: CampaignId,
        dead: &[String],
    ) -> Result<Vec<HeldLease>, ReconcileError> {
        let mut leases = Vec::new();
        for replica in dead {
            leases.extend(self.gate.leases_of(id, replica, LEASES).await?);
        }
        Ok(leases)
    }

    /// Prevents the commit of everything that was admitted before, and moves the gate and the leases of the others to the
    /// new epoch, which is returned. None: not now, because a rebuild is running or has just ended, or the database alone
    /// serves the campaign.
    async fn fence(&self, id: CampaignId, dead: &[String]) -> Result<Option<u64>, ReconcileError> {
        let flight = self.flight(id);
        let Ok(alone) = flight.turn.try_lock() else {
            return Ok(None);
        };
        let how = self.raise(Turn::Waits);
        let campaign = match self.store.raise_epoch(id, &how).await? {
            Raised::To(campaign) => campaign,
            Raised::Closed(_) | Raised::Underway(_) | Raised::Unknown => return Ok(None),
        };
        let epoch = campaign.gate_epoch;
        failpoint::point("replicas.raised");
        let advanced = self.gate.advance(id, epoch - 1, epoch, dead).await;
        self.store.hold_rebuild(id, epoch, Duration::ZERO).await?;
        if advanced? {
            return Ok(Some(epoch));
        }
        // The gate was in another epoch: a rebuild ends all leases.
        drop(alone);
        self.rebuild(id).await
    }
}

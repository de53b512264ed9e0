//! Ends the leases of dead replicas, long before they expire: until then their units cannot be sold, and a repeated
//! request with an idempotency key gets no definite answer.
//!
//! Each replica renews a lease of its own on the database's clock. One whose lease has ended may be dead, or only slow or
//! cut off, and a transaction of it may still commit. So the campaign's epoch is raised first: this waits for the
//! campaign's row, and afterwards nothing that was admitted before can commit. What the dead replica held is committed
//! then, or never will be. The other replicas' leases move to the new epoch, and their rejected transactions are repeated
//! under them. A rebuild would do the same, but its time grows with the number of participations.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::rebuild::Rebuilt;
use super::{ReconcileError, Reconciler, Swept};
use crate::domain::{Campaign, CampaignId, Timestamp};
use crate::parts::gate::HeldLease;
use crate::parts::store::{OtherReplica, Raised, StoreError, Turn};
use crate::runtime::failpoint;
use crate::runtime::telemetry::cause;

/// How long a replica counts as alive after it has renewed its lease.
const ALIVE: Duration = Duration::from_secs(3);
/// How long a lease may stay as it is before its replica counts as dead whatever the database's clock says: after a step
/// back the lease would last for the length of the step. A replica that is alive after all is fenced, and asks again.
const SILENT_MAX: Duration = Duration::from_secs(15);
/// How often a replica renews its lease, and how often it looks for dead ones.
pub const REPLICA_INTERVAL: Duration = Duration::from_millis(800);
/// How long a renewal may take before it is repeated, perhaps over another connection.
const RENEWAL_MAX: Duration = Duration::from_secs(1);
/// Replicas looked at.
const REPLICAS_MAX: u64 = 1_000;
/// Leases ended at a time, and how often.
const LEASES: usize = 1_000;
const ROUNDS_MAX: usize = 100;

/// This replica's lease.
#[derive(Clone)]
pub struct ReplicaLease {
    reconciler: Reconciler,
    unbroken: Arc<Mutex<Option<Unbroken>>>,
    others: Arc<Mutex<Others>>,
}

/// A time in which the lease was never over.
#[derive(Clone, Copy, Debug)]
struct Unbroken {
    since: Instant,
    renewed_at: Instant,
}

/// When the lease of each other replica was seen to change.
type Others = HashMap<String, (Timestamp, Instant)>;

impl ReplicaLease {
    /// The lease of this process. It is not taken before it is renewed for the first time.
    #[must_use]
    pub fn new(reconciler: Reconciler) -> Self {
        Self {
            reconciler,
            unbroken: Arc::default(),
            others: Arc::default(),
        }
    }

    /// Says that this replica is alive.
    pub async fn renew(&self) -> Result<(), StoreError> {
        let asked_at = Instant::now();
        let (store, gate) = (&self.reconciler.store, &self.reconciler.gate);
        let renewal = store.renew_replica(gate.owner(), ALIVE);
        match tokio::time::timeout(RENEWAL_MAX, renewal).await {
            Ok(renewed) => renewed?,
            // The next one may use another connection.
            Err(_) => return Ok(()),
        };
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
        let (store, own) = (&self.reconciler.store, self.reconciler.gate.owner());
        let replicas = store.other_replicas(own, REPLICAS_MAX).await?;
        let dead = {
            let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
            dead_among(&mut others, replicas, Instant::now())
        };
        let names: Vec<String> = dead.iter().map(|replica| replica.name.clone()).collect();
        if names.is_empty() || !self.may_judge() || !self.reconciler.end_leases_of(&names).await? {
            return Ok(());
        }
        for replica in &dead {
            store.forget_replica(replica).await?;
        }
        Ok(())
    }
}

/// Those whose leases have ended by the database's clock, and were not renewed for as long by this process's clock: the
/// database's clock may be set. And those whose leases were not renewed for much longer.
fn dead_among(others: &mut Others, replicas: Vec<OtherReplica>, now: Instant) -> Vec<OtherReplica> {
    others.retain(|name, _| replicas.iter().any(|replica| replica.name == *name));
    let mut is_dead = |replica: &OtherReplica| {
        let renewed_until = replica.renewed_until;
        let seen = others
            .entry(replica.name.clone())
            .or_insert((renewed_until, now));
        if seen.0 != renewed_until {
            *seen = (renewed_until, now);
        }
        let silent = now.duration_since(seen.1);
        replica.is_over && silent >= ALIVE || silent >= SILENT_MAX
    };
    replicas.into_iter().filter(|one| is_dead(one)).collect()
}

impl Reconciler {
    /// Ends the leases of dead replicas in all campaigns. False: some are left, because a rebuild is running or has just
    /// ended, or a campaign's row is locked.
    pub async fn end_leases_of(&self, dead: &[String]) -> Result<bool, ReconcileError> {
        let (mut swept, mut is_done) = (Swept::default(), true);
        for campaign in self.live_campaigns().await? {
            let ended = self.end_leases_in(&campaign, dead, &mut swept).await;
            is_done &= ended.unwrap_or_else(|error| {
                tracing::warn!(
                    campaign.id = %campaign.id,
                    error = cause(&error),
                    "the leases of a dead replica were not ended; it will be retried"
                );
                false
            });
        }
        self.metrics.count(swept);
        if swept != Swept::default() {
            tracing::warn!(
                replicas = dead.len(),
                swept.settled,
                swept.released,
                "replicas stopped renewing their leases: what they held was settled or released"
            );
        }
        if is_done {
            self.metrics.dead_replicas.inc_by(dead.len() as u64);
        }
        Ok(is_done)
    }

    async fn end_leases_in(
        &self,
        campaign: &Campaign,
        dead: &[String],
        swept: &mut Swept,
    ) -> Result<bool, ReconcileError> {
        let (id, mut epoch) = (campaign.id, campaign.gate_epoch);
        let held = self.gate.leases_of(id, dead, u64::MAX, LEASES).await?;
        // Another replica may have raised the epoch, and died or not ended all of them yet.
        if held.iter().any(|lease| lease.epoch >= epoch) {
            match self.fence(id, dead).await? {
                Some(raised) => epoch = raised,
                None => return Ok(false),
            }
            failpoint::point("replicas.fenced");
        }
        // A replica that is alive after all may have been admitted since, in the new epoch.
        let mut left = held.len();
        for _ in 0..ROUNDS_MAX {
            if left == 0 {
                return Ok(true);
            }
            let leases: Vec<HeldLease> = self.gate.leases_of(id, dead, epoch, LEASES).await?;
            left = leases.len();
            self.end_leases(id, &leases, swept).await?;
        }
        Ok(false)
    }

    /// Prevents the commit of everything that was admitted before, and moves the gate and the leases of the others to the
    /// new epoch, which is returned. None: not now, because a rebuild is running or has just ended, or the database alone
    /// serves the campaign.
    async fn fence(&self, id: CampaignId, dead: &[String]) -> Result<Option<u64>, ReconcileError> {
        let flight = self.flight(id);
        let Ok(alone) = Arc::clone(&flight.turn).try_lock_owned() else {
            return Ok(None);
        };
        let how = self.raise(Turn::Waits);
        let campaign = match self.store.raise_epoch(id, &how).await? {
            Raised::To(campaign) => campaign,
            Raised::Closed(_) | Raised::Underway(_) | Raised::Unknown => return Ok(None),
        };
        let epoch = campaign.gate_epoch;
        failpoint::point("replicas.raised");
        if self.gate.advance(id, epoch - 1, epoch, dead).await? {
            self.store.hold_rebuild(id, epoch, Duration::ZERO).await?;
            return Ok(Some(epoch));
        }
        // The gate was in another epoch: a rebuild ends all leases.
        let rebuilt = self.rebuild_detached(&flight, alone, (id, Turn::AtOnce));
        Ok(match rebuilt.await? {
            Rebuilt::In(epoch) => Some(epoch),
            Rebuilt::Closed(_) | Rebuilt::Underway(_) | Rebuilt::Unknown => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(renewed_until: i64, is_over: bool) -> OtherReplica {
        OtherReplica {
            name: "other".to_owned(),
            renewed_until: Timestamp::from_timestamp_nanos(renewed_until),
            is_over,
        }
    }

    #[test]
    fn a_replica_is_dead_when_both_clocks_say_so() {
        let (mut others, begin) = (Others::new(), Instant::now());
        let mut dead = |replica, after| {
            let found = dead_among(&mut others, vec![replica], begin + after);
            !found.is_empty()
        };
        // The database's clock was set forward: its lease has ended, and it is renewed all the same.
        assert!(!dead(replica(1, true), Duration::ZERO));
        assert!(!dead(replica(2, true), ALIVE));
        assert!(!dead(replica(3, true), 2 * ALIVE));
        // Set back: it has not ended, and is not renewed any more.
        assert!(!dead(replica(3, false), 4 * ALIVE));
        assert!(dead(replica(3, true), 4 * ALIVE));
        // It does not stay so for the length of the step.
        assert!(dead(replica(3, false), 2 * ALIVE + SILENT_MAX));
        assert!(!dead(replica(4, true), 3 * ALIVE + SILENT_MAX));
    }
}

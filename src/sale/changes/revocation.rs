//! Prevents the use of coupons whose units are given back. Before a participation that may have coupons is cancelled,
//! its coupons are suspended in the rewards database; this is refused if one was used. The cancellation commits only
//! while they are suspended. Afterwards the consumer of coupons revokes them. If the cancellation did not commit,
//! this module makes them usable again.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::ChangeError;
use crate::domain::{Obstacle, Participation, ParticipationId, Status, Timestamp};
use crate::parts::store::{Revocation, Rewards, Store, StoreError, Suspension};
use crate::runtime::failpoint;
use crate::runtime::retry;
use crate::runtime::supervisor::Spawner;
use crate::runtime::telemetry::cause;

const TASK: &str = "revocations";
/// The lease of this task.
const TERM: Duration = Duration::from_secs(5);
/// Interval of the search for due revocations, and the number read at once.
const INTERVAL: Duration = Duration::from_secs(1);
const PAGE: u64 = 500;

/// Suspends coupons, and decides on those that stay suspended.
#[derive(Clone)]
pub struct Revocations {
    /// The events' database, with the committed cancellations and the clock.
    pub store: Store,
    /// The rewards database, with the coupons.
    pub rewards: Rewards,
    /// How long a cancellation may take from the suspension to its commit.
    pub suspend_max: Duration,
    /// How deadlocks with the consumer are retried.
    pub contention: retry::Policy,
}

impl Revocations {
    /// Suspends the coupons of a participation before its cancellation. Returns the time until which the cancellation
    /// may commit.
    pub(super) async fn suspend(
        &self,
        not_committed: &Participation,
    ) -> Result<Timestamp, ChangeError> {
        let now = self.store.time().await.map_err(|error| {
            tracing::warn!(error = cause(&error), "cannot read the time");
            ChangeError::Unavailable
        })?;
        let until = now + self.suspend_max;
        let class = |error: &StoreError| retry::RetryDecision::again_if(error.is_rolled_back());
        let suspended = retry::retry(&self.contention, class, || {
            self.rewards.suspend_coupons(not_committed.id, until)
        });
        match suspended.await {
            Ok(Suspension::Suspended) => Ok(until),
            Ok(Suspension::Used) => Err(ChangeError::Unchanged {
                participation: Box::new(not_committed.clone()),
                obstacle: Obstacle::AlreadyUsed,
            }),
            Err(error) => {
                tracing::warn!(error = cause(&error), "cannot suspend coupons");
                Err(ChangeError::RewardsUnavailable)
            }
        }
    }

    /// Decides due revocations: coupons of cancelled participations are revoked, and the others are issued again.
    async fn decide_due(&self, owner: &str) -> Result<(), StoreError> {
        loop {
            let now = self.store.time().await?;
            let due = self.rewards.due_revocations(now, PAGE).await?;
            if due.is_empty() {
                return Ok(());
            }
            let ids: Vec<ParticipationId> = due.iter().map(|one| one.participation).collect();
            let lease = (TASK, owner, TERM);
            let Some(statuses) = self.store.decided(lease, &ids).await? else {
                return Ok(());
            };
            failpoint::point("revocation.decided");
            let of = |wanted: CancellationResult| -> Vec<Revocation> {
                let due = due.iter().copied();
                due.filter(|one| CancellationResult::of(*one, &statuses) == wanted)
                    .collect()
            };
            let (cancelled, not_committed) = (
                of(CancellationResult::Cancelled),
                of(CancellationResult::NotCommitted),
            );
            self.rewards.revoke_coupons(&cancelled).await?;
            self.rewards.restore_coupons(&not_committed).await?;
            let later = now + self.suspend_max;
            self.rewards
                .postpone_revocations(&of(CancellationResult::Undecided), later)
                .await?;
            if !not_committed.is_empty() {
                tracing::info!(
                    participations = not_committed.len(),
                    "cancellations did not commit: their coupons can be used again"
                );
            }
        }
    }
}

/// The result of a cancellation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CancellationResult {
    Cancelled,
    NotCommitted,
    Undecided,
}

impl CancellationResult {
    fn of(one: Revocation, statuses: &HashMap<ParticipationId, Status>) -> Self {
        match statuses.get(&one.participation) {
            Some(status) if status.holds_units() => Self::NotCommitted,
            Some(_) => Self::Cancelled,
            None => Self::Undecided,
        }
    }
}

/// Decides due revocations while the service runs.
pub fn start(spawner: &Spawner, revocations: Revocations) {
    let owner = Uuid::now_v7().to_string();
    spawner.repeat("changes.revoke", INTERVAL, move |_stop| {
        let (revocations, owner) = (revocations.clone(), owner.clone());
        async move {
            if let Err(error) = revocations.decide_due(&owner).await {
                tracing::warn!(
                    error = cause(&error),
                    "suspended coupons were not decided; it will be retried"
                );
            }
            INTERVAL
        }
    });
}

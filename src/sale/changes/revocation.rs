//! Keeps coupons from being used whose units are given back. Before a participation is cancelled that may
//! have coupons, they are suspended, in the rewards database; that is refused where one was used. The
//! cancellation commits only while they stay so. Afterwards the consumer of coupons revokes them, or this
//! finds that the cancellation did not commit and lets them be used again.

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

const DUTY: &str = "revocations";
/// How long the duty stays with a replica that says nothing.
const TERM: Duration = Duration::from_secs(5);
/// How often it is looked for what is due, and how much of it in one go.
const INTERVAL: Duration = Duration::from_secs(1);
const PAGE: u64 = 500;

/// Suspends coupons, and sees to those that stayed suspended.
#[derive(Clone)]
pub struct Revocations {
    /// Knows which cancellations have committed, and what time it is.
    pub store: Store,
    /// Has the coupons.
    pub rewards: Rewards,
    /// How long a cancellation may take from the suspension to its commit.
    pub suspend_max: Duration,
    /// How deadlocks with the consumer are retried.
    pub contention: retry::Policy,
}

impl Revocations {
    /// Suspends the coupons of a participation that is to be cancelled, and answers until when the
    /// cancellation may commit.
    pub(super) async fn suspend(&self, stands: &Participation) -> Result<Timestamp, ChangeError> {
        let now = self.store.time().await.map_err(|error| {
            tracing::warn!(error = cause(&error), "read the time");
            ChangeError::Unavailable
        })?;
        let until = now + self.suspend_max;
        let class = |error: &StoreError| retry::Verdict::again_if(error.is_rolled_back());
        let suspended = retry::retry(&self.contention, class, || {
            self.rewards.suspend_coupons(stands.id, until)
        });
        match suspended.await {
            Ok(Suspension::Suspended) => Ok(until),
            Ok(Suspension::Used) => Err(ChangeError::Unchanged {
                participation: Box::new(stands.clone()),
                obstacle: Obstacle::AlreadyUsed,
            }),
            Err(error) => {
                tracing::warn!(error = cause(&error), "suspend coupons");
                Err(ChangeError::RewardsUnavailable)
            }
        }
    }

    /// Decides what is due: the coupons of what was cancelled are revoked, the others issued again.
    async fn decide_due(&self, owner: &str) -> Result<(), StoreError> {
        loop {
            let now = self.store.time().await?;
            let due = self.rewards.due_revocations(now, PAGE).await?;
            if due.is_empty() {
                return Ok(());
            }
            let ids: Vec<ParticipationId> = due.iter().map(|one| one.participation).collect();
            let duty = (DUTY, owner, TERM);
            let Some(statuses) = self.store.decided(duty, &ids).await? else {
                return Ok(());
            };
            failpoint::point("revocation.decided");
            let of = |wanted: Fate| -> Vec<Revocation> {
                let due = due.iter().copied();
                due.filter(|one| Fate::of(*one, &statuses) == wanted)
                    .collect()
            };
            let (cancelled, stands) = (of(Fate::Cancelled), of(Fate::Stands));
            self.rewards.revoke_coupons(&cancelled).await?;
            self.rewards.restore_coupons(&stands).await?;
            let later = now + self.suspend_max;
            self.rewards
                .postpone_revocations(&of(Fate::Undecided), later)
                .await?;
            if !stands.is_empty() {
                tracing::info!(
                    participations = stands.len(),
                    "cancellations did not commit: their coupons can be used again"
                );
            }
        }
    }
}

/// What became of a cancellation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Cancelled,
    Stands,
    Undecided,
}

impl Fate {
    fn of(one: Revocation, statuses: &HashMap<ParticipationId, Status>) -> Self {
        match statuses.get(&one.participation) {
            Some(status) if status.holds_units() => Self::Stands,
            Some(_) => Self::Cancelled,
            None => Self::Undecided,
        }
    }
}

/// Decides what is due, as long as the service runs.
pub fn start(spawner: &Spawner, revocations: Revocations) {
    let owner = Uuid::now_v7().to_string();
    spawner.repeat("changes.revoke", INTERVAL, move |_stop| {
        let (revocations, owner) = (revocations.clone(), owner.clone());
        async move {
            if let Err(error) = revocations.decide_due(&owner).await {
                tracing::warn!(error = cause(&error), "suspended coupons wait");
            }
            INTERVAL
        }
    });
}

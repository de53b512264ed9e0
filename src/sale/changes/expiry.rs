//! Expires reservations that were not paid in time. They are found in the database, by its clock, by one replica at a
//! time. This saves work and is not required: of two replicas one would find the reservations already expired.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{Changes, Inner};
use crate::domain::{ParticipationId, RequestedChange};
use crate::parts::store::{ChangeRequest, PassedOver, StoreError, Term};
use crate::runtime::supervisor::Spawner;
use crate::runtime::telemetry::cause;
use crate::sale::group_commit::ChangeOutcome;

const TASK: &str = "expiry";
/// The lease of this task.
const TERM: Duration = Duration::from_secs(5);
/// Reservations read at once.
const PAGE: u64 = 500;
/// Maximum number of unreadable reservations that are skipped one by one; a campaign with more is skipped whole.
const UNREADABLE_MAX: usize = 1_000;

/// Expires due reservations at this interval.
pub fn start(spawner: &Spawner, changes: &Changes, interval: Duration) {
    let changes = Arc::clone(&changes.inner);
    let owner = Uuid::now_v7().to_string();
    spawner.repeat("changes.expire", interval, move |_stop| {
        let (changes, owner) = (Arc::clone(&changes), owner.clone());
        async move {
            if let Err(error) = changes.expire_due(&owner).await {
                tracing::warn!(
                    error = cause(&error),
                    "due reservations were not expired; it will be retried"
                );
            }
            interval
        }
    });
}

impl Inner {
    /// Skips campaigns whose reservations cannot be changed now, and unreadable reservations, until the next run, so
    /// that the others expire.
    async fn expire_due(&self, owner: &str) -> Result<(), StoreError> {
        let mut passed_over = PassedOver::default();
        while self
            .store
            .take_task_lease(TASK, owner, Term::Fixed(TERM))
            .await?
        {
            let due = self.store.due_reservations(PAGE, &passed_over).await?;
            if due.is_empty() {
                break;
            }
            for due in due {
                let ids = due.ids.clone();
                let change_requests: Vec<ChangeRequest> =
                    due.ids.into_iter().map(to_expire).collect();
                let results = self.writer.change_all(due.campaign, change_requests).await;
                let mut is_done = false;
                for (id, result) in ids.into_iter().zip(results) {
                    match result {
                        Ok(ChangeOutcome::Changed(_)) => is_done = true,
                        Ok(ChangeOutcome::Unreadable) => {
                            is_done = true;
                            passed_over.participations.push(id);
                        }
                        Ok(ChangeOutcome::Unchanged(..) | ChangeOutcome::NotFound) | Err(_) => {}
                    }
                }
                if !is_done || passed_over.participations.len() >= UNREADABLE_MAX {
                    passed_over.campaigns.push(due.campaign);
                }
            }
        }
        Ok(())
    }
}

const fn to_expire(id: ParticipationId) -> ChangeRequest {
    ChangeRequest {
        id,
        requested: RequestedChange::Expire,
        traceparent: None,
        by: None,
    }
}

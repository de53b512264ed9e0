//! Reservations that nobody paid for in time: found in the database, by its clock, by one replica at a
//! time. That it is one only spares work: two would find that the other was faster.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{Changes, Inner};
use crate::domain::{ParticipationId, Wish};
use crate::parts::store::{PassedOver, StoreError, Wished};
use crate::runtime::supervisor::Spawner;
use crate::runtime::telemetry::cause;
use crate::sale::group_commit::ChangeOutcome;

const DUTY: &str = "expiry";
/// How long the duty stays with a replica that says nothing.
const TERM: Duration = Duration::from_secs(5);
/// Reservations looked at in one go.
const PAGE: u64 = 500;
/// Reservations that are passed over one by one; a campaign with more of them is passed over whole.
const UNREADABLE_MAX: usize = 1_000;

/// Expires what is due, so far apart.
pub fn start(spawner: &Spawner, changes: &Changes, interval: Duration) {
    let changes = Arc::clone(&changes.inner);
    let owner = Uuid::now_v7().to_string();
    spawner.repeat("changes.expire", interval, move |_stop| {
        let (changes, owner) = (Arc::clone(&changes), owner.clone());
        async move {
            if let Err(error) = changes.expire_due(&owner).await {
                tracing::warn!(error = cause(&error), "reservations wait to expire");
            }
            interval
        }
    });
}

impl Inner {
    /// Campaigns whose reservations cannot be changed just now, and reservations that cannot be read, are passed
    /// over until the next time: those of the others expire all the same.
    async fn expire_due(&self, owner: &str) -> Result<(), StoreError> {
        let mut passed_over = PassedOver::default();
        while self.store.take_duty(DUTY, owner, TERM).await? {
            let due = self.store.due_reservations(PAGE, &passed_over).await?;
            if due.is_empty() {
                break;
            }
            for due in due {
                let ids = due.ids.clone();
                let wishes: Vec<Wished> = due.ids.into_iter().map(to_expire).collect();
                let results = self.writer.change_all(due.campaign, wishes).await;
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

const fn to_expire(id: ParticipationId) -> Wished {
    Wished {
        id,
        wish: Wish::Expire,
        traceparent: None,
        by: None,
    }
}

//! Reservations that nobody paid for in time: found in the database, by its clock, by one replica at a
//! time. That it is one only spares work: two would find that the other was faster.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{Changes, Committer};
use crate::domain::{ParticipationId, Wish};
use crate::parts::store::{PassedOver, StoreError, Wished};
use crate::runtime::supervisor::Spawner;
use crate::runtime::telemetry::cause;

const DUTY: &str = "expiry";
/// How long the duty stays with a replica that says nothing.
const TERM: Duration = Duration::from_secs(5);
/// Reservations looked at in one go.
const PAGE: u64 = 500;
/// Reservations that are passed over one by one; a campaign with more of them is passed over whole.
const UNREADABLE_MAX: usize = 1_000;

/// Expires what is due, so far apart.
pub fn start(spawner: &Spawner, changes: &Changes, interval: Duration) {
    let committer = Arc::clone(&changes.inner.committer);
    let owner = Uuid::now_v7().to_string();
    spawner.repeat("changes.expire", interval, move |_stop| {
        let (committer, owner) = (Arc::clone(&committer), owner.clone());
        async move {
            if let Err(error) = committer.expire_due(&owner).await {
                tracing::warn!(error = cause(&error), "reservations wait to expire");
            }
            interval
        }
    });
}

impl Committer {
    /// Campaigns whose reservations cannot be changed just now, and reservations that cannot be read, are passed
    /// over until the next time: those of the others expire all the same.
    async fn expire_due(self: &Arc<Self>, owner: &str) -> Result<(), StoreError> {
        let mut passed_over = PassedOver::default();
        while self.store.take_duty(DUTY, owner, TERM).await? {
            let due = self.store.due_reservations(PAGE, &passed_over).await?;
            if due.is_empty() {
                break;
            }
            for due in due {
                let wishes: Vec<Wished> = due.ids.into_iter().map(to_expire).collect();
                let is_done = match self.make(due.campaign, &wishes).await {
                    Ok(made) => {
                        let is_done = made.changed > 0 || !made.unreadable.is_empty();
                        passed_over.participations.extend(made.unreadable);
                        is_done && passed_over.participations.len() < UNREADABLE_MAX
                    }
                    Err(error) => {
                        tracing::warn!(
                            error = cause(&error),
                            campaign.id = %due.campaign,
                            "reservations wait to expire"
                        );
                        false
                    }
                };
                if !is_done {
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

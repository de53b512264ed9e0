//! Reservations that nobody paid for in time: found in the database, by its clock, by one replica at a
//! time. That it is one only spares work: two would find that the other was faster.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{Changes, Committer};
use crate::domain::{ParticipationId, Wish};
use crate::store::{StoreError, Wished};
use crate::supervisor::Spawner;

const DUTY: &str = "expiry";
/// How long the duty stays with a replica that says nothing.
const TERM: Duration = Duration::from_secs(5);
/// Reservations looked at in one go.
const PAGE: u64 = 500;

/// Expires what is due, so far apart.
pub fn start(spawner: &Spawner, changes: &Changes, interval: Duration) {
    let committer = Arc::clone(&changes.desk.committer);
    let owner = Uuid::now_v7().to_string();
    spawner.repeat("changes.expire", interval, move |_stop| {
        let (committer, owner) = (Arc::clone(&committer), owner.clone());
        async move {
            if let Err(error) = committer.expire_due(&owner).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "reservations wait to expire"
                );
            }
            interval
        }
    });
}

impl Committer {
    async fn expire_due(self: &Arc<Self>, owner: &str) -> Result<(), StoreError> {
        while self.store.take_duty(DUTY, owner, TERM).await? {
            let mut expired = 0;
            for due in self.store.due_reservations(PAGE).await? {
                let wishes: Vec<Wished> = due.ids.into_iter().map(to_expire).collect();
                match self.make(due.campaign, &wishes).await {
                    Ok(changed) => expired += changed,
                    // What it was to expire is due the next time, too.
                    Err(error) => tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        campaign.id = %due.campaign,
                        "reservations wait to expire"
                    ),
                }
            }
            if expired == 0 {
                break;
            }
            tracing::debug!(expired, "reservations ran out");
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

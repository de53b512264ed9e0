//! Notifies the other replicas of campaigns changed here, and drops the copies of campaigns changed there.
//! Without it a copy is as old as its bound.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::Catalogue;
use crate::domain::CampaignId;
use crate::parts::pubsub::{Channel, Nodes};
use crate::runtime::supervisor::Spawner;

/// Changes that wait to be published; more are dropped.
const CHANGES_MAX: usize = 1_024;

/// A catalogue that notifies other replicas of its changes and drops what they change.
#[must_use]
pub fn share(spawner: &Spawner, nodes: Nodes, prefix: &str, catalogue: Catalogue) -> Catalogue {
    let effect_of_loss = "copies of campaigns may be as old as their bound";
    let channel = Channel::new(nodes, prefix, "campaign:changed", effect_of_loss);
    let (replicas, changes) = mpsc::channel::<CampaignId>(CHANGES_MAX);
    let changes = Arc::new(Mutex::new(changes));
    channel
        .clone()
        .notify(spawner, "catalogue.notify", move || {
            let changes = Arc::clone(&changes);
            async move {
                match changes.lock().await.recv().await {
                    Some(id) => id.0.unsigned_abs(),
                    // Its catalogues are dropped: there is nothing to publish any more.
                    None => std::future::pending().await,
                }
            }
        });
    let local = catalogue.clone();
    channel.listen(spawner, "catalogue.listen", move |message| {
        let local = local.clone();
        async move {
            if let Ok(id) = i64::try_from(message) {
                local.invalidate_here(CampaignId(id)).await;
            }
        }
    });
    Catalogue {
        replicas: Some(replicas),
        ..catalogue
    }
}

//! Says to the other replicas which campaigns were changed here, and forgets what they say. Without it a
//! copy is as old as its bound.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::Catalogue;
use crate::domain::CampaignId;
use crate::parts::pubsub::{Channel, Nodes};
use crate::runtime::supervisor::{Policy, Spawner, Stage};

/// Changes that wait to be said; more are dropped.
const CHANGES_MAX: usize = 1_024;

/// What is changed by this catalogue's owner is said to the others, and what they say is forgotten.
#[must_use]
pub fn share(spawner: &Spawner, nodes: Nodes, prefix: &str, catalogue: Catalogue) -> Catalogue {
    let without = "their copies of campaigns may be as old as their bound";
    let channel = Channel::new(nodes, prefix, "campaign:changed", without);
    let (others, changed) = mpsc::channel::<CampaignId>(CHANGES_MAX);
    tell(spawner, channel.clone(), changed);
    listen(spawner, channel, catalogue.clone());
    Catalogue {
        others: Some(others),
        ..catalogue
    }
}

fn tell(spawner: &Spawner, channel: Channel, changed: mpsc::Receiver<CampaignId>) {
    let changed = Arc::new(Mutex::new(changed));
    spawner.start(
        "catalogue.tell",
        Stage::Background,
        Policy::restart(),
        move |stop| {
            let (mut voice, changed) = (channel.voice(), Arc::clone(&changed));
            async move {
                let mut changed = changed.lock().await;
                while let Some(Some(id)) = stop.run_until_cancelled(changed.recv()).await {
                    voice.say(id.0.unsigned_abs()).await;
                }
                Ok(())
            }
        },
    );
}

fn listen(spawner: &Spawner, channel: Channel, catalogue: Catalogue) {
    spawner.start(
        "catalogue.listen",
        Stage::Background,
        Policy::restart(),
        move |stop| {
            let (channel, catalogue) = (channel.clone(), catalogue.clone());
            async move {
                let heard = |word: u64| {
                    let catalogue = &catalogue;
                    async move {
                        if let Ok(id) = i64::try_from(word) {
                            catalogue.forget(CampaignId(id)).await;
                        }
                    }
                };
                channel.listen(heard, stop).await;
                Ok(())
            }
        },
    );
}

//! Notifies the relays of other replicas of campaigns to whose streams events were committed here, and wakes ours when
//! another replica does so. They are hints: a lost one costs a wait of the poll. It must not carry events.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use crate::domain::{CampaignId, Fresh};
use crate::events::relay::{ForeignStreams, RelayHandle};
use crate::parts::pubsub::{Channel, Nodes};
use crate::runtime::supervisor::{Policy, Spawner, Stage};

/// Hints that wait to be collected; more are dropped.
const HINTS_MAX: usize = 1_024;

/// Publishes the streams in `foreign`.
pub fn notify(spawner: &Spawner, nodes: Nodes, prefix: &str, foreign: ForeignStreams) {
    channel(nodes, prefix).notify(spawner, "wake.notify", move || {
        let foreign = foreign.clone();
        async move { foreign.next().await.0.unsigned_abs() }
    });
}

/// Wakes `relay` when another replica has committed events to its streams.
pub fn listen(spawner: &Spawner, nodes: Nodes, prefix: &str, relay: RelayHandle) {
    channel(nodes, prefix).listen(spawner, "wake.listen", move |campaign| {
        if let Ok(campaign) = i64::try_from(campaign) {
            relay.wake(CampaignId(campaign));
        }
        std::future::ready(())
    });
}

/// For a process without a relay: collects the streams of what its writer hands over.
#[must_use]
pub fn collect(spawner: &Spawner, foreign: ForeignStreams) -> mpsc::Sender<Fresh> {
    let (hints, hinted) = mpsc::channel::<Fresh>(HINTS_MAX);
    let hinted = Arc::new(Mutex::new(hinted));
    spawner.start(
        "wake.collect",
        Stage::Background,
        Policy::restart(),
        move |stop| {
            let (hinted, foreign) = (Arc::clone(&hinted), foreign.clone());
            async move {
                let mut hinted = hinted.lock().await;
                while let Some(Some(fresh)) = stop.run_until_cancelled(hinted.recv()).await {
                    foreign.add(fresh.stream.campaign);
                }
                Ok(())
            }
        },
    );
    hints
}

fn channel(nodes: Nodes, prefix: &str) -> Channel {
    Channel::new(nodes, prefix, "relay:wake", "the poll finds the rows")
}

//! Notifies the relays of other replicas about commits to their streams, and wakes the local relay on such
//! notifications. They are hints: a lost one costs one poll interval. It must not carry events.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use crate::domain::{CampaignId, CommittedEvents};
use crate::events::relay::{ForeignStreams, RelayHandle};
use crate::parts::pubsub::{Channel, Nodes};
use crate::runtime::supervisor::{Policy, Spawner, Stage};

/// Maximum number of uncollected hints; more are dropped.
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

/// For a process without a relay: collects the streams of the events that its writer hands over.
#[must_use]
pub fn collect(spawner: &Spawner, foreign: ForeignStreams) -> mpsc::Sender<CommittedEvents> {
    let (hints, hinted) = mpsc::channel::<CommittedEvents>(HINTS_MAX);
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

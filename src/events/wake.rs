//! Notifies the relays of other replicas of buckets in which rows were committed here, and wakes ours when
//! another replica does so. They are hints: a lost one costs a wait of the poll. It must not carry events.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};

use crate::domain::{BucketSet, Fresh};
use crate::events::relay::{ForeignBuckets, RelayHandle};
use crate::parts::pubsub::{Channel, Nodes};
use crate::runtime::supervisor::{Policy, Spawner, Stage};

/// Pause before each notification, in which buckets are collected for it.
const COLLECT: Duration = Duration::from_millis(4);
/// Hand-overs that wait to be collected; more are dropped.
const HINTS_MAX: usize = 1_024;

/// Publishes the buckets in `foreign`.
pub fn notify(spawner: &Spawner, nodes: Nodes, prefix: &str, foreign: ForeignBuckets) {
    channel(nodes, prefix).notify(spawner, "wake.notify", move || {
        let foreign = foreign.clone();
        async move {
            tokio::time::sleep(COLLECT).await;
            foreign.next().await.0
        }
    });
}

/// Wakes `relay` when another replica has committed rows in its buckets.
pub fn listen(spawner: &Spawner, nodes: Nodes, prefix: &str, relay: RelayHandle) {
    channel(nodes, prefix).listen(spawner, "wake.listen", move |buckets| {
        relay.wake(BucketSet(buckets));
        std::future::ready(())
    });
}

/// For a process without a relay: collects the buckets of what its writer hands over.
#[must_use]
pub fn collect(spawner: &Spawner, foreign: ForeignBuckets) -> mpsc::Sender<Fresh> {
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
                    let buckets = fresh.events.iter().map(|event| event.bucket);
                    foreign.add(BucketSet::of(buckets));
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

//! Tells the relays of other replicas in which buckets rows were committed here, and wakes ours when
//! another one says so. Only hints: one that is lost costs a wait of their poll. It must not carry events.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};

use crate::domain::{BucketSet, Fresh};
use crate::events::relay::{Elsewhere, RelayHandle};
use crate::parts::pubsub::{Channel, Nodes};
use crate::runtime::supervisor::{Policy, Spawner, Stage};

/// Words are gathered for so long: a busy replica says at most so many a second.
const GATHER: Duration = Duration::from_millis(4);
/// Hand-overs that wait to be passed on; more are dropped.
const HINTS_MAX: usize = 1_024;

/// Passes on what `elsewhere` gathers.
pub fn tell(spawner: &Spawner, nodes: Nodes, prefix: &str, elsewhere: Elsewhere) {
    let channel = channel(nodes, prefix);
    spawner.start(
        "wake.tell",
        Stage::Background,
        Policy::restart(),
        move |stop| {
            let (mut voice, elsewhere) = (channel.voice(), elsewhere.clone());
            async move {
                let telling = async {
                    loop {
                        voice.say(elsewhere.next().await.0).await;
                        tokio::time::sleep(GATHER).await;
                    }
                };
                stop.run_until_cancelled(telling).await.unwrap_or(());
                Ok(())
            }
        },
    );
}

/// Wakes `relay` when another replica says that it has rows.
pub fn listen(spawner: &Spawner, nodes: Nodes, prefix: &str, relay: RelayHandle) {
    let channel = channel(nodes, prefix);
    spawner.start(
        "wake.listen",
        Stage::Background,
        Policy::restart(),
        move |stop| {
            let (channel, relay) = (channel.clone(), relay.clone());
            async move {
                let heard = |buckets| {
                    relay.wake(BucketSet(buckets));
                    std::future::ready(())
                };
                channel.listen(heard, stop).await;
                Ok(())
            }
        },
    );
}

/// For a process without a relay: takes what its writer hands over and says where it is.
#[must_use]
pub fn forward(spawner: &Spawner, elsewhere: Elsewhere) -> mpsc::Sender<Fresh> {
    let (hints, hinted) = mpsc::channel::<Fresh>(HINTS_MAX);
    let hinted = Arc::new(Mutex::new(hinted));
    spawner.start(
        "wake.forward",
        Stage::Background,
        Policy::restart(),
        move |stop| {
            let (hinted, elsewhere) = (Arc::clone(&hinted), elsewhere.clone());
            async move {
                let mut hinted = hinted.lock().await;
                while let Some(Some(fresh)) = stop.run_until_cancelled(hinted.recv()).await {
                    let buckets = fresh.events.iter().map(|event| event.bucket);
                    elsewhere.note(BucketSet::of(buckets));
                }
                Ok(())
            }
        },
    );
    hints
}

fn channel(nodes: Nodes, prefix: &str) -> Channel {
    Channel::new(nodes, prefix, "relay:wake", "rows are found by the poll")
}

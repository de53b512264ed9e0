//! Tells the relays of other replicas, over Redis pub/sub, in which buckets rows were committed here,
//! and wakes ours when another one says so. Only hints: one that is lost costs a wait of their poll, so
//! nothing here is retried for its own sake and nothing waits for it. It must not carry events.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::Client;
use redis::aio::MultiplexedConnection;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use crate::domain::{BucketSet, Fresh};
use crate::relay::{Elsewhere, RelayHandle};
use crate::retry;
use crate::supervisor::{BoxError, Policy, Spawner, Stage};

/// Words are gathered for so long: a busy replica says at most so many a second.
const GATHER: Duration = Duration::from_millis(4);
/// Hand-overs that wait to be passed on; more are dropped.
const HINTS_MAX: usize = 1_024;
/// Longest wait for a connection, and for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Pauses while Redis is away.
const RECONNECT: retry::Policy = retry::Policy {
    initial: Duration::from_millis(200),
    max: Duration::from_secs(5),
    multiplier: 2.0,
    attempts_max: u32::MAX,
};

/// Passes on what `elsewhere` gathers.
pub fn tell(spawner: &Spawner, client: Client, prefix: &str, elsewhere: Elsewhere) {
    let channel = channel(prefix);
    spawner.start(
        "wake.tell",
        Stage::Background,
        Policy::restart(),
        move |stop| {
            let told = keep_telling(client.clone(), channel.clone(), elsewhere.clone());
            async move {
                stop.run_until_cancelled(told).await;
                Ok(())
            }
        },
    );
}

/// Wakes `relay` when another replica says that it has rows.
pub fn listen(spawner: &Spawner, client: Client, prefix: &str, relay: RelayHandle) {
    let channel = channel(prefix);
    spawner.start(
        "wake.listen",
        Stage::Background,
        Policy::restart(),
        move |stop| keep_listening(client.clone(), channel.clone(), relay.clone(), stop),
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

fn channel(prefix: &str) -> String {
    format!("{prefix}:relay:wake")
}

async fn keep_telling(client: Client, channel: String, elsewhere: Elsewhere) {
    let mut connection: Option<MultiplexedConnection> = None;
    let mut failures = 0;
    loop {
        let buckets = elsewhere.next().await;
        match say(&client, &mut connection, &channel, buckets).await {
            Ok(()) => failures = 0,
            Err(failure) => {
                connection = None;
                failures += 1;
                if failures == 1 {
                    tracing::warn!(%failure, "other relays are not woken: they find rows by their poll");
                }
                tokio::time::sleep(RECONNECT.pause(failures)).await;
            }
        }
        tokio::time::sleep(GATHER).await;
    }
}

async fn say(
    client: &Client,
    connection: &mut Option<MultiplexedConnection>,
    channel: &str,
    buckets: BucketSet,
) -> Result<(), BoxError> {
    let connection = if let Some(connection) = connection {
        connection
    } else {
        let connecting = client.get_multiplexed_async_connection();
        connection.insert(tokio::time::timeout(ANSWER_TIMEOUT, connecting).await??)
    };
    let mut publish = redis::cmd("PUBLISH");
    publish.arg(channel).arg(buckets.0);
    tokio::time::timeout(ANSWER_TIMEOUT, publish.exec_async(connection)).await??;
    Ok(())
}

async fn keep_listening(
    client: Client,
    channel: String,
    relay: RelayHandle,
    stop: CancellationToken,
) -> Result<(), BoxError> {
    let mut failures = 0;
    loop {
        let heard = stop.run_until_cancelled(hear(&client, &channel, &relay, &mut failures));
        let Some(ended) = heard.await else {
            return Ok(());
        };
        failures += 1;
        if failures == 1 {
            let failure = ended.err();
            tracing::warn!(
                ?failure,
                "other replicas are not heard: rows are found by the poll"
            );
        }
        let pause = tokio::time::sleep(RECONNECT.pause(failures));
        if stop.run_until_cancelled(pause).await.is_none() {
            return Ok(());
        }
    }
}

/// Listens until the connection breaks.
async fn hear(
    client: &Client,
    channel: &str,
    relay: &RelayHandle,
    failures: &mut u32,
) -> Result<(), BoxError> {
    let mut subscriber = tokio::time::timeout(ANSWER_TIMEOUT, client.get_async_pubsub()).await??;
    tokio::time::timeout(ANSWER_TIMEOUT, subscriber.subscribe(channel)).await??;
    *failures = 0;
    let mut messages = subscriber.into_on_message();
    while let Some(message) = messages.next().await {
        if let Ok(buckets) = message.get_payload::<u64>() {
            relay.wake(BucketSet(buckets));
        }
    }
    Ok(())
}

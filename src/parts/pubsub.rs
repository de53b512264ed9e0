//! Words between replicas, over Redis pub/sub. Only hints: one that is lost costs a little time, so
//! nothing here is retried for its own sake and nothing waits for it. It must not carry what has to arrive.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::Client;
use redis::aio::MultiplexedConnection;
use tokio_util::sync::CancellationToken;

use crate::runtime::retry;
use crate::runtime::supervisor::BoxError;

/// Longest wait for a connection, and for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Pauses while Redis is away.
const RECONNECT: retry::Policy = retry::Policy {
    initial: Duration::from_millis(200),
    max: Duration::from_secs(5),
    multiplier: 2.0,
    attempts_max: u32::MAX,
};

/// Who passes words on: one server, or the nodes of a cluster, of which each passes on to all.
pub type Nodes = Arc<[Client]>;

/// Where words of one kind are said.
#[derive(Clone)]
pub struct Channel {
    nodes: Nodes,
    name: String,
    /// What it means when words do not arrive, for the log.
    without: &'static str,
}

impl Channel {
    /// The channel `{prefix}:{kind}`.
    #[must_use]
    pub fn new(nodes: Nodes, prefix: &str, kind: &str, without: &'static str) -> Self {
        Self {
            nodes,
            name: format!("{prefix}:{kind}"),
            without,
        }
    }

    /// Somebody who says words here.
    #[must_use]
    pub fn voice(&self) -> Voice {
        Voice {
            channel: self.clone(),
            connection: None,
            failures: 0,
        }
    }

    /// The node to go to: after a failure the next one.
    fn node(&self, failures: u32) -> Result<&Client, BoxError> {
        let nth = usize::try_from(failures).unwrap_or(0);
        let mut nodes = self.nodes.iter().cycle();
        nodes
            .nth(nth % self.nodes.len().max(1))
            .ok_or_else(|| "there is no address of Redis".into())
    }

    /// Hears the words of all replicas, this one included, until told to stop.
    pub async fn listen<F: Future<Output = ()> + Send>(
        &self,
        heard: impl Fn(u64) -> F + Send + Sync,
        stop: CancellationToken,
    ) {
        let mut failures = 0;
        loop {
            let hearing = stop.run_until_cancelled(self.hear(&heard, &mut failures));
            let Some(ended) = hearing.await else {
                return;
            };
            failures += 1;
            if failures == 1 {
                let failure = ended.err();
                tracing::warn!(?failure, "other replicas are not heard: {}", self.without);
            }
            let pause = tokio::time::sleep(RECONNECT.pause(failures));
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    /// Listens until the connection breaks.
    async fn hear<F: Future<Output = ()> + Send>(
        &self,
        heard: &(impl Fn(u64) -> F + Send + Sync),
        failures: &mut u32,
    ) -> Result<(), BoxError> {
        let subscriber = self.node(*failures)?.get_async_pubsub();
        let mut subscriber = tokio::time::timeout(ANSWER_TIMEOUT, subscriber).await??;
        tokio::time::timeout(ANSWER_TIMEOUT, subscriber.subscribe(&self.name)).await??;
        *failures = 0;
        let mut messages = subscriber.into_on_message();
        while let Some(message) = messages.next().await {
            if let Ok(word) = message.get_payload::<u64>() {
                heard(word).await;
            }
        }
        Ok(())
    }
}

/// Says words on a channel.
pub struct Voice {
    channel: Channel,
    connection: Option<MultiplexedConnection>,
    failures: u32,
}

impl Voice {
    /// Says a word. One that cannot be said is dropped, and the next has to wait a little.
    pub async fn say(&mut self, word: u64) {
        match self.publish(word).await {
            Ok(()) => self.failures = 0,
            Err(failure) => {
                self.connection = None;
                self.failures += 1;
                if self.failures == 1 {
                    let without = self.channel.without;
                    tracing::warn!(%failure, "other replicas are not told: {without}");
                }
                tokio::time::sleep(RECONNECT.pause(self.failures)).await;
            }
        }
    }

    async fn publish(&mut self, word: u64) -> Result<(), BoxError> {
        let connection = if let Some(connection) = &mut self.connection {
            connection
        } else {
            let node = self.channel.node(self.failures)?;
            let connecting = node.get_multiplexed_async_connection();
            let connected = tokio::time::timeout(ANSWER_TIMEOUT, connecting).await??;
            self.connection.insert(connected)
        };
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(&self.channel.name).arg(word);
        tokio::time::timeout(ANSWER_TIMEOUT, publish.exec_async(connection)).await??;
        Ok(())
    }
}

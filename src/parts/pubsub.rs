//! Notifications between replicas, over Redis pub/sub. They are hints: a lost one costs a little time, so nothing
//! retries a notification or waits for one. They must not carry data that has to arrive.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::Client;
use redis::aio::MultiplexedConnection;
use tokio_util::sync::CancellationToken;

use crate::runtime::retry;
use crate::runtime::supervisor::{BoxError, Policy, Spawner, Stage};

/// Longest wait for a connection, and for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Pauses while Redis does not answer.
const RECONNECT: retry::Policy = retry::Policy {
    initial: Duration::from_millis(200),
    max: Duration::from_secs(5),
    multiplier: 2.0,
    attempts_max: u32::MAX,
};

/// One server, or the nodes of a cluster; each node forwards messages to all others.
pub type Nodes = Arc<[Client]>;

/// A channel on which replicas notify one another.
#[derive(Clone)]
pub struct Channel {
    nodes: Nodes,
    name: String,
    /// The effect of lost notifications, for the log.
    effect_of_loss: &'static str,
}

impl Channel {
    /// The channel `{prefix}:{kind}`.
    #[must_use]
    pub fn new(nodes: Nodes, prefix: &str, kind: &str, effect_of_loss: &'static str) -> Self {
        Self {
            nodes,
            name: format!("{prefix}:{kind}"),
            effect_of_loss,
        }
    }

    /// Starts a task that publishes the messages of `next`, one after the other. A message that cannot be published
    /// is dropped.
    pub fn notify<F>(
        self,
        spawner: &Spawner,
        task: &'static str,
        next: impl Fn() -> F + Clone + Send + Sync + 'static,
    ) where
        F: Future<Output = u64> + Send + 'static,
    {
        spawner.start(task, Stage::Background, Policy::restart(), move |stop| {
            let (mut notifier, next) = (Notifier::new(self.clone()), next.clone());
            async move {
                while let Some(message) = stop.run_until_cancelled(next()).await {
                    let sent = stop.run_until_cancelled(notifier.notify(message));
                    if sent.await.is_none() {
                        break;
                    }
                }
                Ok(())
            }
        });
    }

    /// Starts a task that passes the messages of all replicas, including this one, to `receive`.
    pub fn listen<F>(
        self,
        spawner: &Spawner,
        task: &'static str,
        receive: impl Fn(u64) -> F + Clone + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        spawner.start(task, Stage::Background, Policy::restart(), move |stop| {
            let (channel, receive) = (self.clone(), receive.clone());
            async move {
                channel.receive_all(&receive, &stop).await;
                Ok(())
            }
        });
    }

    /// The node to connect to; after a failure, the next one.
    fn node(&self, failures: u32) -> Result<&Client, BoxError> {
        let nth = usize::try_from(failures).unwrap_or(0);
        let mut nodes = self.nodes.iter().cycle();
        nodes
            .nth(nth % self.nodes.len().max(1))
            .ok_or_else(|| "there is no address of Redis".into())
    }

    async fn receive_all<F>(
        &self,
        receive: &(impl Fn(u64) -> F + Send + Sync),
        stop: &CancellationToken,
    ) where
        F: Future<Output = ()> + Send,
    {
        let mut failures = 0;
        loop {
            let receiving = self.receive_until_broken(receive, &mut failures);
            let Some(ended) = stop.run_until_cancelled(receiving).await else {
                return;
            };
            failures += 1;
            if failures == 1 {
                let failure = ended.err();
                tracing::warn!(
                    ?failure,
                    "no notifications from other replicas: {}",
                    self.effect_of_loss
                );
            }
            let pause = tokio::time::sleep(RECONNECT.pause(failures));
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    async fn receive_until_broken<F>(
        &self,
        receive: &(impl Fn(u64) -> F + Send + Sync),
        failures: &mut u32,
    ) -> Result<(), BoxError>
    where
        F: Future<Output = ()> + Send,
    {
        let subscriber = self.node(*failures)?.get_async_pubsub();
        let mut subscriber = tokio::time::timeout(ANSWER_TIMEOUT, subscriber).await??;
        tokio::time::timeout(ANSWER_TIMEOUT, subscriber.subscribe(&self.name)).await??;
        *failures = 0;
        let mut messages = subscriber.into_on_message();
        while let Some(message) = messages.next().await {
            if let Ok(message) = message.get_payload::<u64>() {
                receive(message).await;
            }
        }
        Ok(())
    }
}

/// Publishes on a channel.
struct Notifier {
    channel: Channel,
    connection: Option<MultiplexedConnection>,
    failures: u32,
}

impl Notifier {
    const fn new(channel: Channel) -> Self {
        Self {
            channel,
            connection: None,
            failures: 0,
        }
    }

    /// Publishes a message. After a failure the next message waits a little.
    async fn notify(&mut self, message: u64) {
        match self.publish(message).await {
            Ok(()) => self.failures = 0,
            Err(failure) => {
                self.connection = None;
                self.failures += 1;
                if self.failures == 1 {
                    let effect = self.channel.effect_of_loss;
                    tracing::warn!(%failure, "other replicas are not notified: {effect}");
                }
                tokio::time::sleep(RECONNECT.pause(self.failures)).await;
            }
        }
    }

    async fn publish(&mut self, message: u64) -> Result<(), BoxError> {
        let connection = if let Some(connection) = &mut self.connection {
            connection
        } else {
            let node = self.channel.node(self.failures)?;
            let connecting = node.get_multiplexed_async_connection();
            let connected = tokio::time::timeout(ANSWER_TIMEOUT, connecting).await??;
            self.connection.insert(connected)
        };
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(&self.channel.name).arg(message);
        tokio::time::timeout(ANSWER_TIMEOUT, publish.exec_async(connection)).await??;
        Ok(())
    }
}

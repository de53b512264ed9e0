//! Starts what publishes: the relay, and the wires over which replicas wake each other's.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::parts;
use crate::config::Config;
use crate::domain::Fresh;
use crate::events::relay::{self, ForeignBuckets, Relay, RelayHandle};
use crate::events::wake;
use crate::parts::broker::Publisher;
use crate::parts::store::Store;
use crate::runtime::clock::Clock;
use crate::runtime::retry;
use crate::runtime::supervisor::Spawner;
use crate::runtime::telemetry::Telemetry;

/// What publishes what this process commits.
pub(super) struct Publishing {
    /// Where the writer hands over what it commits; none: it is found by a poll.
    pub(super) hints: Option<mpsc::Sender<Fresh>>,
    /// The relay of this process; none: another process publishes.
    pub(super) relay: Option<RelayHandle>,
}

/// Starts a relay in a process that also commits, or, where another process publishes, what tells it.
pub(super) fn start(
    config: &Config,
    clock: &Clock,
    store: &Store,
    publisher: &Arc<dyn Publisher>,
    spawner: &Spawner,
    telemetry: &Telemetry,
) -> anyhow::Result<Publishing> {
    if config.relay.enabled {
        let relay = start_relay(config, clock, store, publisher, spawner, telemetry)?;
        if let Some(nodes) = parts::redis_nodes(config)? {
            wake::notify(
                spawner,
                nodes,
                &config.redis.prefix,
                relay.foreign_buckets(),
            );
        }
        return Ok(Publishing {
            hints: Some(relay.hints()),
            relay: Some(relay),
        });
    }
    let hints = parts::redis_nodes(config)?.map(|nodes| {
        let foreign = ForeignBuckets::default();
        wake::notify(spawner, nodes, &config.redis.prefix, foreign.clone());
        wake::collect(spawner, foreign)
    });
    Ok(Publishing { hints, relay: None })
}

/// Starts a relay that other replicas can wake.
pub(super) fn start_relay(
    config: &Config,
    clock: &Clock,
    store: &Store,
    publisher: &Arc<dyn Publisher>,
    spawner: &Spawner,
    telemetry: &Telemetry,
) -> anyhow::Result<RelayHandle> {
    let metrics = relay::Metrics::default();
    telemetry.register(|registry| metrics.register(registry));
    let relay = Relay::start(
        // Behind each commit come many answers to give, and on the threads that give them its events would
        // wait their turn. It sends and records at the same time.
        &spawner.on(super::threads("relay", 2)?),
        store.clone(),
        Arc::clone(publisher),
        clock.clone(),
        settings(config),
        metrics,
    );
    if let Some(nodes) = parts::redis_nodes(config)? {
        wake::listen(spawner, nodes, &config.redis.prefix, relay.clone());
    }
    Ok(relay)
}

fn settings(config: &Config) -> relay::Config {
    relay::Config {
        publish_timeout: config.kafka.message_timeout,
        lease: config.relay_lease(),
        workers: config.relay.lanes,
        in_flight_max: config.relay.in_flight_max,
        retry: retry::Policy {
            initial: config.relay.retry_initial,
            max: config.relay.retry_max,
            attempts_max: config.relay.attempts_max,
            ..retry::Policy::default()
        },
        key_policy: config.relay.key_policy,
        topic_prefix: config.kafka.topic_prefix.clone(),
        retention: config.retention.settings(),
        ..relay::Config::default()
    }
}

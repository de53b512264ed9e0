//! Starts what publishes: the relay, and the wires over which replicas wake each other's.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::parts;
use crate::broker::Publisher;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::Fresh;
use crate::relay::{self, Elsewhere, Relay, RelayHandle};
use crate::retry;
use crate::store::Store;
use crate::supervisor::Spawner;
use crate::telemetry::Telemetry;
use crate::wake;

/// Starts a relay in a process that also commits, or, where another process publishes, what tells it.
/// Answers where the writer hands over what it commits.
pub(super) fn start(
    config: &Config,
    clock: &Clock,
    store: &Store,
    publisher: &Arc<dyn Publisher>,
    spawner: &Spawner,
    telemetry: &Telemetry,
) -> anyhow::Result<Option<mpsc::Sender<Fresh>>> {
    if config.relay.enabled {
        let relay = start_relay(config, clock, store, publisher, spawner, telemetry)?;
        if let Some(client) = parts::redis_client(config)? {
            wake::tell(spawner, client, &config.redis.prefix, relay.elsewhere());
        }
        return Ok(Some(relay.hints()));
    }
    let Some(client) = parts::redis_client(config)? else {
        return Ok(None);
    };
    let elsewhere = Elsewhere::default();
    wake::tell(spawner, client, &config.redis.prefix, elsewhere.clone());
    Ok(Some(wake::forward(spawner, elsewhere)))
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
    if let Some(client) = parts::redis_client(config)? {
        wake::listen(spawner, client, &config.redis.prefix, relay.clone());
    }
    Ok(relay)
}

fn settings(config: &Config) -> relay::Config {
    relay::Config {
        publish_timeout: config.kafka.message_timeout,
        lease: config.relay_lease(),
        lanes: config.relay.lanes,
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

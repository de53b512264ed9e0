//! Starts the publication of the outbox: the relay, and the notifications between replicas.

use std::sync::Arc;

use super::parts;
use super::process::Process;
use crate::events::relay::{self, ForeignStreams, Relay, RelayHandle};
use crate::events::wake;
use crate::sale::relay_hints::RelayHints;

/// The publication of this process's commits.
pub(super) struct OutboxRelay {
    /// Takes the events of commits.
    pub(super) hints: RelayHints,
    /// The relay of this process; none: another process publishes.
    pub(super) relay: Option<RelayHandle>,
}

/// Starts a relay in a process that also commits, or the notifications to another process that publishes.
pub(super) fn start(process: &Process) -> anyhow::Result<OutboxRelay> {
    let (config, spawner) = (&process.config, &process.spawner);
    if config.relay.enabled {
        let relay = start_relay(process)?;
        if let Some(nodes) = parts::redis_nodes(config)? {
            wake::notify(
                spawner,
                nodes,
                &config.redis.prefix,
                relay.foreign_streams(),
            );
        }
        return Ok(OutboxRelay {
            hints: RelayHints::new(Some(relay.hints())),
            relay: Some(relay),
        });
    }
    let hints = parts::redis_nodes(config)?.map(|nodes| {
        let foreign = ForeignStreams::default();
        wake::notify(spawner, nodes, &config.redis.prefix, foreign.clone());
        wake::collect(spawner, foreign)
    });
    Ok(OutboxRelay {
        hints: RelayHints::new(hints),
        relay: None,
    })
}

/// Starts a relay that other replicas can notify.
pub(super) fn start_relay(process: &Process) -> anyhow::Result<RelayHandle> {
    let (config, spawner) = (&process.config, &process.spawner);
    let metrics = relay::Metrics::default();
    process
        .telemetry
        .register(|registry| metrics.register(registry));
    let relay = Relay::start(
        // On threads of its own: each commit is followed by many responses, and on their threads its events would wait
        // for them. Two, because the relay sends and records at the same time.
        &spawner.on(super::threads("relay", 2)?),
        process.store.clone(),
        Arc::clone(&process.broker.publisher),
        process.clock.clone(),
        relay::Config::new(&config.relay, &config.kafka, config.retention.clone()),
        metrics,
    );
    if let Some(nodes) = parts::redis_nodes(config)? {
        wake::listen(spawner, nodes, &config.redis.prefix, relay.clone());
    }
    Ok(relay)
}

//! Health checks of the parts, and the live views of campaigns and of the system.

use std::sync::Arc;

use super::process::Process;
use crate::config::{Config, Mode};
use crate::domain::Topic;
use crate::events::relay::RelayHandle;
use crate::operate::clock_skew::Skew;
use crate::operate::health::{Health, Need};
use crate::operate::status::{Replicas, StatusBoard};
use crate::operate::system::{SystemBoard, TopicBoard};
use crate::parts::gate::{Gate, ScriptGate};
use crate::sale::meter::Meter;
use crate::sale::participate::WhenAway;

/// The health checks of `serve`.
pub(super) fn health(process: &Process, gate: &Arc<dyn Gate>) -> Health {
    let config = &process.config;
    let topic = Topic::Participation.name(&config.kafka.topic_prefix);
    Health::new(
        process.store.clone(),
        Some((Arc::clone(gate), gate_need(config))),
        // Without the broker, events wait in the outbox.
        (Arc::clone(&process.broker.publisher), Need::Spared),
        topic,
    )
    .with_clock(skew(process))
}

/// Measures how far this machine's clock is from the database's.
pub(super) fn skew(process: &Process) -> Skew {
    let skew = Skew::new();
    process
        .telemetry
        .register(|registry| skew.register(registry));
    skew.start(&process.spawner, &process.store);
    skew
}

/// The live status of campaigns.
pub(super) fn status(
    process: &Process,
    gate: &Arc<dyn Gate>,
    meter: Meter,
    replicas: Replicas,
) -> StatusBoard {
    replicas.start(&process.spawner, &meter);
    let board = StatusBoard::new(process.store.clone(), Arc::clone(gate), meter, replicas);
    let telemetry = &process.telemetry;
    telemetry.register(|registry| board.register(registry));
    board
}

/// The state of the system as operators see it.
pub(super) fn system(
    process: &Process,
    gate: &Arc<ScriptGate>,
    relay: Option<RelayHandle>,
) -> SystemBoard {
    let (store, clock) = (process.store.clone(), process.clock.clone());
    let board = SystemBoard::new(store, Arc::clone(gate), relay, clock);
    process.telemetry.register(|registry| {
        process.store.register(registry);
        board.register(registry);
    });
    board
}

/// The topics as operators see them.
pub(super) fn topics(process: &Process) -> TopicBoard {
    let config = &process.config.kafka;
    let kafka = Arc::clone(&process.broker.kafka);
    TopicBoard::new(
        kafka,
        &config.topic_prefix,
        config.key,
        process.clock.clone(),
    )
}

/// Without the gate the database admits, if that is enabled. But sessions are only in the gate.
fn gate_need(config: &Config) -> Need {
    match (config.gate.when_away, config.auth.mode) {
        (WhenAway::Database, Mode::Trusted | Mode::Jwt) => Need::Spared,
        (WhenAway::Refuse, _) | (_, Mode::Sessions) => Need::Needed,
    }
}

//! Health checks of the parts, and the live views of campaigns and of the system.

use std::sync::Arc;

use super::parts;
use crate::config::{Config, Mode};
use crate::domain::Topic;
use crate::events::relay::RelayHandle;
use crate::operate::clock_skew::Skew;
use crate::operate::health::{Health, Need};
use crate::operate::status::{Replicas, StatusBoard};
use crate::operate::system::{SystemBoard, TopicBoard};
use crate::parts::broker::Publisher;
use crate::parts::gate::{Gate, ScriptGate};
use crate::parts::store::Store;
use crate::runtime::clock::Clock;
use crate::runtime::supervisor::Spawner;
use crate::runtime::telemetry::Telemetry;
use crate::sale::meter::Meter;
use crate::sale::participate::WhenAway;

/// The health checks of `serve`.
pub(super) fn health(
    config: &Config,
    store: &Store,
    gate: &Arc<dyn Gate>,
    publisher: &Arc<dyn Publisher>,
) -> Health {
    let topic = Topic::Participation.name(&config.kafka.topic_prefix);
    Health::new(
        store.clone(),
        Some((Arc::clone(gate), gate_need(config))),
        // Without the broker, events wait in the outbox.
        (Arc::clone(publisher), Need::Spared),
        topic,
    )
}

/// Measures how far this machine's clock is from the database's.
pub(super) fn skew(store: &Store, spawner: &Spawner, telemetry: &Telemetry) -> Skew {
    let skew = Skew::new();
    telemetry.register(|registry| skew.register(registry));
    skew.start(spawner, store);
    skew
}

/// The live status of campaigns.
pub(super) fn status(
    store: &Store,
    gate: &Arc<dyn Gate>,
    (meter, replicas): (Meter, Replicas),
    spawner: &Spawner,
    telemetry: &Telemetry,
) -> StatusBoard {
    replicas.start(spawner, &meter);
    let board = StatusBoard::new(store.clone(), Arc::clone(gate), meter, replicas);
    telemetry.register(|registry| board.register(registry));
    board
}

/// The state of the system as operators see it.
pub(super) fn system(
    store: &Store,
    gate: &Arc<ScriptGate>,
    relay: Option<RelayHandle>,
    clock: &Clock,
    telemetry: &Telemetry,
) -> SystemBoard {
    telemetry.register(|registry| store.register(registry));
    let board = SystemBoard::new(store.clone(), Arc::clone(gate), relay, clock.clone());
    telemetry.register(|registry| board.register(registry));
    board
}

/// The topics as operators see them.
pub(super) fn topics(config: &Config, broker: &parts::Broker, clock: &Clock) -> TopicBoard {
    let kafka = &config.kafka;
    TopicBoard::new(
        Arc::clone(&broker.kafka),
        &kafka.topic_prefix,
        kafka.key,
        clock.clone(),
    )
}

/// Without the gate the database admits, if it may. It does not have the sessions.
fn gate_need(config: &Config) -> Need {
    match (config.gate.when_away, config.auth.mode) {
        (WhenAway::Database, Mode::Trusted | Mode::Jwt) => Need::Spared,
        (WhenAway::Refuse, _) | (_, Mode::Sessions) => Need::Needed,
    }
}

//! `relay`: publishes what others commit, and serves its probes and metrics.

use std::process::ExitCode;
use std::sync::Arc;

use super::{edge, monitors, outbox, parts};
use crate::config::Config;
use crate::domain::Topic;
use crate::http::{self, Probes};
use crate::operate::health::{Health, Need};
use crate::runtime::supervisor::{Stage, Supervisor, process_signals};
use crate::runtime::telemetry::Telemetry;

/// Publishes until it is stopped. It needs the real database and broker: embedded ones belong to one
/// process, and that one has a relay of its own.
pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        config.database.url.is_some() && config.kafka.brokers.is_some(),
        "a relay of its own needs FIRSTCOME_DATABASE_URL and FIRSTCOME_KAFKA_BROKERS"
    );
    let clock = parts::clock(&config);
    let listener = parts::probe_listener(&config)?;
    let store = parts::migrated_store(&config, clock.clone()).await?;
    let broker = parts::broker(&config).await?;

    let supervisor = Supervisor::new(config.shutdown.deadline);
    let spawner = supervisor.spawner();
    let signals = process_signals(&spawner)?;
    let telemetry = Arc::new(Telemetry::new());
    let publisher = &broker.publisher;
    outbox::start_relay(&config, &clock, &store, publisher, &spawner, &telemetry)?;
    let address = listener.local_addr()?;
    let topic = Topic::Participation.name(&config.kafka.topic_prefix);
    let probes = Probes {
        // To publish is all it does: without the broker it does nothing.
        health: Health::new(
            store.clone(),
            None,
            (Arc::clone(publisher), Need::Needed),
            topic,
        )
        .with_clock(monitors::skew(&store, &spawner, &telemetry)),
        telemetry,
        tls: edge::tls(&config, &spawner).await?,
        stop: spawner.token(Stage::Http),
    };
    super::serve_once(&spawner, "http.serve", async move {
        http::serve_probes(listener, probes).await
    });
    tracing::info!(%address, "ready");
    super::finish(supervisor, signals, &store).await
}

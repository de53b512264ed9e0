//! `consume`: grants what participations earn, and serves its probes and metrics.

use std::process::ExitCode;
use std::sync::Arc;

use super::{edge, monitors, parts, rewards};
use crate::config::Config;
use crate::domain::{Consumer, Topic};
use crate::http::{self, Probes};
use crate::operate::health::{Health, Need};
use crate::parts::broker::Publisher;
use crate::runtime::supervisor::{Stage, Supervisor, process_signals};
use crate::runtime::telemetry::Telemetry;

/// Consumes until it is stopped. It needs the real database and broker: embedded ones belong to one process,
/// and that one has consumers of its own.
pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        config.database.url.is_some() && config.kafka.brokers.is_some(),
        "consumers of their own need FIRSTCOME_DATABASE_URL and FIRSTCOME_KAFKA_BROKERS"
    );
    let consumers = config.consumers_of_consume();
    anyhow::ensure!(
        !consumers.is_empty(),
        "there is nothing to consume: FIRSTCOME_CONSUMERS_ENABLED names nobody"
    );
    let clock = parts::clock(&config);
    let listener = parts::probe_listener(&config)?;
    let store = parts::migrated_store(&config, clock.clone()).await?;
    let rewards = rewards::open(&config, &store, &clock).await?;
    let broker = parts::broker(&config).await?;

    let supervisor = Supervisor::new(config.shutdown.deadline);
    let spawner = supervisor.spawner();
    let signals = process_signals(&spawner)?;
    let telemetry = Arc::new(Telemetry::new());
    rewards::start(
        &config,
        &consumers,
        (&store, &rewards, &broker),
        &spawner,
        &telemetry,
    );
    let address = listener.local_addr()?;
    let topic = Topic::Participation.name(&config.kafka.topic_prefix);
    let publisher: Arc<dyn Publisher> = Arc::clone(&broker.publisher);
    let probes = Probes {
        // To read there and to write here is all it does.
        health: Health::new(store.clone(), None, (publisher, Need::Needed), topic)
            .with_rewards(Some(rewards.clone()), Need::Needed)
            .with_clock(monitors::skew(&store, &spawner, &telemetry)),
        telemetry,
        tls: edge::tls(&config, &spawner).await?,
        stop: spawner.token(Stage::Http),
    };
    super::serve_once(&spawner, "http.serve", async move {
        http::serve_probes(listener, probes).await
    });
    let names: Vec<&str> = consumers.iter().copied().map(Consumer::as_str).collect();
    tracing::info!(consumers = names.join(", "), %address, "ready");
    let ended = super::finish(supervisor, signals, &store).await;
    rewards.close().await?;
    ended
}

//! `consume`: grants rewards, and serves its probes and metrics.

use std::process::ExitCode;

use super::process::Process;
use super::{parts, probes, rewards};
use crate::config::Config;
use crate::domain::Consumer;
use crate::operate::health::Need;

/// Consumes until it is stopped. It needs the real database and broker: embedded parts belong to one process, which has
/// its own consumers.
pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        config.database.url.is_some() && config.kafka.brokers.is_some(),
        "separate consumers need FIRSTCOME_DATABASE_URL and FIRSTCOME_KAFKA_BROKERS"
    );
    let consumers = config.consumers_of_consume();
    anyhow::ensure!(
        !consumers.is_empty(),
        "no consumer is enabled: FIRSTCOME_CONSUMERS_ENABLED is empty"
    );
    let clock = parts::clock(&config);
    let listener = parts::probe_listener(&config)?;
    let store = parts::migrated_store(&config, clock.clone()).await?;
    let rewards = rewards::open(&config, &store, &clock).await?;
    let process = Process::new(config, clock, store).await?;
    rewards::start(&process, &consumers, &rewards);
    let address = listener.local_addr()?;
    let health = probes::health(&process).with_rewards(Some(rewards.clone()), Need::Needed);
    probes::serve(&process, listener, health).await?;
    let names: Vec<&str> = consumers.iter().copied().map(Consumer::as_str).collect();
    tracing::info!(consumers = names.join(", "), %address, "ready");
    let ended = process.finish().await;
    rewards.close().await?;
    ended
}

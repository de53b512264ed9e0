//! `relay`: publishes the events that other processes commit, and serves its probes and metrics.

use std::process::ExitCode;

use super::process::Process;
use super::{outbox, parts, probes};
use crate::config::Config;

/// Publishes until it is stopped. It needs the real database and broker: embedded parts belong to one process, which has
/// its own relay.
pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        config.database.url.is_some() && config.kafka.brokers.is_some(),
        "a separate relay needs FIRSTCOME_DATABASE_URL and FIRSTCOME_KAFKA_BROKERS"
    );
    let clock = parts::clock(&config);
    let listener = parts::probe_listener(&config)?;
    let store = parts::migrated_store(&config, clock.clone()).await?;
    let process = Process::new(config, clock, store).await?;
    outbox::start_relay(&process)?;
    let address = listener.local_addr()?;
    probes::serve(&process, listener, probes::health(&process)).await?;
    tracing::info!(%address, "ready");
    process.finish().await
}

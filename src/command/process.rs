//! A process that runs until it is stopped, and the dependencies of its tasks.

use std::process::ExitCode;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::parts::{self, Broker};
use crate::config::Config;
use crate::parts::store::Store;
use crate::runtime::clock::Clock;
use crate::runtime::supervisor::{Spawner, Supervisor, process_signals};
use crate::runtime::telemetry::Telemetry;

/// The dependencies of a process's tasks.
pub(super) struct Process {
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) store: Store,
    pub(super) broker: Broker,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) spawner: Spawner,
    supervisor: Supervisor,
    signals: mpsc::Receiver<()>,
}

impl Process {
    /// Opens the broker, and waits for signals.
    pub(super) async fn new(config: Config, clock: Clock, store: Store) -> anyhow::Result<Self> {
        let broker = parts::broker(&config).await?;
        let supervisor = Supervisor::new(config.shutdown.deadline);
        let spawner = supervisor.spawner();
        Ok(Self {
            signals: process_signals(&spawner)?,
            telemetry: Arc::new(Telemetry::new()),
            config,
            clock,
            store,
            broker,
            spawner,
            supervisor,
        })
    }

    /// A spawner that starts tasks on the current runtime, even when it is used on the threads of the edge.
    pub(super) fn spawner_here(&self) -> Spawner {
        self.spawner.on(Handle::current())
    }

    /// Runs until it is stopped or a task fails for good; then closes the store.
    pub(super) async fn finish(self) -> anyhow::Result<ExitCode> {
        let outcome = self.supervisor.run(self.signals).await;
        self.store.close().await?;
        for failure in &outcome.failures {
            tracing::error!(failure, "the shutdown was not clean");
        }
        Ok(outcome.exit_code())
    }
}

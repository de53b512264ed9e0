//! Supervises tasks. Tasks start only here: each has a name, a stage and a policy, and a panic counts as a failure.
//! It never decides what a task does.
//!
//! The shutdown proceeds stage by stage: a stage's token is cancelled, its tasks are awaited, then those of the next
//! stage. Tasks that still run at the deadline are aborted; a second signal aborts them at once. The split into soft
//! and hard cancellation follows matrix-authentication-service (`lifecycle.rs`).

mod outcome;
mod spawner;
mod task;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use outcome::{Outcome, process_signals};
pub use spawner::Spawner;
use spawner::{Drain, Shared};

use crate::runtime::retry;

/// The error of a task.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The order in which tasks stop. A stage may rely on the later ones while it drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Takes requests.
    Http,
    /// Work for requests that must not be interrupted: admissions and their commits.
    Admission,
    /// Commits admissions.
    Writer,
    /// Publishes committed events.
    Relay,
    /// Records published events.
    Settler,
    /// Applies published events.
    Consumers,
    /// Everything else: schedules, samplers, leases.
    Background,
}

impl Stage {
    /// All stages, in the order in which they stop.
    pub const ALL: [Self; 7] = [
        Self::Http,
        Self::Admission,
        Self::Writer,
        Self::Relay,
        Self::Settler,
        Self::Consumers,
        Self::Background,
    ];
}

/// What to do when a task fails, by error or by panic.
#[derive(Clone, Copy, Debug)]
pub enum Policy {
    /// Restart it, up to `budget` times within the window; one more failure stops the process.
    Restart {
        /// Maximum number of restarts within the window.
        budget: u32,
        /// The window in which restarts are counted.
        window: Duration,
        /// The delay before each restart.
        backoff: retry::Policy,
    },
    /// The process cannot work without the task, or its state is unknown after the failure.
    StopProcess,
}

impl Policy {
    /// Restarts, at most ten a minute.
    #[must_use]
    pub fn restart() -> Self {
        Self::Restart {
            budget: 10,
            window: Duration::from_secs(60),
            backoff: retry::Policy {
                initial: Duration::from_millis(50),
                max: Duration::from_secs(5),
                ..retry::Policy::default()
            },
        }
    }
}

/// Owns all tasks and runs until it is stopped or a task fails for good.
#[derive(Debug)]
pub struct Supervisor {
    spawner: Spawner,
    failures: mpsc::Receiver<String>,
    deadline: Duration,
}

impl Supervisor {
    /// A supervisor whose shutdown takes at most `deadline`.
    #[must_use]
    pub fn new(deadline: Duration) -> Self {
        let (sender, failures) = mpsc::channel(1);
        let shared = Shared {
            drains: std::array::from_fn(|_| Drain::default()),
            abort: CancellationToken::new(),
            failures: sender,
        };
        Self {
            spawner: Spawner {
                shared: Arc::new(shared),
                runtime: None,
            },
            failures,
            deadline,
        }
    }

    /// Starts tasks of this supervisor.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Runs until the first signal or until a task fails for good, then shuts down in order. Each
    /// signal is one message; a closed channel is no signal.
    pub async fn run(mut self, mut signals: mpsc::Receiver<()>) -> Outcome {
        let mut outcome = Outcome::default();
        tokio::select! {
            Some(()) = signals.recv() => tracing::info!("stop requested: draining"),
            Some(reason) = self.failures.recv() => {
                tracing::error!(reason, "a task failed permanently: draining");
                outcome.failed(reason);
            }
        }
        let deadline = Instant::now() + self.deadline;
        for stage in Stage::ALL {
            if let Err(reason) = self.stop(stage, deadline, &mut signals).await {
                outcome.failed(format!("{reason} while {stage:?} was draining"));
                self.abort().await;
                break;
            }
        }
        while let Ok(reason) = self.failures.try_recv() {
            outcome.failed(reason);
        }
        outcome
    }

    async fn stop(
        &self,
        stage: Stage,
        deadline: Instant,
        signals: &mut mpsc::Receiver<()>,
    ) -> Result<(), &'static str> {
        let drain = self.spawner.drain(stage);
        drain.stop.cancel();
        drain.tasks.close();
        tokio::select! {
            biased;
            () = drain.tasks.wait() => Ok(()),
            Some(()) = signals.recv() => Err("a second signal arrived"),
            () = tokio::time::sleep_until(deadline) => Err("the deadline passed"),
        }
    }

    /// Aborts the remaining tasks. Bounded in time, because a task that never yields cannot be aborted.
    async fn abort(&self) {
        const ABORT_MAX: Duration = Duration::from_secs(1);
        self.spawner.shared.abort.cancel();
        for stage in Stage::ALL {
            let drain = self.spawner.drain(stage);
            drain.stop.cancel();
            drain.tasks.close();
            if tokio::time::timeout(ABORT_MAX, drain.tasks.wait())
                .await
                .is_err()
            {
                tracing::error!(?stage, "tasks did not end when aborted");
            }
        }
    }
}

//! Who starts tasks, and what happens when one ends. The only place that starts tasks: each has a
//! name, a stage and a policy, and a panic counts as a failure. It never decides what a task does.
//!
//! Shutting down goes stage by stage: a stage's token is cancelled, its tasks are awaited, then the
//! next stage's. What is not done by the deadline is aborted. A second signal aborts at once. The
//! split into soft and hard cancellation follows matrix-authentication-service (`lifecycle.rs`).

mod outcome;
mod task;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use outcome::{Outcome, process_signals};

use crate::runtime::retry;

/// What a task fails with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// In which order things stop. A stage may rely on the later ones while it drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Takes requests.
    Http,
    /// Work begun for a request that must not be cut short: admissions and what follows them.
    Admission,
    /// Commits what was admitted.
    Writer,
    /// Publishes what was committed.
    Relay,
    /// Records what was published.
    Settler,
    /// Applies what was published.
    Consumers,
    /// All the rest: schedules, samplers, leases.
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
    /// Start it again, so many times within the window; one more failure stops the process.
    Restart {
        /// Restarts within the window.
        budget: u32,
        /// How far back restarts count.
        window: Duration,
        /// How long to wait before each.
        backoff: retry::Policy,
    },
    /// The process is of no use without it, or cannot be trusted after it.
    StopProcess,
}

impl Policy {
    /// Restarts with a budget of ten a minute.
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

/// A stage's means of stopping and of waiting.
#[derive(Debug, Default)]
struct Drain {
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Shared {
    drains: [Drain; Stage::ALL.len()],
    /// Cancelled when waiting is over: what still runs is aborted.
    abort: CancellationToken,
    /// Why the process cannot go on; only the first reason is kept.
    failures: mpsc::Sender<String>,
}

/// Starts tasks; cloned into every module that needs to.
#[derive(Clone, Debug)]
pub struct Spawner {
    shared: Arc<Shared>,
    /// Where its tasks run; none: where they are started.
    runtime: Option<Handle>,
}

impl Spawner {
    /// Starts the task `name` from `factory`, which is called again for each restart with the
    /// stage's token. A task that returns `Ok` is done and stays so.
    pub fn start<F, Fut>(&self, name: &'static str, stage: Stage, policy: Policy, factory: F)
    where
        F: FnMut(CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let task = task::Named {
            name,
            policy,
            stop: self.token(stage),
            abort: self.shared.abort.clone(),
            failures: self.shared.failures.clone(),
        };
        let tasks = &self.drain(stage).tasks;
        match &self.runtime {
            Some(runtime) => tasks.spawn_on(task.supervise(factory), runtime),
            None => tasks.spawn(task.supervise(factory)),
        };
    }

    /// Starts the background task `name`: takes `step` after `first`, and again after each pause that
    /// the step answers, until its stage stops. No step is cut short; its token says that it should end.
    pub fn repeat<F, Fut>(&self, name: &'static str, first: Duration, step: F)
    where
        F: Fn(CancellationToken) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Duration> + Send,
    {
        let step = Arc::new(step);
        self.start(name, Stage::Background, Policy::restart(), move |stop| {
            let step = Arc::clone(&step);
            async move {
                let mut pause = first;
                while stop
                    .run_until_cancelled(tokio::time::sleep(pause))
                    .await
                    .is_some()
                {
                    pause = step(stop.clone()).await;
                }
                Ok(())
            }
        });
    }

    /// One that starts its tasks on another runtime: for work that is not to stand in line with
    /// everything else on the threads of this one.
    #[must_use]
    pub fn on(&self, runtime: Handle) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            runtime: Some(runtime),
        }
    }

    /// Starts work that runs once, is awaited by its stage's drain and whose panic is only logged.
    pub fn detach<Fut>(&self, name: &'static str, stage: Stage, work: Fut)
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        let abort = self.shared.abort.clone();
        // On the heap: what is wrapped around it would each be as large again, and is moved into the task.
        let work = Box::pin(work);
        let contained = async move {
            let work = task::contained(&abort, async move {
                work.await;
                Ok(())
            });
            if let task::Ended::Failed(reason) = work.await {
                tracing::error!(
                    task.name = name,
                    task.failure = reason,
                    "detached work failed"
                );
            }
        };
        let tasks = &self.drain(stage).tasks;
        match &self.runtime {
            Some(runtime) => tasks.spawn_on(contained, runtime),
            None => tasks.spawn(contained),
        };
    }

    /// The token that tells tasks of `stage` to stop.
    #[must_use]
    pub fn token(&self, stage: Stage) -> CancellationToken {
        self.drain(stage).stop.clone()
    }

    fn drain(&self, stage: Stage) -> &Drain {
        let [
            http,
            admission,
            writer,
            relay,
            settler,
            consumers,
            background,
        ] = &self.shared.drains;
        match stage {
            Stage::Http => http,
            Stage::Admission => admission,
            Stage::Writer => writer,
            Stage::Relay => relay,
            Stage::Settler => settler,
            Stage::Consumers => consumers,
            Stage::Background => background,
        }
    }
}

/// Owns all tasks and runs until told to stop or until one fails for good.
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

    /// What starts tasks.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Starts a task: see [`Spawner::start`].
    pub fn start<F, Fut>(&self, name: &'static str, stage: Stage, policy: Policy, factory: F)
    where
        F: FnMut(CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.spawner.start(name, stage, policy, factory);
    }

    /// Runs until the first signal or until a task fails for good, then shuts down in order. Each
    /// signal is one message; a closed channel is no signal.
    pub async fn run(mut self, mut signals: mpsc::Receiver<()>) -> Outcome {
        let mut outcome = Outcome::default();
        tokio::select! {
            Some(()) = signals.recv() => tracing::info!("told to stop: draining"),
            Some(reason) = self.failures.recv() => {
                tracing::error!(reason, "cannot go on: draining");
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
            Some(()) = signals.recv() => Err("a second signal came"),
            () = tokio::time::sleep_until(deadline) => Err("the deadline passed"),
        }
    }

    /// Aborts what still runs. Bounded: a task that never yields must not hold the process.
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

//! Starts tasks in their stages.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{BoxError, Policy, Stage, task};

/// Stops the tasks of a stage and waits for them.
#[derive(Debug, Default)]
pub(super) struct Drain {
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) drains: [Drain; Stage::ALL.len()],
    /// Cancelled when the deadline has passed: remaining tasks are aborted.
    pub(super) abort: CancellationToken,
    /// Why the process must stop; only the first reason is stored.
    pub(super) failures: mpsc::Sender<String>,
}

/// Starts tasks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Spawner {
    pub(super) shared: Arc<Shared>,
    /// The runtime of its tasks; none: the runtime of the caller.
    pub(super) runtime: Option<Handle>,
}

impl Spawner {
    /// Starts the task `name` from `factory`, which is called again for each restart with the
    /// stage's token. A task that returns `Ok` is not restarted.
    pub fn start<F, Fut>(&self, name: &'static str, stage: Stage, policy: Policy, factory: F)
    where
        F: FnMut(CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let task = task::NamedTask {
            name,
            policy,
            stop: self.token(stage),
            abort: self.shared.abort.clone(),
            failures: self.shared.failures.clone(),
        };
        self.spawn(stage, task.supervise(factory));
    }

    /// Starts the background task `name`: runs `step` after `first`, and again after each pause that the step returns,
    /// until its stage stops. A step is never cut short; its token is cancelled when it should end.
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

    /// A spawner that starts its tasks on another runtime: for work that must not wait for the threads of
    /// this one.
    #[must_use]
    pub fn on(&self, runtime: Handle) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            runtime: Some(runtime),
        }
    }

    /// Starts work that runs once. The drain of its stage awaits it; its panic is only logged.
    pub fn detach<Fut>(&self, name: &'static str, stage: Stage, work: Fut)
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        let abort = self.shared.abort.clone();
        // Boxed: each wrapper would otherwise copy the whole future.
        let work = Box::pin(work);
        let contained = async move {
            let work = task::contained(&abort, async move {
                work.await;
                Ok(())
            });
            if let task::RunEnd::Failed(reason) = work.await {
                tracing::error!(
                    task.name = name,
                    task.failure = reason,
                    "detached work failed"
                );
            }
        };
        self.spawn(stage, contained);
    }

    /// Runs work as [`Spawner::detach`] does, and waits for its result: the work goes on when the caller is dropped. None:
    /// the work panicked, or the process stops.
    pub async fn run_detached<T, Fut>(
        &self,
        name: &'static str,
        stage: Stage,
        work: Fut,
    ) -> Option<T>
    where
        T: Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        self.detach(name, stage, async move {
            drop(reply.send(work.await));
        });
        result.await.ok()
    }

    fn spawn(&self, stage: Stage, work: impl Future<Output = ()> + Send + 'static) {
        let tasks = &self.drain(stage).tasks;
        match &self.runtime {
            Some(runtime) => tasks.spawn_on(work, runtime),
            None => tasks.spawn(work),
        };
    }

    /// The token that stops the tasks of `stage`.
    #[must_use]
    pub fn token(&self, stage: Stage) -> CancellationToken {
        self.drain(stage).stop.clone()
    }

    pub(super) fn drain(&self, stage: Stage) -> &Drain {
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

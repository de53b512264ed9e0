//! Runs one named task, and restarts it after a failure.

use std::collections::VecDeque;
use std::future::Future;

use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{BoxError, Policy};

/// How one run of a task ended.
pub(super) enum RunEnd {
    Done,
    Aborted,
    Failed(String),
}

/// Runs `work` in its own task, so that a panic does not spread, and aborts it with `abort`.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the one place that starts tasks"
)]
pub(super) async fn contained<Fut>(abort: &CancellationToken, work: Fut) -> RunEnd
where
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let mut running = tokio::spawn(work);
    tokio::select! {
        ended = &mut running => match ended {
            Ok(Ok(())) => RunEnd::Done,
            Ok(Err(failure)) => RunEnd::Failed(chain(failure.as_ref())),
            Err(failure) => RunEnd::Failed(panic_text(failure)),
        },
        () = abort.cancelled() => {
            running.abort();
            // Awaited so that the drain does not end before the task has.
            drop(running.await);
            RunEnd::Aborted
        }
    }
}

/// A task, its stage and its policy.
pub(super) struct NamedTask {
    pub(super) name: &'static str,
    pub(super) policy: Policy,
    pub(super) stop: CancellationToken,
    pub(super) abort: CancellationToken,
    pub(super) failures: mpsc::Sender<String>,
}

impl NamedTask {
    /// Runs the task until it is done, stopped, or failed for good.
    pub(super) async fn supervise<F, Fut>(self, mut factory: F)
    where
        F: FnMut(CancellationToken) -> Fut,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let mut restarts: VecDeque<Instant> = VecDeque::new();
        loop {
            let run = contained(&self.abort, factory(self.stop.clone()));
            let RunEnd::Failed(reason) = run.await else {
                return;
            };
            tracing::error!(task.name = self.name, task.failure = reason, "task failed");
            if self.stop.is_cancelled() {
                return self.give_up(format!("{} failed while draining: {reason}", self.name));
            }
            let Policy::Restart {
                budget,
                window,
                backoff,
            } = self.policy
            else {
                return self.give_up(format!("{} failed: {reason}", self.name));
            };
            restarts.retain(|at| at.elapsed() < window);
            if restarts.len() >= usize::try_from(budget).unwrap_or(usize::MAX) {
                return self.give_up(format!(
                    "{} failed after {budget} restarts: {reason}",
                    self.name
                ));
            }
            restarts.push_back(Instant::now());
            let recent = u32::try_from(restarts.len()).unwrap_or(u32::MAX);
            tokio::select! {
                () = tokio::time::sleep(backoff.pause(recent)) => {}
                () = self.stop.cancelled() => return,
            }
            tracing::warn!(
                task.name = self.name,
                task.restarts = recent,
                "task restarts"
            );
        }
    }

    fn give_up(&self, reason: String) {
        if let Err(unsent) = self.failures.try_send(reason) {
            // One reason is enough to stop; this one is in the log already.
            tracing::debug!(task.name = self.name, %unsent, "another task failed first");
        }
    }
}

/// The failure and its sources, in one line.
fn chain(failure: &(dyn std::error::Error + 'static)) -> String {
    let mut text = failure.to_string();
    let mut source = failure.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn panic_text(failure: JoinError) -> String {
    match failure.try_into_panic() {
        Ok(payload) => {
            let text = payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| payload.downcast_ref::<String>().cloned());
            format!("panicked: {}", text.as_deref().unwrap_or("no text"))
        }
        Err(cancelled) => cancelled.to_string(),
    }
}

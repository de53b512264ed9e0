//! One job: its progress and its end. It does not know how requests are sent.

use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Plan;
use super::figures::{Answer, Measures};
pub use super::figures::{Figures, Latency};
use crate::domain;
use crate::runtime::clock::Clock;

/// The status of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStatus {
    /// It runs.
    Started,
    /// All its requests were answered.
    Completed,
    /// It was cancelled, or the service stopped.
    Cancelled,
    /// It panicked.
    Failed,
}

/// The current state of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Its id.
    pub id: Uuid,
    /// Its plan.
    pub plan: Plan,
    /// Its status.
    pub status: JobStatus,
    /// When it was started.
    pub started_at: domain::Timestamp,
    /// When it ended.
    pub ended_at: Option<domain::Timestamp>,
    /// Its figures so far.
    pub figures: Figures,
}

pub(super) struct SimulationJob {
    pub(super) id: Uuid,
    pub(super) plan: Plan,
    started_at: domain::Timestamp,
    began: Instant,
    cancel: CancellationToken,
    over: CancellationToken,
    progress: Mutex<Progress>,
}

struct Progress {
    status: JobStatus,
    ended: Option<(domain::Timestamp, Duration)>,
    measures: Measures,
}

/// Runs a job, and records its end even if the work panics or is dropped.
pub(super) async fn run(job: &SimulationJob, clock: &Clock, work: impl Future<Output = ()>) {
    // Records the end also if the work is dropped.
    let ending = Ending { job, clock };
    let worked = AssertUnwindSafe(work).catch_unwind().await;
    let status = match worked {
        Ok(()) if job.cancel.is_cancelled() && !job.has_all() => JobStatus::Cancelled,
        Ok(()) => JobStatus::Completed,
        Err(_) => {
            tracing::error!(job.id = %job.id, "a simulation panicked");
            JobStatus::Failed
        }
    };
    job.end(status, clock.now());
    drop(ending);
}

struct Ending<'a> {
    job: &'a SimulationJob,
    clock: &'a Clock,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        // Only the first end counts.
        self.job.end(JobStatus::Failed, self.clock.now());
    }
}

impl SimulationJob {
    pub(super) fn new(plan: Plan, now: domain::Timestamp) -> Self {
        Self {
            id: Uuid::now_v7(),
            plan,
            started_at: now,
            began: Instant::now(),
            cancel: CancellationToken::new(),
            over: CancellationToken::new(),
            progress: Mutex::new(Progress {
                status: JobStatus::Started,
                ended: None,
                measures: Measures::default(),
            }),
        }
    }

    /// Begins no more requests.
    pub(super) fn cancel(&self) {
        self.cancel.cancel();
    }

    pub(super) async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Waits until it has ended.
    pub(super) async fn over(&self) {
        self.over.cancelled().await;
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// The time since its end; none: it is running.
    pub(super) fn over_for(&self, now: domain::Timestamp) -> Option<Duration> {
        let (at, _) = self.progress().ended?;
        Some((now - at).to_std().unwrap_or_default())
    }

    fn has_all(&self) -> bool {
        self.progress().measures.done() >= u64::from(self.plan.requests)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, answer: &Answer, took: Duration) {
        self.progress().measures.count(answer, took);
    }

    fn end(&self, status: JobStatus, now: domain::Timestamp) {
        let mut progress = self.progress();
        if progress.status == JobStatus::Started {
            progress.status = status;
            progress.ended = Some((now, self.began.elapsed()));
            self.over.cancel();
        }
    }

    pub(super) fn report(&self) -> Report {
        let progress = self.progress();
        let ran = progress
            .ended
            .map_or_else(|| self.began.elapsed(), |(_, ran)| ran);
        Report {
            id: self.id,
            plan: self.plan,
            status: progress.status,
            started_at: self.started_at,
            ended_at: progress.ended.map(|(at, _)| at),
            figures: progress.measures.figures(ran),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::{CampaignId, Refusal};
    use crate::sale::participate::{Outcome, ParticipateError};

    fn job() -> SimulationJob {
        SimulationJob::new(Plan::bulk(CampaignId(1), 3), Clock::System.now())
    }

    fn sold_out() -> Outcome {
        Outcome::Refused {
            refusal: Refusal::SoldOut,
            remaining: None,
        }
    }

    #[tokio::test]
    async fn a_job_that_panics_has_failed() {
        let job = job();
        run(&job, &Clock::System, async { panic!("it panics") }).await;
        assert_eq!(job.report().status, JobStatus::Failed);
        assert!(job.is_over());
    }

    #[tokio::test]
    async fn a_job_dropped_before_its_end_has_failed() {
        let (job, clock) = (job(), Clock::System);
        let mut work = Box::pin(run(&job, &clock, std::future::pending()));
        assert!(futures_util::poll!(&mut work).is_pending());
        assert_eq!(job.report().status, JobStatus::Started);
        drop(work);
        assert_eq!(job.report().status, JobStatus::Failed);
    }

    #[tokio::test]
    async fn a_stopped_job_is_cancelled_unless_it_has_all_its_answers() {
        for (answers, status) in [(2, JobStatus::Cancelled), (3, JobStatus::Completed)] {
            let job = job();
            run(&job, &Clock::System, async {
                for _ in 0..answers {
                    job.count(&Ok(sold_out()), Duration::from_millis(1));
                }
                job.cancel();
            })
            .await;
            assert_eq!(job.report().status, status);
        }
    }

    #[test]
    fn answers_are_counted_and_measured() {
        let job = job();
        for millis in 1..=100 {
            job.count(&Ok(sold_out()), Duration::from_millis(millis));
        }
        job.count(&Err(ParticipateError::Busy), Duration::from_micros(3));
        let figures = job.report().figures;
        assert_eq!((figures.done, figures.failed), (101, 1));
        assert_eq!(
            figures.outcomes,
            BTreeMap::from([("BUSY", 1), ("SOLD_OUT", 100)])
        );
        let latency = figures.latency;
        let near = |is: Duration, millis: f64| {
            let off = (is.as_secs_f64() * 1e3 - millis).abs();
            assert!(off <= millis * 0.02, "{is:?} is not {millis} ms");
        };
        near(latency.p50, 50.0);
        near(latency.p95, 95.0);
        near(latency.p99, 99.0);
        near(latency.average, 50.0);
        assert_eq!(
            (latency.min, latency.max),
            (Duration::from_micros(3), Duration::from_millis(100))
        );
    }
}

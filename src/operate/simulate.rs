//! Simulated participants, to try out an installation: jobs that participate many times, by the same code as requests
//! over HTTP, and measure the outcomes. They change the campaign as real participants do, so they are disabled by
//! default. A job runs in the process that received the request. The number of concurrent jobs is bounded, and so are the
//! number and the age of stored results.

mod figures;
mod job;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use uuid::Uuid;

use self::job::SimulationJob;
pub use self::job::{Figures, JobStatus, Latency, Report};
use crate::domain::{CampaignId, ParticipationId, UserId};
use crate::parts::store::Applicant;
use crate::runtime::clock::Clock;
use crate::runtime::settings::settings;
use crate::runtime::supervisor::{Spawner, Stage};
use crate::sale::participate::{CommitMode, Participate, ParticipateError, Request};

/// Smallest id of a simulated user; the largest is [`USER_LAST`].
pub const USER_FIRST: i64 = 9_000_000_000_000_000;
/// Largest id of a user.
pub const USER_LAST: i64 = 9_007_199_254_740_991;
/// Most requests of one job.
pub const REQUESTS_MAX: u32 = 100_000;
/// Most concurrent requests of one job.
pub const CONCURRENCY_MAX: u32 = 1_000;
/// Concurrent requests of a bulk job.
const BULK_CONCURRENCY: u32 = 64;
/// Attempts of one request of a bulk job while the service is busy, and the pause between them: all users of a bulk job
/// are to participate.
const BULK_TRIES: usize = 400;
const BULK_PAUSE: Duration = Duration::from_millis(25);

/// How long a cancellation waits for the end of the job.
const END_WAIT_MAX: Duration = Duration::from_secs(5);

settings! {
    /// `[test]`: simulated participants.
    #[derive(Copy)]
    SimulateConfig in "test" {
        /// Whether the operations for simulated participants are available; otherwise they return 404
        endpoints: bool = false;
        /// Simulations at the same time; more get 409
        jobs_max: usize = 2, in 1..=16;
        /// Maximum number of stored results
        results_max: usize = 100, in 1..=10_000;
        /// How long a result is stored after its simulation has ended
        results_age: Duration = Duration::from_secs(3_600),
            in Duration::from_secs(1)..=Duration::from_secs(86_400);
    }
}

/// The path of a job's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Through the gate; each request is repeated while the service is busy.
    Bulk,
    /// Through the gate.
    Async,
    /// By the synchronous path.
    Sync,
}

/// The plan of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The path of its requests.
    pub kind: Kind,
    /// The campaign.
    pub campaign: CampaignId,
    /// Number of users, who participate once each.
    pub requests: u32,
    /// Concurrent requests.
    pub concurrency: u32,
    /// Units that each user requests.
    pub quantity: u32,
    /// Id of the first user; those of the others follow.
    pub first_user: UserId,
}

impl Plan {
    /// A bulk job: this number of users participate in a campaign.
    #[must_use]
    pub fn bulk(campaign: CampaignId, count: u32) -> Self {
        Self {
            kind: Kind::Bulk,
            campaign,
            requests: count,
            concurrency: BULK_CONCURRENCY,
            quantity: 1,
            first_user: random_users(count),
        }
    }
}

/// The first id of this number of consecutive simulated users; another job is unlikely to use the same ids.
#[must_use]
pub fn random_users(users: u32) -> UserId {
    UserId(rand::random_range(
        USER_FIRST..=USER_LAST - i64::from(users),
    ))
}

/// Why a job was not started, or not cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimulateError {
    /// The maximum number of jobs is running.
    #[error("{0} jobs are running, the limit")]
    TooMany(usize),
    /// This process has no such job, or no longer has it.
    #[error("find the job")]
    Unknown,
    /// The job has ended.
    #[error("the job has ended")]
    Over,
}

/// Runs simulations.
#[derive(Clone)]
pub struct Simulator {
    shared: Arc<Shared>,
}

struct Shared {
    participate: Participate,
    spawner: Spawner,
    clock: Clock,
    config: SimulateConfig,
    /// Ordered by id, and so by age.
    jobs: Mutex<BTreeMap<Uuid, Arc<SimulationJob>>>,
}

impl Simulator {
    /// Simulates participants of this service.
    #[must_use]
    pub fn new(
        participate: Participate,
        spawner: Spawner,
        clock: Clock,
        config: SimulateConfig,
    ) -> Self {
        let shared = Shared {
            participate,
            spawner,
            clock,
            config,
            jobs: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Starts a job.
    pub fn start(&self, plan: Plan) -> Result<Report, SimulateError> {
        let job = Arc::new(SimulationJob::new(plan, self.shared.clock.now()));
        self.shared.admit(&job)?;
        let report = job.report();
        let (shared, running) = (Arc::clone(&self.shared), Arc::clone(&job));
        let stop = self.shared.spawner.token(Stage::Http);
        let clock = self.shared.clock.clone();
        let work = async move {
            job::run(&running, &clock, async {
                let cancelled = async {
                    tokio::select! {
                        () = running.cancelled() => {}
                        () = stop.cancelled() => running.cancel(),
                    }
                };
                shared.take_part(&running, cancelled).await;
            })
            .await;
        };
        self.shared
            .spawner
            .detach("simulate.job", Stage::Http, work);
        Ok(report)
    }

    /// The progress or the result of a job.
    pub fn report(&self, id: Uuid) -> Result<Report, SimulateError> {
        Ok(self.shared.job(id)?.report())
    }

    /// Cancels a job: no further requests begin, and those in flight complete. Safe to repeat.
    pub async fn cancel(&self, id: Uuid) -> Result<Report, SimulateError> {
        let job = self.shared.job(id)?;
        job.cancel();
        // A later call reports the requests that are still in flight.
        tokio::time::timeout(END_WAIT_MAX, job.over()).await.ok();
        let report = job.report();
        match report.status {
            JobStatus::Completed | JobStatus::Failed => Err(SimulateError::Over),
            JobStatus::Started | JobStatus::Cancelled => Ok(report),
        }
    }
}

impl Shared {
    /// Adds the job, if there is room, and deletes old ones.
    fn admit(&self, job: &Arc<SimulationJob>) -> Result<(), SimulateError> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        self.delete_old(&mut jobs);
        let running = jobs.values().filter(|job| !job.is_over()).count();
        if running >= self.config.jobs_max {
            return Err(SimulateError::TooMany(self.config.jobs_max));
        }
        jobs.insert(job.id, Arc::clone(job));
        Ok(())
    }

    fn job(&self, id: Uuid) -> Result<Arc<SimulationJob>, SimulateError> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        self.delete_old(&mut jobs);
        jobs.get(&id).cloned().ok_or(SimulateError::Unknown)
    }

    /// Deletes old results, and the oldest ones beyond the maximum number.
    fn delete_old(&self, jobs: &mut BTreeMap<Uuid, Arc<SimulationJob>>) {
        let now = self.clock.now();
        jobs.retain(|_, job| {
            let age = job.over_for(now);
            age.is_none_or(|age| age < self.config.results_age)
        });
        let over = jobs.values().filter(|job| job.is_over());
        let over: Vec<Uuid> = over.map(|job| job.id).collect();
        let excess = over.len().saturating_sub(self.config.results_max);
        for id in over.iter().take(excess) {
            jobs.remove(id);
        }
    }

    /// Lets all users of a job participate, until it is cancelled.
    async fn take_part(&self, job: &SimulationJob, cancelled: impl Future<Output = ()>) {
        let plan = job.plan;
        let users = (plan.first_user.0..).take(plan.requests as usize);
        let cancelled = std::pin::pin!(cancelled);
        let mut answers = std::pin::pin!(
            stream::iter(users)
                .take_until(cancelled)
                .map(|user| self.request(plan, UserId(user)))
                .buffer_unordered(plan.concurrency as usize)
        );
        while let Some((answer, took)) = answers.next().await {
            job.count(&answer, took);
        }
    }

    async fn request(&self, plan: Plan, user: UserId) -> (figures::Answer, Duration) {
        let request = Request {
            campaign: plan.campaign,
            applicant: Applicant {
                participation: ParticipationId::made_at(self.clock.now()),
                user,
                quantity: plan.quantity,
                idempotency_key: None,
                traceparent: None,
                since: Instant::now(),
                by: None,
                order: None,
            },
        };
        let began = Instant::now();
        let answer = match plan.kind {
            Kind::Async => self.participate.run(request, CommitMode::Grouped).await,
            Kind::Sync => self.participate.run(request, CommitMode::Alone).await,
            Kind::Bulk => self.retry_while_busy(request).await,
        };
        (answer, began.elapsed())
    }

    async fn retry_while_busy(&self, request: Request) -> figures::Answer {
        for _ in 0..BULK_TRIES {
            match self
                .participate
                .run(request.clone(), CommitMode::Grouped)
                .await
            {
                Err(ParticipateError::Busy) => tokio::time::sleep(BULK_PAUSE).await,
                answer => return answer,
            }
        }
        Err(ParticipateError::Busy)
    }
}

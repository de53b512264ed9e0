//! Simulated participants, to try out an installation: jobs that participate many times, by the same code as requests
//! over HTTP, and measure the outcomes. They change the campaign as real participants do, so they are disabled by
//! default. A job runs in the process that received the request. The number of jobs at the same time is bounded; so are
//! the number of kept results and how long they are kept.

mod figures;
mod job;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use uuid::Uuid;

use self::job::Job;
pub use self::job::{Figures, JobStatus, Latency, Report};
use crate::domain::{CampaignId, ParticipationId, UserId};
use crate::parts::store::Applicant;
use crate::runtime::clock::Clock;
use crate::runtime::settings::settings;
use crate::runtime::supervisor::{Spawner, Stage};
use crate::sale::participate::{CommitMode, Participate, ParticipateError, Request};

/// Users that are made up have numbers from here on, up to [`USER_LAST`].
pub const USER_FIRST: i64 = 9_000_000_000_000_000;
/// The largest number of a user.
pub const USER_LAST: i64 = 9_007_199_254_740_991;
/// Requests of one job at most.
pub const REQUESTS_MAX: u32 = 100_000;
/// Requests of one job under way at the same time, at most.
pub const CONCURRENCY_MAX: u32 = 1_000;
/// Requests of a bulk under way at the same time.
const BULK_CONCURRENCY: u32 = 64;
/// How often, and how far apart, one of a bulk looks for a place: all of a bulk are to take part, as people
/// do who come back when they are told to.
const BULK_TRIES: usize = 400;
const BULK_PAUSE: Duration = Duration::from_millis(25);

/// How long somebody who cancels waits for the end.
const END_WAIT_MAX: Duration = Duration::from_secs(5);

settings! {
    /// `[test]`: simulated participants.
    #[derive(Copy)]
    SimulateConfig in "test" {
        /// Whether there are simulated participants; otherwise their addresses answer 404
        endpoints: bool = false;
        /// Simulations at the same time; more are answered 409
        jobs_max: usize = 2, in 1..=16;
        /// Simulations whose results are kept
        results_max: usize = 100, in 1..=10_000;
        /// How long results are kept
        results_age: Duration = Duration::from_secs(3_600),
            in Duration::from_secs(1)..=Duration::from_secs(86_400);
    }
}

/// How a job's requests are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Through the gate, each until it finds a place.
    Bulk,
    /// Through the gate.
    Async,
    /// By the synchronous path.
    Sync,
}

/// What a job is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// By which way.
    pub kind: Kind,
    /// In what to take part.
    pub campaign: CampaignId,
    /// How many users take part, once each.
    pub requests: u32,
    /// How many of them at the same time.
    pub concurrency: u32,
    /// Units that each asks for.
    pub quantity: u32,
    /// The number of the first of them; the others follow.
    pub first_user: UserId,
}

impl Plan {
    /// So many users at once who take part in a campaign.
    #[must_use]
    pub fn bulk(campaign: CampaignId, count: u32) -> Self {
        Self {
            kind: Kind::Bulk,
            campaign,
            requests: count,
            concurrency: BULK_CONCURRENCY,
            quantity: 1,
            first_user: made_up(count),
        }
    }
}

/// The first of so many users in a row whom nobody else is likely to have.
#[must_use]
pub fn made_up(users: u32) -> UserId {
    UserId(rand::random_range(
        USER_FIRST..=USER_LAST - i64::from(users),
    ))
}

/// Why a job was not started, or not cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimulateError {
    /// As many run as may.
    #[error("{0} jobs are running, the limit")]
    TooMany(usize),
    /// There is no such job, or not any more, or not in this process.
    #[error("find the job")]
    Unknown,
    /// It is over already.
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
    /// By id, which is by age.
    jobs: Mutex<BTreeMap<Uuid, Arc<Job>>>,
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
        let job = Arc::new(Job::new(plan, self.shared.clock.now()));
        self.shared.admit(&job)?;
        let report = job.report();
        let (shared, running) = (Arc::clone(&self.shared), Arc::clone(&job));
        let stop = self.shared.spawner.token(Stage::Http);
        let clock = self.shared.clock.clone();
        let work = async move {
            job::to_its_end(&running, &clock, async {
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

    /// How far a job is, or what it came to.
    pub fn report(&self, id: Uuid) -> Result<Report, SimulateError> {
        Ok(self.shared.job(id)?.report())
    }

    /// Ends a job: no more requests are begun, and those under way are answered. Asked again, it says the
    /// same.
    pub async fn cancel(&self, id: Uuid) -> Result<Report, SimulateError> {
        let job = self.shared.job(id)?;
        job.cancel();
        // What is under way by then is told of by asking again.
        tokio::time::timeout(END_WAIT_MAX, job.over()).await.ok();
        let report = job.report();
        match report.status {
            JobStatus::Completed | JobStatus::Failed => Err(SimulateError::Over),
            JobStatus::Started | JobStatus::Cancelled => Ok(report),
        }
    }
}

impl Shared {
    /// Takes the job on, if there is room, and forgets old ones.
    fn admit(&self, job: &Arc<Job>) -> Result<(), SimulateError> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget(&mut jobs);
        let running = jobs.values().filter(|job| !job.is_over()).count();
        if running >= self.config.jobs_max {
            return Err(SimulateError::TooMany(self.config.jobs_max));
        }
        jobs.insert(job.id, Arc::clone(job));
        Ok(())
    }

    fn job(&self, id: Uuid) -> Result<Arc<Job>, SimulateError> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget(&mut jobs);
        jobs.get(&id).cloned().ok_or(SimulateError::Unknown)
    }

    /// Forgets what is older than results are kept, and the oldest of what are too many.
    fn forget(&self, jobs: &mut BTreeMap<Uuid, Arc<Job>>) {
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

    /// Lets all users of a job take part, until it is told to begin no more.
    async fn take_part(&self, job: &Job, cancelled: impl Future<Output = ()>) {
        let plan = job.plan;
        let users = (plan.first_user.0..).take(plan.requests as usize);
        let cancelled = std::pin::pin!(cancelled);
        let mut answers = std::pin::pin!(
            stream::iter(users)
                .take_until(cancelled)
                .map(|user| self.ask(plan, UserId(user)))
                .buffer_unordered(plan.concurrency as usize)
        );
        while let Some((answer, took)) = answers.next().await {
            job.count(&answer, took);
        }
    }

    async fn ask(&self, plan: Plan, user: UserId) -> (figures::Answer, Duration) {
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
            },
        };
        let began = Instant::now();
        let answer = match plan.kind {
            Kind::Async => self.participate.run(request, CommitMode::Grouped).await,
            Kind::Sync => self.participate.run(request, CommitMode::Alone).await,
            Kind::Bulk => self.until_there_is_room(request).await,
        };
        (answer, began.elapsed())
    }

    async fn until_there_is_room(&self, request: Request) -> figures::Answer {
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

//! Daily statistics. They are computed from the rows, or read from the result of an aggregation run. One replica
//! at a time runs the aggregation, on schedule or when an admin requests it, under a lease in the store. It only
//! reads participations and tallies.

mod day_cache;
mod job;
mod metrics;
mod order_analysis;
mod queries;
mod ranges;
mod reading;
mod schedule;

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use tokio::sync::Semaphore;
use uuid::Uuid;

use self::day_cache::DayCache;
use self::job::AggregationJob;
pub use self::metrics::Metrics;
pub use self::order_analysis::{Cursor, OrderAnalysis, Violation, ViolationKind, Violations};
pub use self::queries::{CampaignStatistics, DayStatistics, Method};
pub use self::schedule::{Schedule, ScheduleError, start as start_schedule};
use crate::domain::{Day, DayError, RunId, Zone};
use crate::operate::alert::{Alert, AlertKind, Alerts};
use crate::parts::store::{Begun, Cause, Redo, Run, Store, StoreError};
use crate::runtime::clock::Clock;
use crate::runtime::retry;
use crate::runtime::supervisor::{Spawner, Stage};

/// Attempts to begin a run when another one ends in between.
const CLAIMS_MAX: usize = 3;

/// How days are read and when they are aggregated.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The time zone of days and of the schedule.
    pub zone: Zone,
    /// When runs begin.
    pub schedule: Schedule,
    /// Missed days that are aggregated later, counted back from yesterday.
    pub catch_up_days: u32,
    /// Participations in one slice of a day.
    pub slice_rows: u32,
    /// Slices that are read at the same time.
    pub parallel_max: usize,
    /// Campaigns that are written at the same time.
    pub concurrency: usize,
    /// How long the lease lasts without renewal.
    pub lease: Duration,
    /// How failures are retried.
    pub retry: retry::Policy,
    /// Retention of ended runs.
    pub runs_kept: Duration,
}

/// The dependencies of the aggregator.
pub struct Dependencies {
    /// Source of the rows and of the results.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// Starts runs.
    pub spawner: Spawner,
    /// Alerts people of failures.
    pub alerts: Alerts,
    /// Metrics.
    pub metrics: Metrics,
}

/// Reads and aggregates days.
#[derive(Clone)]
pub struct Aggregator {
    inner: Arc<Inner>,
}

struct Inner {
    dependencies: Dependencies,
    settings: Settings,
    /// Held by a request that reads many rows: one at a time in each process.
    reading: Semaphore,
    /// Days requested lately.
    days: DayCache,
}

/// Why there are no statistics.
#[derive(Debug, thiserror::Error)]
pub enum AggregateError {
    /// The day is outside the allowed range; with the name of the parameter.
    #[error("there are no statistics of the day in {0}")]
    Day(&'static str, #[source] DayError),
    /// The period ends before it begins.
    #[error("the period ends before it begins")]
    Backwards,
    /// Days are aggregated for another zone.
    #[error("days are aggregated for zone {0} only")]
    OtherZone(Zone),
    /// The day was never aggregated.
    #[error("the day is not aggregated")]
    NotAggregated,
    /// Another run is in progress.
    #[error("run {} is in progress", .0.id)]
    Running(Box<Run>),
    /// There is no such campaign.
    #[error("find the campaign")]
    UnknownCampaign,
    /// Another request reads days.
    #[error("too many days are being read")]
    Busy,
    /// The store did not answer.
    #[error("use the store")]
    Store(#[from] StoreError),
}

/// The result of requesting a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// The run has begun.
    Begun(Box<Run>),
    /// The day is aggregated already.
    Done(Box<Run>),
}

impl Aggregator {
    /// Reads and aggregates days by these settings.
    #[must_use]
    pub fn new(dependencies: Dependencies, settings: Settings) -> Self {
        let inner = Inner {
            dependencies,
            settings,
            reading: Semaphore::new(1),
            days: DayCache::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The zone whose days are aggregated.
    #[must_use]
    pub fn zone(&self) -> Zone {
        self.inner.settings.zone
    }

    /// Begins a run for a day, by default yesterday, in a task of its own.
    pub async fn begin(
        &self,
        date: Option<NaiveDate>,
        redo: Redo,
    ) -> Result<Beginning, AggregateError> {
        let zone = self.zone();
        let now = self.inner.dependencies.clock.now();
        let day = match date {
            Some(date) => named_day("date", date, zone, self)?,
            None => Day::of(now, zone).minus(1),
        };
        match self.claim(day, Cause::Admin, redo).await? {
            Claim::Done(run) => Ok(Beginning::Done(run)),
            Claim::Job(job) => {
                let run = Box::new(job.run.clone());
                let spawner = &self.inner.dependencies.spawner;
                let stop = spawner.token(Stage::Background);
                spawner.detach("aggregate.run", Stage::Background, async move {
                    job.run_to_end(&stop).await;
                });
                Ok(Beginning::Begun(run))
            }
        }
    }

    /// One run.
    pub async fn run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        self.inner.dependencies.store.run(id).await
    }

    /// A page of runs, newest first.
    pub async fn runs(&self, after: Option<RunId>, limit: u64) -> Result<Vec<Run>, StoreError> {
        self.inner.dependencies.store.runs(after, limit).await
    }

    /// Takes the lease for a run.
    async fn claim(&self, day: Day, cause: Cause, redo: Redo) -> Result<Claim, AggregateError> {
        let Dependencies { store, .. } = &self.inner.dependencies;
        let owner = Uuid::now_v7().to_string();
        let lease = (owner.as_str(), self.inner.settings.lease);
        for _ in 0..CLAIMS_MAX {
            match store.begin_run(day, cause, redo, lease).await? {
                Some(Begun::Now(run, abandoned)) => {
                    self.inner.report_abandoned(&abandoned);
                    tracing::info!(run.id = %run.id, day = %day.date, zone = %day.zone, "aggregation begins");
                    let job = AggregationJob::new(Arc::clone(&self.inner), *run);
                    return Ok(Claim::Job(Box::new(job)));
                }
                Some(Begun::Busy(run)) => return Err(AggregateError::Running(run)),
                Some(Begun::Done(run)) => return Ok(Claim::Done(run)),
                // The other run has ended.
                None => {}
            }
        }
        Err(AggregateError::Busy)
    }
}

/// The result of taking the lease.
enum Claim {
    Job(Box<AggregationJob>),
    Done(Box<Run>),
}

/// The day in a parameter.
fn named_day(
    parameter: &'static str,
    date: NaiveDate,
    zone: Zone,
    aggregator: &Aggregator,
) -> Result<Day, AggregateError> {
    let now = aggregator.inner.dependencies.clock.now();
    Day::within_a_year(date, zone, now).map_err(|error| AggregateError::Day(parameter, error))
}

impl Inner {
    fn report_abandoned(&self, runs: &[RunId]) {
        for id in runs {
            self.dependencies.metrics.ended("abandoned");
            let text = format!(
                "firstcome: aggregation run {id} was abandoned by its replica; the next run aggregates the day again"
            );
            self.alert(AlertKind::AggregationAbandoned, text);
        }
    }

    /// Sends an alert in a task of its own: nothing waits for it.
    fn alert(&self, kind: AlertKind, text: String) {
        tracing::error!(text, "aggregation failed");
        let alert = Alert { kind, text };
        let alerts = self.dependencies.alerts.clone();
        let spawner = &self.dependencies.spawner;
        spawner.detach("alert.send", Stage::Background, async move {
            alerts.send(&alert).await;
        });
    }
}

//! What days come to. A day is read from the rows themselves, or once from the rows and from then on
//! from what was kept of it: aggregated by one replica at a time, at a time of the day or when an admin
//! asks. The store says whose turn it is; nothing here trusts a replica's memory for that. Participations
//! and tallies are only read.

mod job;
mod kept;
mod metrics;
mod order;
mod reading;
mod schedule;
mod statistics;

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use tokio::sync::Semaphore;
use uuid::Uuid;

use self::job::Job;
use self::kept::KeptDays;
pub use self::metrics::Metrics;
pub use self::order::{Cursor, OrderAnalysis, Violation, ViolationKind, Violations};
pub use self::schedule::{Schedule, ScheduleError, start as start_schedule};
pub use self::statistics::{CampaignStatistics, DayStatistics, Method};
use crate::domain::{Day, DayError, RunId, Zone};
use crate::operate::alert::Alerts;
use crate::parts::store::{Begun, Cause, Redo, Run, Store, StoreError};
use crate::runtime::clock::Clock;
use crate::runtime::retry;
use crate::runtime::supervisor::{Spawner, Stage};

/// How often a run is asked for where the one that was in its way is over before it was found.
const CLAIMS_MAX: usize = 3;

/// How days are read and when they are aggregated.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose days are aggregated, and whose time the schedule is in.
    pub zone: Zone,
    /// When.
    pub schedule: Schedule,
    /// Days back, from yesterday, that are done when they were missed.
    pub catch_up_days: u32,
    /// Participations in one slice of a day.
    pub slice_rows: u32,
    /// Slices that are read at the same time.
    pub parallel_max: usize,
    /// How long the turn stays with a replica that says nothing.
    pub lease: Duration,
    /// How often, and how far apart, what failed is tried again.
    pub retry: retry::Policy,
    /// How long ended runs are remembered.
    pub runs_kept: Duration,
}

/// Everything it calls.
pub struct Parts {
    /// Where days are read from and kept.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// Starts runs.
    pub spawner: Spawner,
    /// Tells people of failures.
    pub alerts: Alerts,
    /// Counts.
    pub metrics: Metrics,
}

/// Reads and aggregates days.
#[derive(Clone)]
pub struct Aggregator {
    desk: Arc<Desk>,
}

struct Desk {
    parts: Parts,
    settings: Settings,
    /// Answers that read many rows: one at a time in each process.
    seat: Semaphore,
    /// Days that were asked for.
    kept: KeptDays,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AggregateError {
    /// The day is not one that is looked at; with the name of the parameter.
    #[error("the day in {0} cannot be looked at")]
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
    /// Another run is under way.
    #[error("run {} is under way", .0.id)]
    Running(Box<Run>),
    /// There is no such campaign.
    #[error("find the campaign")]
    UnknownCampaign,
    /// Somebody else has the seat.
    #[error("too many days are being read")]
    Busy,
    /// The store did not answer.
    #[error("use the store")]
    Store(#[from] StoreError),
}

/// What came of asking for a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It has begun.
    Begun(Box<Run>),
    /// It was done before.
    Done(Box<Run>),
}

impl Aggregator {
    /// Reads and aggregates days by these settings.
    #[must_use]
    pub fn new(parts: Parts, settings: Settings) -> Self {
        let desk = Desk {
            parts,
            settings,
            seat: Semaphore::new(1),
            kept: KeptDays::default(),
        };
        Self {
            desk: Arc::new(desk),
        }
    }

    /// The zone whose days are aggregated.
    #[must_use]
    pub fn zone(&self) -> Zone {
        self.desk.settings.zone
    }

    /// Begins to aggregate a day, yesterday if none is named, in a task of its own.
    pub async fn begin(
        &self,
        date: Option<NaiveDate>,
        redo: Redo,
    ) -> Result<Asked, AggregateError> {
        let zone = self.zone();
        let now = self.desk.parts.clock.now();
        let day = match date {
            Some(date) => named_day("date", date, zone, self)?,
            None => Day::of(now, zone).minus(1),
        };
        match self.claim(day, Cause::Admin, redo).await? {
            Claim::Done(run) => Ok(Asked::Done(run)),
            Claim::Job(job) => {
                let run = Box::new(job.run.clone());
                let spawner = &self.desk.parts.spawner;
                let stop = spawner.token(Stage::Background);
                spawner.detach("aggregate.run", Stage::Background, async move {
                    job.carry_out(&stop).await;
                });
                Ok(Asked::Begun(run))
            }
        }
    }

    /// One run.
    pub async fn run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        self.desk.parts.store.run(id).await
    }

    /// A page of runs, newest first.
    pub async fn runs(&self, after: Option<RunId>, limit: u64) -> Result<Vec<Run>, StoreError> {
        self.desk.parts.store.runs(after, limit).await
    }

    /// Takes the turn for a day.
    async fn claim(&self, day: Day, cause: Cause, redo: Redo) -> Result<Claim, AggregateError> {
        let Parts { store, .. } = &self.desk.parts;
        let owner = Uuid::now_v7().to_string();
        let turn = (owner.as_str(), self.desk.settings.lease);
        for _ in 0..CLAIMS_MAX {
            match store.begin_run(day, cause, redo, turn).await? {
                Some(Begun::Now(run, abandoned)) => {
                    self.desk.tell_abandoned(&abandoned);
                    tracing::info!(run.id = %run.id, day = %day.date, zone = %day.zone, "aggregation begins");
                    return Ok(Claim::Job(Job::new(Arc::clone(&self.desk), *run)));
                }
                Some(Begun::Busy(run)) => return Err(AggregateError::Running(run)),
                Some(Begun::Done(run)) => return Ok(Claim::Done(run)),
                // What was in the way is over.
                None => {}
            }
        }
        Err(AggregateError::Busy)
    }
}

/// What came of the wish to take the turn.
enum Claim {
    Job(Job),
    Done(Box<Run>),
}

/// A day that is looked at, from the parameter of that name.
fn named_day(
    parameter: &'static str,
    date: NaiveDate,
    zone: Zone,
    aggregator: &Aggregator,
) -> Result<Day, AggregateError> {
    let now = aggregator.desk.parts.clock.now();
    Day::within_a_year(date, zone, now).map_err(|error| AggregateError::Day(parameter, error))
}

impl Desk {
    fn tell_abandoned(&self, runs: &[RunId]) {
        for id in runs {
            self.parts.metrics.ended("abandoned");
            self.alarm(format!(
                "firstcome: aggregation run {id} was abandoned by its replica; the day is taken up again"
            ));
        }
    }

    /// Tells people, in a task of its own: nothing waits for that.
    fn alarm(&self, text: String) {
        tracing::error!(text, "aggregation failed");
        let alerts = self.parts.alerts.clone();
        let spawner = &self.parts.spawner;
        spawner.detach("alert.send", Stage::Background, async move {
            alerts.send(&text).await;
        });
    }
}

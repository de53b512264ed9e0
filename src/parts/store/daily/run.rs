//! A run of the daily aggregation, read from its row.

use sea_orm::{FromQueryResult, QueryResult};
use serde::{Deserialize, Serialize};

use crate::domain::words::words;
use crate::domain::{CampaignId, Day, RunId, Timestamp, Zone};
use crate::parts::store::StoreError;
use crate::parts::store::entity::daily_run::Model;
use crate::parts::store::json::from_text;
use crate::parts::store::numbers::to_unsigned;
use crate::parts::store::unreadable::parse;

/// The code of a run whose replica died, or lost its lease.
pub(super) const ABANDONED: &str = "ABANDONED";

words! {
    /// The state of a run.
    pub enum RunState {
        /// It runs.
        Started = "STARTED",
        /// All campaigns of the day are written.
        Completed = "COMPLETED",
        /// Some are not.
        Failed = "FAILED",
    }
}

words! {
    /// Why a run began.
    pub enum Cause {
        /// It was time.
        Schedule = "schedule",
        /// It replaces a scheduled run that did not happen.
        CatchUp = "catch_up",
        /// An admin asked for it.
        Admin = "admin",
    }
}

/// The progress of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The part of the day that was read, in percent.
    pub percent: u32,
    /// Participations read.
    pub participations: u64,
    /// Campaigns to write; 0 until the day is completely read.
    pub campaigns: u64,
    /// Campaigns written.
    pub campaigns_done: u64,
    /// Campaigns that could not be written.
    pub campaigns_failed: u64,
}

/// A campaign that could not be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFailure {
    /// The campaign.
    pub campaign: i64,
    /// The kind of failure, as a code.
    pub code: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the other fields are what their names say")]
pub struct Run {
    pub id: RunId,
    pub day: Day,
    pub state: RunState,
    pub cause: Cause,
    /// Unique.
    pub owner: String,
    /// When it began, by the database's clock.
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub progress: Progress,
    /// Campaigns that could not be written; the first ones only.
    pub failures: Vec<RunFailure>,
    /// Why it failed, as a code.
    pub error: Option<String>,
}

/// The result of a request to aggregate a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// A run has begun; these earlier runs were abandoned.
    Now(Box<Run>, Vec<RunId>),
    /// Another run is in progress.
    Busy(Box<Run>),
    /// The day is already aggregated.
    Done(Box<Run>),
}

/// Whether an aggregated day is aggregated again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redo {
    /// It is not.
    No,
    /// It is.
    Yes,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunResult {
    /// Its progress.
    pub progress: Progress,
    /// Campaigns that could not be written; the first ones only.
    pub failures: Vec<RunFailure>,
    /// Why it failed; none: it did not fail.
    pub error: Option<&'static str>,
    /// Whether the day had ended when it began.
    pub is_whole_day: bool,
}

/// The current state of a run: an unfinished run without a valid lease is abandoned.
pub(super) fn run(row: &QueryResult) -> Result<Run, StoreError> {
    let lease_until: Option<Timestamp> = row.try_get("", "lease_until")?;
    let is_alive: Option<i64> = row.try_get("", "is_alive")?;
    let row = Model::from_query_result(row, "")?;
    let zone = |zone: &str| zone.parse::<Zone>().ok();
    let failures = row.failures.as_deref();
    let failures = failures.map(|text| from_text("the failures of a run", text));
    let mut run = Run {
        id: RunId(row.id),
        day: Day {
            date: row.day,
            zone: parse("the zone of a run", &row.zone, zone)?,
        },
        state: parse("the state of a run", &row.state, RunState::parse)?,
        cause: parse("the cause of a run", &row.cause, Cause::parse)?,
        owner: row.owner,
        started_at: row.started_at,
        finished_at: row.finished_at,
        progress: Progress {
            percent: row.percent.unsigned_abs(),
            participations: to_unsigned(row.participations),
            campaigns: to_unsigned(row.campaigns),
            campaigns_done: to_unsigned(row.campaigns_done),
            campaigns_failed: to_unsigned(row.campaigns_failed),
        },
        failures: failures.transpose()?.unwrap_or_default(),
        error: row.error,
    };
    if run.state == RunState::Started && is_alive != Some(1) {
        run.state = RunState::Failed;
        run.error = Some(ABANDONED.to_owned());
        run.finished_at = lease_until;
    }
    Ok(run)
}

impl RunFailure {
    /// A campaign and its kind of failure.
    #[must_use]
    pub fn of(campaign: CampaignId, error: &StoreError) -> Self {
        Self {
            campaign: campaign.0,
            code: error.code().to_owned(),
        }
    }
}

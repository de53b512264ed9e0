//! A run of the daily aggregation: where it stands, how it ended, and how it is read from its row.

use chrono::NaiveDate;
use sea_orm::QueryResult;
use serde::{Deserialize, Serialize};

use super::rows::read_text;
use crate::domain::words::words;
use crate::domain::{CampaignId, Day, Instant, RunId, Zone};
use crate::parts::store::StoreError;
use crate::parts::store::campaigns::to_unsigned;

/// The code of a run whose replica died, or could not keep its lease.
pub(super) const ABANDONED: &str = "ABANDONED";

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It runs.
    Started,
    /// All campaigns of the day are written.
    Completed,
    /// Some are not.
    Failed,
}

words!(RunState {
    Started = "STARTED",
    Completed = "COMPLETED",
    Failed = "FAILED",
});

/// Why a run was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was time.
    Schedule,
    /// Nobody had done the day when it was time.
    CatchUp,
    /// An admin asked for it.
    Admin,
}

words!(Cause {
    Schedule = "schedule",
    CatchUp = "catch_up",
    Admin = "admin",
});

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Of the reading, in percent of the day.
    pub percent: u32,
    /// Participations read.
    pub participations: u64,
    /// Campaigns to be written; 0 until all is read.
    pub campaigns: u64,
    /// Campaigns written.
    pub campaigns_done: u64,
    /// Campaigns that could not be.
    pub campaigns_failed: u64,
}

/// A campaign that could not be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFailure {
    /// Which.
    pub campaign: i64,
    /// The kind of failure for programs.
    pub code: String,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// What it aggregates.
    pub day: Day,
    /// Where it stands.
    pub state: RunState,
    /// Why it was begun.
    pub cause: Cause,
    /// Unlike any other's.
    pub owner: String,
    /// When it began, by the database's clock.
    pub started_at: Instant,
    /// When it ended.
    pub finished_at: Option<Instant>,
    /// How far it has come.
    pub progress: Progress,
    /// Campaigns that could not be written, the first of them.
    pub failures: Vec<RunFailure>,
    /// Why it failed, for programs.
    pub error: Option<String>,
}

/// What came of the wish to aggregate a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// A run has begun; these before it were abandoned.
    Now(Box<Run>, Vec<RunId>),
    /// Another one runs.
    Busy(Box<Run>),
    /// The day is done.
    Done(Box<Run>),
}

/// Whether a day that is done is done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redo {
    /// It stays as it is.
    No,
    /// It is read again.
    Yes,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How far it has come.
    pub progress: Progress,
    /// Campaigns that could not be written, the first of them.
    pub failures: Vec<RunFailure>,
    /// Why it failed; none: it did not.
    pub error: Option<&'static str>,
    /// Whether the day was over when it began.
    pub is_whole_day: bool,
}

/// A run as it stands: one that is not over and has no lease any more is abandoned.
pub(super) fn run(row: &QueryResult) -> Result<Run, StoreError> {
    let unreadable = |what, value: &str| StoreError::Unreadable {
        what,
        value: value.to_owned(),
    };
    let zone: String = row.try_get("", "zone")?;
    let state: String = row.try_get("", "state")?;
    let cause: String = row.try_get("", "cause")?;
    let date: NaiveDate = row.try_get("", "day")?;
    let failures: Option<String> = row.try_get("", "failures")?;
    let number =
        |column: &str| -> Result<u64, StoreError> { Ok(to_unsigned(row.try_get("", column)?)) };
    let percent: i32 = row.try_get("", "percent")?;
    let is_alive: Option<i64> = row.try_get("", "is_alive")?;
    let mut run = Run {
        id: RunId(row.try_get("", "id")?),
        day: Day {
            date,
            zone: zone
                .parse::<Zone>()
                .map_err(|_| unreadable("the zone of a run", &zone))?,
        },
        state: RunState::parse(&state).ok_or_else(|| unreadable("the state of a run", &state))?,
        cause: Cause::parse(&cause).ok_or_else(|| unreadable("the cause of a run", &cause))?,
        owner: row.try_get("", "owner")?,
        started_at: row.try_get("", "started_at")?,
        finished_at: row.try_get("", "finished_at")?,
        progress: Progress {
            percent: percent.unsigned_abs(),
            participations: number("participations")?,
            campaigns: number("campaigns")?,
            campaigns_done: number("campaigns_done")?,
            campaigns_failed: number("campaigns_failed")?,
        },
        failures: match failures {
            Some(text) => read_text("the failures of a run", &text)?,
            None => Vec::new(),
        },
        error: row.try_get("", "error")?,
    };
    if run.state == RunState::Started && is_alive != Some(1) {
        run.state = RunState::Failed;
        run.error = Some(ABANDONED.to_owned());
        run.finished_at = row.try_get("", "lease_until")?;
    }
    Ok(run)
}

impl RunFailure {
    /// A campaign, and what kind of failure it was.
    #[must_use]
    pub fn of(campaign: CampaignId, error: &StoreError) -> Self {
        Self {
            campaign: campaign.0,
            code: error.code().to_owned(),
        }
    }
}

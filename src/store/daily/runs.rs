//! Runs of the daily aggregation, and whose turn it is. One runs at a time, by a lease on the database's
//! clock; a run whose lease is over is abandoned, whoever looks at it, and writes nothing any more: each
//! of its transactions begins by holding the lease.

use std::time::Duration;

use chrono::NaiveDate;
use sea_orm::{QueryResult, Value};
use serde::{Deserialize, Serialize};

use super::rows::{merge, read_text};
use crate::domain::campaign::words;
use crate::domain::{CampaignId, Day, Instant, RunId, Zone};
use crate::store::bounded::Tx;
use crate::store::campaigns::{to_signed, to_unsigned};
use crate::store::outbox::Sql;
use crate::store::{Store, StoreError};

/// What the duty is called.
const DUTY: &str = "aggregation";
/// The code of a run whose replica died, or could not keep its lease.
const ABANDONED: &str = "ABANDONED";
/// Runs deleted in one statement at most.
const PURGED_MAX: u32 = 500;

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

const READ: &str = "SELECT r.id, r.zone, r.day, r.state, r.cause, r.owner, r.started_at, r.finished_at, \
     r.percent, r.participations, r.campaigns, r.campaigns_done, r.campaigns_failed, r.failures, r.error, \
     d.expires_at AS lease_until, d.expires_at > ";
const FROM: &str = " AS is_alive FROM daily_run r \
     LEFT JOIN duty d ON d.name = 'aggregation' AND d.owner = r.owner WHERE ";

impl Store {
    /// Begins a run for a day, unless one runs already or the day is done. The lease and the run are
    /// taken together, so that who finds the lease taken finds the run, too.
    pub async fn begin_run(
        &self,
        day: Day,
        cause: Cause,
        redo: Redo,
        (owner, term): (&str, Duration),
    ) -> Result<Option<Begun>, StoreError> {
        let tx = self.begin().await?;
        if !self.take_duty_on(&tx, DUTY, owner, term).await? {
            tx.rollback().await?;
            let running = self.running().await?;
            return Ok(running.map(|run| Begun::Busy(Box::new(run))));
        }
        if redo == Redo::No
            && let Some(done) = run_that_did(self, &tx, day).await?
        {
            tx.rollback().await?;
            return Ok(Some(Begun::Done(Box::new(done))));
        }
        let abandoned = abandon(self, &tx).await?;
        let id = insert(self, &tx, day, cause, owner).await?;
        let mut sql = Sql::new(self, READ);
        sql.now().push(FROM).push("r.id = ").bind(id);
        let run = first_run(&sql.rows(&tx).await?)?;
        tx.commit().await?;
        Ok(run.map(|run| Begun::Now(Box::new(run), abandoned)))
    }

    /// The run that has the lease.
    pub async fn running(&self) -> Result<Option<Run>, StoreError> {
        let mut sql = Sql::new(self, READ);
        sql.now()
            .push(FROM)
            .push("r.state = 'STARTED' AND d.expires_at > ")
            .now();
        first_run(&sql.rows(self.connection()).await?)
    }

    /// Keeps the lease of a run for so long, and writes down how far it has come. False: it has lost it.
    pub async fn renew_run(
        &self,
        run: &Run,
        term: Duration,
        progress: &Progress,
    ) -> Result<bool, StoreError> {
        let mut keep = Sql::new(self, "UPDATE duty SET expires_at = ");
        keep.after(term).push(" WHERE name = ").bind(DUTY);
        keep.push(" AND owner = ").bind(run.owner.as_str());
        keep.push(" AND expires_at > ").now();
        if keep.run(self.connection()).await? == 0 {
            return Ok(false);
        }
        let mut note = Sql::new(self, "UPDATE daily_run SET ");
        set_progress(&mut note, progress);
        note.push(" WHERE id = ").bind(run.id.0);
        note.push(" AND state = 'STARTED'");
        Ok(note.run(self.connection()).await? == 1)
    }

    /// Ends a run, says of its day that it is done, and gives the lease back. False: it has lost it.
    pub async fn end_run(&self, run: &Run, ended: &Ended) -> Result<bool, StoreError> {
        let failures =
            serde_json::to_string(&ended.failures).map_err(|error| StoreError::Unreadable {
                what: "the failures of a run",
                value: error.to_string(),
            })?;
        let state = match ended.error {
            None => RunState::Completed,
            Some(_) => RunState::Failed,
        };
        let tx = self.begin().await?;
        if !hold(self, &tx, run).await? {
            tx.rollback().await?;
            return Ok(false);
        }
        let mut end = Sql::new(self, "UPDATE daily_run SET ");
        set_progress(&mut end, &ended.progress);
        end.push(", state = ").bind(state.as_str());
        end.push(", finished_at = ").now();
        end.push(", failures = ").bind(failures);
        end.push(", error = ").bind(ended.error);
        end.push(" WHERE id = ").bind(run.id.0);
        end.run(&tx).await?;
        if ended.progress.campaigns_done > 0 || state == RunState::Completed {
            let is_complete = ended.is_whole_day && state == RunState::Completed;
            note_day(self, &tx, run, is_complete).await?;
        }
        let mut give_back = Sql::new(self, "UPDATE duty SET expires_at = ");
        give_back.now().push(" WHERE name = ").bind(DUTY);
        give_back.run(&tx).await?;
        Ok(tx.commit().await.map(|()| true)?)
    }

    /// One run.
    pub async fn run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        let mut sql = Sql::new(self, READ);
        sql.now().push(FROM).push("r.id = ").bind(id.0);
        first_run(&sql.rows(self.connection()).await?)
    }

    /// A page of runs, newest first.
    pub async fn runs(&self, after: Option<RunId>, limit: u64) -> Result<Vec<Run>, StoreError> {
        let mut sql = Sql::new(self, READ);
        sql.now().push(FROM).push("r.id < ");
        sql.bind(after.map_or(i64::MAX, |after| after.0));
        sql.push(" ORDER BY r.id DESC LIMIT ")
            .bind(to_signed(limit));
        let rows = sql.rows(self.connection()).await?;
        rows.iter().map(run).collect()
    }

    /// Deletes runs that ended before a time, some of them: how many.
    pub async fn purge_runs(&self, before: Instant) -> Result<u64, StoreError> {
        let mut find = Sql::new(self, "SELECT id FROM daily_run WHERE finished_at < ");
        find.bind(before)
            .push(" ORDER BY id LIMIT ")
            .bind(PURGED_MAX);
        let rows = find.rows(self.connection()).await?;
        let ids: Vec<i64> = rows
            .iter()
            .map(|row| row.try_get("", "id"))
            .collect::<Result<_, _>>()?;
        if ids.is_empty() {
            return Ok(0);
        }
        let mut delete = Sql::new(self, "DELETE FROM daily_run WHERE id IN ");
        delete.list(ids).run(self.connection()).await
    }
}

/// Holds the lease for the rest of a transaction. False: it is over, or another's.
pub(super) async fn hold(store: &Store, tx: &Tx, run: &Run) -> Result<bool, StoreError> {
    let mut sql = Sql::new(store, "UPDATE duty SET owner = owner WHERE name = ");
    sql.bind(DUTY).push(" AND owner = ");
    sql.bind(run.owner.as_str())
        .push(" AND expires_at > ")
        .now();
    Ok(sql.run(tx).await? == 1)
}

/// The run by which a day is done, while it is remembered.
async fn run_that_did(store: &Store, tx: &Tx, day: Day) -> Result<Option<Run>, StoreError> {
    let mut sql = Sql::new(store, READ);
    sql.now().push(FROM);
    sql.push("r.id = (SELECT run_id FROM daily_day WHERE is_complete AND zone = ");
    sql.bind(day.zone.name()).push(" AND day = ").bind(day.date);
    first_run(&sql.push(")").rows(tx).await?)
}

/// Who holds the lease and has not begun yet knows that nobody else runs.
async fn abandon(store: &Store, tx: &Tx) -> Result<Vec<RunId>, StoreError> {
    let mut find = Sql::new(store, "SELECT id FROM daily_run WHERE state = 'STARTED'");
    let mut abandoned = Vec::new();
    for row in find.rows(tx).await? {
        let id: i64 = row.try_get("", "id")?;
        let mut fail = Sql::new(store, "UPDATE daily_run SET state = 'FAILED', error = ");
        fail.bind(ABANDONED).push(", finished_at = ").now();
        fail.push(" WHERE id = ").bind(id).run(tx).await?;
        abandoned.push(RunId(id));
    }
    Ok(abandoned)
}

async fn insert(
    store: &Store,
    tx: &Tx,
    day: Day,
    cause: Cause,
    owner: &str,
) -> Result<i64, StoreError> {
    let mut sql = Sql::new(
        store,
        "INSERT INTO daily_run (zone, day, state, cause, owner, started_at) VALUES (",
    );
    sql.bind(day.zone.name()).push(",").bind(day.date);
    sql.push(",'STARTED',").bind(cause.as_str());
    sql.push(",").bind(owner).push(",").now().push(")");
    sql.run(tx).await?;
    // The one that has this owner: no two databases tell alike what number a row was given.
    let mut find = Sql::new(
        store,
        "SELECT MAX(id) AS id FROM daily_run WHERE state = 'STARTED' AND owner = ",
    );
    let rows = find.bind(owner).rows(tx).await?;
    match rows.first() {
        Some(row) => Ok(row.try_get("", "id")?),
        None => Err(StoreError::Unreadable {
            what: "the run just begun",
            value: owner.to_owned(),
        }),
    }
}

async fn note_day(store: &Store, tx: &Tx, run: &Run, is_complete: bool) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        store,
        "INSERT INTO daily_day (zone, day, run_id, aggregated_at, is_complete) VALUES (",
    );
    sql.bind(run.day.zone.name()).push(",").bind(run.day.date);
    sql.push(",").bind(run.id.0).push(",").bind(run.started_at);
    sql.push(",").bind(is_complete).push(")");
    merge(
        store,
        &mut sql,
        "zone, day",
        &["run_id", "aggregated_at", "is_complete"],
    );
    sql.run(tx).await?;
    Ok(())
}

fn set_progress(sql: &mut Sql, progress: &Progress) {
    let columns: [(&str, Value); 5] = [
        ("percent = ", progress.percent.into()),
        (
            "participations = ",
            to_signed(progress.participations).into(),
        ),
        ("campaigns = ", to_signed(progress.campaigns).into()),
        (
            "campaigns_done = ",
            to_signed(progress.campaigns_done).into(),
        ),
        (
            "campaigns_failed = ",
            to_signed(progress.campaigns_failed).into(),
        ),
    ];
    for (nth, (column, value)) in columns.into_iter().enumerate() {
        sql.push(if nth == 0 { "" } else { ", " }).push(column);
        sql.bind(value);
    }
}

fn first_run(rows: &[QueryResult]) -> Result<Option<Run>, StoreError> {
    rows.first().map(run).transpose()
}

/// A run as it stands: one that is not over and has no lease any more is abandoned.
fn run(row: &QueryResult) -> Result<Run, StoreError> {
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

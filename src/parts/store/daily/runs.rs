//! Runs of the daily aggregation, and whose turn it is. One runs at a time, by a lease on the database's
//! clock; a run whose lease is over is abandoned, whoever looks at it, and writes nothing any more: each
//! of its transactions holds the lease when it commits.

use std::time::Duration;

use sea_orm::{QueryResult, Value};

use super::run::{ABANDONED, Begun, Cause, Ended, Progress, Redo, Run, RunState, run};
use crate::domain::{Day, RunId};
use crate::parts::store::bounded::Tx;
use crate::parts::store::campaigns::to_signed;
use crate::parts::store::outbox::Sql;
use crate::parts::store::{Store, StoreError};

/// What the duty is called.
const DUTY: &str = "aggregation";
/// Runs deleted in one statement at most.
const PURGED_MAX: u32 = 500;

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

    /// Deletes runs that ended longer ago than `age` by the database's clock, some of them: how many.
    pub async fn purge_runs(&self, age: Duration) -> Result<u64, StoreError> {
        let mut find = Sql::new(self, "SELECT id FROM daily_run WHERE finished_at < ");
        find.before(age)
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
        delete.list(ids).push(" AND finished_at < ");
        delete.before(age).run(self.connection()).await
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
    sql.or_replace("zone, day", &["run_id", "aggregated_at", "is_complete"]);
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

//! Runs of the daily aggregation. One runs at a time, by a lease on the database's clock. A run whose lease has ended
//! is abandoned and writes nothing any more, because each of its transactions checks and locks the lease.

use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait, IntoCondition};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, JoinType, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait, Select, UpdateMany,
};

use super::run::{ABANDONED, Begun, Cause, Progress, Redo, Run, RunResult, RunState, run};
use crate::domain::{Day, RunId};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::daily_run::{ActiveModel, Column, Entity};
use crate::parts::store::entity::{daily_day, duty, insert, purge};
use crate::parts::store::json::to_text;
use crate::parts::store::numbers::{narrow, to_signed};
use crate::parts::store::query::or_replace;
use crate::parts::store::{Store, StoreError, Term};

/// The name of the lease.
const TASK: &str = "aggregation";
/// Maximum number of runs deleted by one statement.
const PURGED_MAX: u64 = 500;
const STARTED: &str = RunState::Started.as_str();

impl Store {
    /// Begins a run for a day, unless a run is active or the day is already aggregated. One transaction takes the
    /// lease and inserts the run, so that a replica that finds the lease taken also finds the run.
    pub async fn begin_run(
        &self,
        day: Day,
        cause: Cause,
        redo: Redo,
        (owner, term): (&str, Duration),
    ) -> Result<Option<Begun>, StoreError> {
        let tx = self.begin().await?;
        if !self
            .take_task_lease_on(&tx, TASK, owner, Term::Varying(term))
            .await?
        {
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
        let id = begin(self, &tx, day, cause, owner).await?;
        let run = first(find(self).filter(Column::Id.eq(id)), &tx).await?;
        tx.commit().await?;
        Ok(run.map(|run| Begun::Now(Box::new(run), abandoned)))
    }

    /// The run that has the lease.
    pub async fn running(&self) -> Result<Option<Run>, StoreError> {
        let is_alive = Expr::col((duty::Entity, duty::Column::ExpiresAt)).gt(self.now_expr());
        let running = find(self)
            .filter(Column::State.eq(STARTED))
            .filter(is_alive);
        first(running, &self.db).await
    }

    /// Renews the lease of a run for this long and stores its progress. False: the run has lost the lease.
    pub async fn renew_run(
        &self,
        run: &Run,
        term: Duration,
        progress: &Progress,
    ) -> Result<bool, StoreError> {
        let kept = lease(self, run)
            .col_expr(duty::Column::ExpiresAt, self.after(term))
            .exec(&self.db)
            .await?;
        if kept.rows_affected == 0 {
            return Ok(false);
        }
        let noted = Entity::update_many()
            .set(progress_row(progress))
            .filter(Column::Id.eq(run.id.0))
            .filter(Column::State.eq(STARTED))
            .exec(&self.db)
            .await?;
        Ok(noted.rows_affected == 1)
    }

    /// Ends a run, marks its day as done, and releases the lease. False: the run has lost the lease.
    pub async fn end_run(&self, run: &Run, ended: &RunResult) -> Result<bool, StoreError> {
        let failures = to_text("the failures of a run", &ended.failures)?;
        let state = match ended.error {
            None => RunState::Completed,
            Some(_) => RunState::Failed,
        };
        let tx = self.begin().await?;
        if !hold(self, &tx, run).await? {
            tx.rollback().await?;
            return Ok(false);
        }
        let row = ActiveModel {
            state: Set(state.as_str().to_owned()),
            failures: Set(Some(failures)),
            error: Set(ended.error.map(str::to_owned)),
            ..progress_row(&ended.progress)
        };
        Entity::update_many()
            .set(row)
            .col_expr(Column::FinishedAt, self.now_expr())
            .filter(Column::Id.eq(run.id.0))
            .exec(&tx)
            .await?;
        if ended.progress.campaigns_done > 0 || state == RunState::Completed {
            let is_complete = ended.is_whole_day && state == RunState::Completed;
            note_day(&tx, run, is_complete).await?;
        }
        duty::Entity::update_many()
            .col_expr(duty::Column::ExpiresAt, self.now_expr())
            .filter(duty::Column::Name.eq(TASK))
            .exec(&tx)
            .await?;
        Ok(tx.commit().await.map(|()| true)?)
    }

    /// One run.
    pub async fn run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        first(find(self).filter(Column::Id.eq(id.0)), &self.db).await
    }

    /// A page of runs, newest first.
    pub async fn runs(&self, after: Option<RunId>, limit: u64) -> Result<Vec<Run>, StoreError> {
        let runs = find(self)
            .filter(Column::Id.lt(after.map_or(i64::MAX, |after| after.0)))
            .order_by_desc(Column::Id)
            .limit(limit);
        let rows = self.db.query_all(runs.as_query()).await?;
        rows.iter().map(run).collect()
    }

    /// Deletes runs that ended longer ago than `age` by the database's clock, a bounded number of them. Returns their
    /// number.
    pub async fn purge_runs(&self, age: Duration) -> Result<u64, StoreError> {
        purge::<Entity>(self, (Column::Id, Column::FinishedAt), age, PURGED_MAX).await
    }
}

/// Protects the lease of a run from other owners until the transaction ends; transactions of the same run do not
/// block each other. False: the run has lost the lease.
pub(super) async fn share_lease(store: &Store, tx: &Tx, run: &Run) -> Result<bool, StoreError> {
    let held: Option<String> = duty::Entity::find()
        .select_only()
        .column(duty::Column::Owner)
        .filter(duty::Column::Name.eq(TASK))
        .filter(duty::Column::Owner.eq(run.owner.as_str()))
        .filter(Expr::col(duty::Column::ExpiresAt).gt(store.now_expr()))
        .lock_shared()
        .into_tuple()
        .one(tx)
        .await?;
    Ok(held.is_some())
}

/// Locks the lease of a run exclusively until the transaction ends. False: the run has lost the lease.
async fn hold(store: &Store, tx: &Tx, run: &Run) -> Result<bool, StoreError> {
    let held = lease(store, run).col_expr(duty::Column::Owner, Expr::col(duty::Column::Owner));
    Ok(held.exec(tx).await?.rows_affected == 1)
}

/// A change of the lease of a run, while it has one.
fn lease(store: &Store, run: &Run) -> UpdateMany<duty::Entity> {
    duty::Entity::update_many()
        .filter(duty::Column::Name.eq(TASK))
        .filter(duty::Column::Owner.eq(run.owner.as_str()))
        .filter(Expr::col(duty::Column::ExpiresAt).gt(store.now_expr()))
}

/// Runs, each with its lease if it has one.
fn find(store: &Store) -> Select<Entity> {
    let to_lease = Entity::belongs_to(duty::Entity)
        .from(Column::Owner)
        .to(duty::Column::Owner)
        .on_condition(|_, duty| {
            Expr::col((duty, duty::Column::Name))
                .eq(TASK)
                .into_condition()
        });
    let expires_at = || Expr::col((duty::Entity, duty::Column::ExpiresAt));
    Entity::find()
        .join(JoinType::LeftJoin, to_lease.into())
        .expr_as(expires_at(), "lease_until")
        .expr_as(expires_at().gt(store.now_expr()), "is_alive")
}

async fn first(runs: Select<Entity>, on: &impl ConnectionTrait) -> Result<Option<Run>, StoreError> {
    let row = on.query_one(runs.as_query()).await?;
    row.as_ref().map(run).transpose()
}

/// The run that completed a day, unless it is deleted.
async fn run_that_did(store: &Store, tx: &Tx, day: Day) -> Result<Option<Run>, StoreError> {
    let key = (day.zone.name().to_owned(), day.date);
    match daily_day::Entity::find_by_id(key).one(tx).await? {
        Some(done) if done.is_complete => {
            first(find(store).filter(Column::Id.eq(done.run_id)), tx).await
        }
        _ => Ok(None),
    }
}

/// The caller holds the lease and has not begun its run yet, so no other run is alive.
async fn abandon(store: &Store, tx: &Tx) -> Result<Vec<RunId>, StoreError> {
    let mut abandoned = Vec::new();
    let started = Entity::find().filter(Column::State.eq(STARTED));
    for run in started.all(tx).await? {
        let row = ActiveModel {
            state: Set(RunState::Failed.as_str().to_owned()),
            error: Set(Some(ABANDONED.to_owned())),
            ..ActiveModel::default()
        };
        Entity::update_many()
            .set(row)
            .col_expr(Column::FinishedAt, store.now_expr())
            .filter(Column::Id.eq(run.id))
            .exec(tx)
            .await?;
        abandoned.push(RunId(run.id));
    }
    Ok(abandoned)
}

async fn begin(
    store: &Store,
    tx: &Tx,
    day: Day,
    cause: Cause,
    owner: &str,
) -> Result<i64, StoreError> {
    let run = insert::<Entity, _>([
        (Column::Zone, day.zone.name().into()),
        (Column::Day, day.date.into()),
        (Column::State, STARTED.into()),
        (Column::Cause, cause.as_str().into()),
        (Column::Owner, owner.into()),
        (Column::StartedAt, store.now_expr()),
    ]);
    Ok(to_signed(tx.execute(&run).await?.last_insert_id()))
}

async fn note_day(tx: &Tx, run: &Run, is_complete: bool) -> Result<(), StoreError> {
    use daily_day::{ActiveModel, Entity};
    let day = ActiveModel {
        zone: Set(run.day.zone.name().to_owned()),
        day: Set(run.day.date),
        run_id: Set(run.id.0),
        aggregated_at: Set(run.started_at),
        is_complete: Set(is_complete),
    };
    Entity::insert(day)
        .on_conflict(or_replace::<Entity>())
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

fn progress_row(progress: &Progress) -> ActiveModel {
    ActiveModel {
        percent: Set(narrow(progress.percent)),
        participations: Set(to_signed(progress.participations)),
        campaigns: Set(to_signed(progress.campaigns)),
        campaigns_done: Set(to_signed(progress.campaigns_done)),
        campaigns_failed: Set(to_signed(progress.campaigns_failed)),
        ..ActiveModel::default()
    }
}

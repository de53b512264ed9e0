//! Deletes the old rows of a table that has no index by age: sweeps over all rows, page by page, with a pause after
//! each. One replica at a time does this, to save work. This module must not decide which rows are old: the store
//! does, by the database's clock.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::events::relay::Retention;
use crate::parts::store::{Store, StoreError, SweptPage, Term};
use crate::runtime::settings::{DAY, MINUTE};
use crate::runtime::supervisor::Spawner;
use crate::runtime::telemetry::cause;

/// How long the lease of a sweep lasts without renewal.
const TERM: Duration = MINUTE;
/// Pauses between sweeps in one retention. A pause is at most a day, because its lease would delay a shorter retention that
/// is set meanwhile. So a row is deleted late by at most a quarter of the retention, or a day, and the duration of a sweep.
const SWEEPS: u32 = 4;

/// A table whose old rows are deleted.
pub trait SweptTable: Clone + Debug + Send + Sync + 'static {
    /// The primary key.
    type Key: Clone + Debug + Send + Sync + 'static;
    /// The name of the task.
    const TASK: &'static str;
    /// The name of its lease.
    const LEASE: &'static str;
    /// What the rows are, for the log.
    const ROWS: &'static str;

    /// Reads at most `rows_max` rows after this one, and deletes those that are older than `age`.
    fn purge_page(
        store: &Store,
        after: Option<&Self::Key>,
        age: Duration,
        rows_max: u32,
    ) -> impl Future<Output = Result<SweptPage<Self::Key>, StoreError>> + Send;
}

/// A step of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Another replica has the task lease.
    NotOwner,
    /// Number of rows deleted on a page; more pages follow.
    Page(u64),
    /// Number of rows deleted on the last page.
    Last(u64),
}

/// Where a sweep is.
#[derive(Debug)]
struct Sweep<K> {
    after: Option<K>,
    read: u64,
    deleted: u64,
}

impl<K> Default for Sweep<K> {
    fn default() -> Self {
        Self {
            after: None,
            read: 0,
            deleted: 0,
        }
    }
}

/// Deletes the old rows of a table.
#[derive(Clone, Debug)]
pub struct TablePurger<T: SweptTable> {
    store: Store,
    /// Age from which a row is deleted; zero: never.
    age: Duration,
    /// The pace of deleting.
    retention: Retention,
    sweep: Arc<Mutex<Sweep<T::Key>>>,
}

impl<T: SweptTable> TablePurger<T> {
    /// Deletes rows of this store from this age on, at the pace of `retention`.
    #[must_use]
    pub fn new(store: Store, age: Duration, retention: Retention) -> Self {
        Self {
            store,
            age,
            retention,
            sweep: Arc::default(),
        }
    }

    /// Starts the task, unless all rows are kept.
    pub fn start(self, spawner: &Spawner) {
        if self.age.is_zero() {
            return;
        }
        let owner = Uuid::now_v7().to_string();
        let interval = self.retention.interval;
        spawner.repeat(T::TASK, interval, move |_stop| {
            let (keeper, owner) = (self.clone(), owner.clone());
            async move { keeper.step(&owner).await }
        });
    }

    /// Takes one step. Returns the pause after it.
    async fn step(&self, owner: &str) -> Duration {
        let began = Instant::now();
        match self.sweep_page(owner).await {
            Ok(Step::NotOwner) => self.retention.interval,
            Ok(Step::Page(_)) => self.retention.rest(began.elapsed()),
            Ok(Step::Last(_)) => self.between(),
            Err(error) => {
                tracing::warn!(
                    error = cause(&error),
                    "old {} were not deleted; it will be retried",
                    T::ROWS
                );
                self.retention.interval
            }
        }
    }

    /// Reads a page and deletes its old rows, if this replica has the task lease. After the last page it keeps the
    /// lease until the next sweep is due, so that no other replica begins one before.
    pub async fn sweep_page(&self, owner: &str) -> Result<Step, StoreError> {
        if !self
            .store
            .take_task_lease(T::LEASE, owner, Term::Varying(TERM))
            .await?
        {
            // The other replica starts a new sweep, and so will this one.
            *self.lock() = Sweep::default();
            return Ok(Step::NotOwner);
        }
        let (age, rows_max) = (self.age, self.retention.rows_max);
        let after = self.lock().after.clone();
        let page = T::purge_page(&self.store, after.as_ref(), age, rows_max).await?;
        let Some(Sweep { read, deleted, .. }) = self.advance(&page) else {
            return Ok(Step::Page(page.deleted));
        };
        if deleted > 0 {
            tracing::info!(read, deleted, "old {} deleted", T::ROWS);
        }
        self.store
            .take_task_lease(T::LEASE, owner, Term::Varying(self.between()))
            .await?;
        Ok(Step::Last(page.deleted))
    }

    /// The pause between two sweeps.
    fn between(&self) -> Duration {
        between(self.age, self.retention.interval)
    }

    /// The sweep has read a page. Returns the sweep if that was the last one.
    fn advance(&self, page: &SweptPage<T::Key>) -> Option<Sweep<T::Key>> {
        let mut sweep = self.lock();
        sweep.read += page.read;
        sweep.deleted += page.deleted;
        sweep.after.clone_from(&page.last);
        page.last.is_none().then(|| std::mem::take(&mut *sweep))
    }

    fn lock(&self) -> MutexGuard<'_, Sweep<T::Key>> {
        self.sweep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn between(age: Duration, interval: Duration) -> Duration {
    (age / SWEEPS).max(interval).min(DAY.max(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_follow_each_other_after_a_quarter_of_the_retention() {
        assert_eq!(between(DAY * 2, MINUTE), DAY / 2);
        // A shorter retention takes effect within a day.
        assert_eq!(between(DAY * 365, MINUTE), DAY);
        assert_eq!(between(MINUTE, MINUTE), MINUTE);
    }

    #[test]
    fn statements_run_in_a_tenth_of_the_time() {
        let retention = Retention {
            interval: MINUTE,
            busy_percent_max: 10,
            ..Retention::default()
        };
        let pause = |millis| retention.rest(Duration::from_millis(millis));
        assert_eq!(pause(10), Duration::from_millis(90));
        assert_eq!(pause(60_000), MINUTE);
    }
}

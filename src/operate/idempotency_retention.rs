//! Deletes old idempotency keys: sweeps over all keys, page by page, with a pause after each. One replica at a time
//! does this, to save work. This module must not decide what a key means: a deleted key counts as a new one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::events::relay::Retention;
use crate::parts::store::{KeyPage, Store, StoreError, UserKey};
use crate::runtime::settings::{DAY, MINUTE, settings};
use crate::runtime::supervisor::Spawner;
use crate::runtime::telemetry::cause;

const TASK: &str = "idempotency_keys";
/// How long the lease of this task lasts without renewal during a sweep.
const TERM: Duration = MINUTE;
/// Pauses between sweeps in one retention. So a key is deleted late by at most a quarter of the retention and the duration
/// of a sweep, and is read five times.
const SWEEPS: u32 = 4;
/// Shortest retention. A client that lost a response repeats its request soon.
const LEAST: Duration = Duration::from_secs(60 * 60);

settings! {
    /// `[idempotency]`: the retention of idempotency keys.
    IdempotencyConfig in "idempotency" {
        /// How long an `Idempotency-Key` is remembered at least; it is deleted up to about a quarter of that later. A
        /// request that repeats a deleted key is a new one. Must be longer than clients retry a request: at least an
        /// hour, and more than `http.request_timeout` and `gate.lease` together. `0s` keeps all keys
        retention: Duration = DAY * 7, in ..=DAY * 36_500;
    }
}

impl IdempotencyConfig {
    /// Checks the rules that involve several settings; `attempt_max` is the longest time of one request.
    pub fn check(&self, attempt_max: Duration, require: &mut impl FnMut(bool, &str)) {
        let keeps_all = self.retention.is_zero();
        require(
            keeps_all || self.retention >= LEAST,
            "idempotency.retention: must be at least 1h, or 0s to keep all keys",
        );
        require(
            keeps_all || self.retention > attempt_max,
            "idempotency.retention: must be longer than http.request_timeout and gate.lease together",
        );
    }
}

/// A step of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Another replica has the task lease.
    NotOwner,
    /// Number of keys deleted on a page; more pages follow.
    Page(u64),
    /// Number of keys deleted on the last page.
    Last(u64),
}

/// Where a sweep is.
#[derive(Debug, Default)]
struct Sweep {
    after: Option<UserKey>,
    read: u64,
    deleted: u64,
}

/// Deletes old keys.
#[derive(Clone, Debug)]
pub struct KeyPurger {
    store: Store,
    /// Age from which a key is deleted; zero: never.
    age: Duration,
    /// The pace of deleting.
    retention: Retention,
    sweep: Arc<Mutex<Sweep>>,
}

impl KeyPurger {
    /// Deletes keys of this store from this age on, at the pace of `retention`.
    #[must_use]
    pub fn new(store: Store, age: Duration, retention: Retention) -> Self {
        Self {
            store,
            age,
            retention,
            sweep: Arc::default(),
        }
    }

    /// Starts the task, unless all keys are kept.
    pub fn start(self, spawner: &Spawner) {
        if self.age.is_zero() {
            return;
        }
        let owner = Uuid::now_v7().to_string();
        let interval = self.retention.interval;
        spawner.repeat("idempotency.purge", interval, move |_stop| {
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
                    "old idempotency keys were not deleted; it will be retried"
                );
                self.retention.interval
            }
        }
    }

    /// Reads a page of keys and deletes the old ones, if this replica has the task lease. After the last page it keeps
    /// the lease until the next sweep is due, so that no other replica begins one before.
    pub async fn sweep_page(&self, owner: &str) -> Result<Step, StoreError> {
        if !self.store.take_task_lease(TASK, owner, TERM).await? {
            // The other replica starts a new sweep, and so will this one.
            *self.lock() = Sweep::default();
            return Ok(Step::NotOwner);
        }
        let (age, rows_max) = (self.age, self.retention.rows_max);
        let after = self.lock().after.clone();
        let page = self.store.purge_keys(after.as_ref(), age, rows_max).await?;
        let Some(Sweep { read, deleted, .. }) = self.advance(&page) else {
            return Ok(Step::Page(page.deleted));
        };
        if deleted > 0 {
            tracing::info!(read, deleted, "old idempotency keys deleted");
        }
        self.store
            .take_task_lease(TASK, owner, self.between())
            .await?;
        Ok(Step::Last(page.deleted))
    }

    /// The pause between two sweeps.
    fn between(&self) -> Duration {
        between(self.age, self.retention.interval)
    }

    /// The sweep has read a page. Returns the sweep if that was the last one.
    fn advance(&self, page: &KeyPage) -> Option<Sweep> {
        let mut sweep = self.lock();
        sweep.read += page.read;
        sweep.deleted += page.deleted;
        sweep.after.clone_from(&page.last);
        page.last.is_none().then(|| std::mem::take(&mut *sweep))
    }

    fn lock(&self) -> MutexGuard<'_, Sweep> {
        self.sweep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn between(age: Duration, interval: Duration) -> Duration {
    (age / SWEEPS).max(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_follow_each_other_after_a_quarter_of_the_retention() {
        assert_eq!(between(DAY * 8, MINUTE), DAY * 2);
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

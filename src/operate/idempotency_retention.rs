//! Deletes old idempotency keys. This module must not decide what a key means: a deleted key counts as a new one.

use std::time::Duration;

use super::table_retention::{SweptTable, TablePurger};
use crate::parts::store::{Store, StoreError, SweptPage, UserKey};
use crate::runtime::settings::{DAY, settings};

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

/// The idempotency keys of participations.
#[derive(Clone, Copy, Debug)]
pub struct IdempotencyKeys;

/// Deletes old idempotency keys.
pub type KeyPurger = TablePurger<IdempotencyKeys>;

impl SweptTable for IdempotencyKeys {
    type Key = UserKey;
    const TASK: &'static str = "idempotency.purge";
    const LEASE: &'static str = "idempotency_keys";
    const ROWS: &'static str = "idempotency keys";

    async fn purge_page(
        store: &Store,
        after: Option<&UserKey>,
        age: Duration,
        rows_max: u32,
    ) -> Result<SweptPage<UserKey>, StoreError> {
        store.purge_keys(after, age, rows_max).await
    }
}

//! Whether the server behind the pool accepts writes. A planned switchover makes the old primary read-only and leaves
//! its connections open: they answer reads with old data and reject writes, while new connections lead to the new
//! primary.
//!
//! So a rejected write retires all connections opened before it, and a read for an irrevocable decision checks
//! afterwards whether the server accepts writes. The path of a participation needs no check, because it writes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::{StoreError, error};

/// Shortest life of a connection. While the address leads to the old primary, each write is rejected; this bounds how
/// often the pool reconnects.
const AGE_MIN: Duration = Duration::from_millis(100);

/// Shortest time between two log lines about rejected writes.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// The settings of a server that accepts no writes, separated by commas.
const READ_ONLY_SETTINGS: &str = "SELECT CONCAT_WS(', ', \
     IF(@@global.super_read_only, 'super_read_only', NULL), \
     IF(@@global.read_only, 'read_only', NULL), \
     IF(@@global.innodb_read_only, 'innodb_read_only', NULL), \
     IF(@@global.transaction_read_only, 'transaction_read_only', NULL))";

/// When a server last rejected a write, and when that was last logged: milliseconds, 0 for never.
#[derive(Clone, Debug, Default)]
pub(super) struct Demotion(Arc<Refusals>);

#[derive(Debug, Default)]
struct Refusals {
    last_ms: AtomicU64,
    logged_ms: AtomicU64,
}

impl Demotion {
    /// Records an error that means that the server accepts no writes.
    pub(super) fn look_at(&self, failure: &DbErr) {
        if error::is_demotion(failure) {
            self.note();
        }
    }

    fn note(&self) {
        let now = millis_now();
        self.0.last_ms.fetch_max(now, Ordering::SeqCst);
        let logged = self.0.logged_ms.load(Ordering::SeqCst);
        if logged == 0 || now.saturating_sub(logged) >= millis(LOG_PAUSE) {
            self.0.logged_ms.store(now, Ordering::SeqCst);
            tracing::warn!("the database refuses writes: connections to it are replaced");
        }
    }

    /// Whether a connection of this age was opened before the last rejection and is old enough to be replaced.
    pub(super) fn condemns(&self, age: Duration) -> bool {
        let last = self.0.last_ms.load(Ordering::SeqCst);
        last > 0 && age >= AGE_MIN && millis_now().saturating_sub(millis(age)) <= last
    }

    /// Fails if the server accepts no writes; the error names its settings.
    pub(super) async fn require_writable(
        &self,
        on: &impl ConnectionTrait,
    ) -> Result<(), StoreError> {
        if on.get_database_backend() == DbBackend::Sqlite {
            return Ok(());
        }
        let ask = Statement::from_string(DbBackend::MySql, READ_ONLY_SETTINGS);
        let row = on.query_one_raw(ask).await?;
        let settings: Option<String> = row.map(|row| row.try_get_by_index(0)).transpose()?;
        match settings {
            Some(settings) if !settings.is_empty() => {
                self.note();
                Err(StoreError::ReadOnly(settings))
            }
            _ => Ok(()),
        }
    }
}

/// Milliseconds since the first call in this process, plus one, so that 0 stays free for "never".
pub(super) fn millis_now() -> u64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(BEGAN.elapsed().as_millis()).unwrap_or(u64::MAX) + 1
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_retires_the_connections_opened_before_it() {
        let demotion = Demotion::default();
        assert!(!demotion.condemns(Duration::from_secs(60)));
        demotion.note();
        assert!(demotion.condemns(AGE_MIN));
        assert!(demotion.condemns(Duration::from_secs(60)));
    }

    #[test]
    fn a_connection_opened_after_the_last_refusal_stays() {
        let demotion = Demotion::default();
        while millis_now() <= millis(AGE_MIN) + 1 {
            std::hint::spin_loop();
        }
        demotion.0.last_ms.store(1, Ordering::SeqCst);
        assert!(!demotion.condemns(AGE_MIN));
    }

    #[test]
    fn every_refusal_counts_and_young_connections_are_not_replaced_at_once() {
        let demotion = Demotion::default();
        demotion.note();
        let first = demotion.0.last_ms.load(Ordering::SeqCst);
        while millis_now() <= first {
            std::hint::spin_loop();
        }
        // A connection opened between the two rejections leads to the old primary, too.
        demotion.note();
        assert!(demotion.0.last_ms.load(Ordering::SeqCst) > first);
        assert!(!demotion.condemns(Duration::from_millis(1)));
    }
}

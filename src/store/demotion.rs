//! Whether the server behind the pool takes writes. A planned switchover makes the old primary read-only and
//! leaves its connections alive: they answer every read, with what was true before, and no write ever again,
//! while new connections go to the new primary.
//!
//! So the first write that is refused condemns all connections opened before it, and reads that decide
//! something for good are made with the server asked, after them, whether it still takes writes. The path of a
//! participation asks nothing: its write is the question.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::bounded::{Tx, millis_now};
use super::{Store, StoreError, connection, error};

/// While the address still leads to the old primary, connections are condemned no more often than this.
const PAUSE: Duration = Duration::from_secs(1);

/// The settings of a server that takes no writes, with commas between them.
const READ_ONLY_SETTINGS: &str = "SELECT CONCAT_WS(', ', \
     IF(@@global.super_read_only, 'super_read_only', NULL), \
     IF(@@global.read_only, 'read_only', NULL), \
     IF(@@global.innodb_read_only, 'innodb_read_only', NULL), \
     IF(@@global.transaction_read_only, 'transaction_read_only', NULL))";

/// When a server refused to write last.
#[derive(Clone, Debug, Default)]
pub(super) struct Demotion(Arc<AtomicU64>);

impl Demotion {
    /// Takes note of an error, if it says that the server takes no writes.
    pub(super) fn look_at(&self, failure: &DbErr) {
        if error::is_demotion(failure) {
            self.note();
        }
    }

    fn note(&self) {
        let (now, last) = (millis_now(), self.0.load(Ordering::SeqCst));
        if last == 0 || now.saturating_sub(last) >= millis(PAUSE) {
            self.0.store(now, Ordering::SeqCst);
            tracing::warn!("the database refuses writes: connections to it are replaced");
        }
    }

    /// Whether a connection of this age was opened before the last refusal.
    pub(super) fn condemns(&self, age: Duration) -> bool {
        let last = self.0.load(Ordering::SeqCst);
        last > 0 && millis_now().saturating_sub(millis(age)) <= last
    }

    /// Fails where the server takes no writes, and says by which of its settings.
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

impl Store {
    /// Whether the database takes writes; if not, the error names the settings that say so.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        self.db.demotion().require_writable(&self.db).await
    }

    /// Begins a read that decides something for good, to be ended with [`Store::end_current`].
    pub(super) async fn begin_current(&self) -> Result<Tx, StoreError> {
        connection::begin_to_read(&self.db).await
    }

    /// Fails unless what was read was current: a server that takes writes now was the primary when it
    /// answered.
    pub(super) async fn end_current(&self, tx: Tx) -> Result<(), StoreError> {
        let current = self.db.demotion().require_writable(&tx).await;
        tx.rollback().await?;
        current
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_condemns_the_connections_opened_before_it_and_no_later_ones() {
        let demotion = Demotion::default();
        assert!(!demotion.condemns(Duration::from_secs(60)));
        demotion.note();
        assert!(demotion.condemns(Duration::from_millis(1)));
        assert!(demotion.condemns(Duration::from_secs(60)));
        // A connection opened after the refusal is as old as the time since then, at most.
        demotion.0.store(1, Ordering::SeqCst);
        while millis_now() <= 1 {}
        assert!(!demotion.condemns(Duration::ZERO));
    }

    #[test]
    fn refusals_one_after_the_other_condemn_once() {
        let demotion = Demotion::default();
        demotion.note();
        let first = demotion.0.load(Ordering::SeqCst);
        demotion.note();
        assert_eq!(demotion.0.load(Ordering::SeqCst), first);
    }
}

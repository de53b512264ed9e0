//! Whether the server behind the pool accepts writes. A planned switchover makes the old primary read-only and leaves
//! its connections open: they answer reads with old data and reject writes, while new connections lead to the new
//! primary.
//!
//! So a rejected write retires all connections opened before it, and a read for an irrevocable decision checks
//! afterwards whether the server accepts writes. The path of a participation needs no check, because it writes.
//!
//! In an unplanned failover nobody tells the old primary: it answers nothing, is replaced, and may then continue with
//! old data and accept writes that no replica acknowledges. So a statement without an answer, or a lost connection,
//! also retires all connections opened before it, and leaves a doubt. Until a COMMIT proves that the server is the
//! primary, no such read is answered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use tokio::sync::Mutex;

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

/// What the pool knows of its server: milliseconds, 0 for never.
#[derive(Clone, Debug, Default)]
pub(super) struct Demotion(Arc<Refusals>);

#[derive(Debug, Default)]
struct Refusals {
    /// The last rejected write, or the last statement without an answer.
    last_ms: AtomicU64,
    logged_ms: AtomicU64,
    /// When the last proof began.
    proven_ms: AtomicU64,
    /// When another server than before became the primary.
    replaced_ms: AtomicU64,
    /// Locked during an attempt at a proof: there is one at a time.
    proof: Mutex<LastProof>,
}

/// The attempts at a proof.
#[derive(Debug, Default)]
struct LastProof {
    failed_ms: u64,
    /// The server that was the primary when it was last asked; none: it does not name itself.
    server: ServerName,
}

/// `server_uuid`, if the server has one.
pub(super) type ServerName = Option<String>;

/// The doubt at the begin of a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct DoubtBefore {
    lost_ms: u64,
    is_in_doubt: bool,
}

impl Demotion {
    /// Records an error that means that the server accepts no writes, or that the connection is lost.
    pub(super) fn look_at(&self, failure: &DbErr) {
        if error::is_demotion(failure) {
            self.note();
        } else if error::is_lost(failure) {
            self.note_loss();
        }
    }

    /// Records a statement without an answer, or a rejected one: the server may not be the primary any more.
    pub(super) fn note_loss(&self) {
        self.0.last_ms.fetch_max(millis_now(), Ordering::SeqCst);
    }

    /// The doubt before a transaction that begins now.
    pub(super) fn doubt(&self) -> DoubtBefore {
        DoubtBefore {
            lost_ms: self.0.last_ms.load(Ordering::SeqCst),
            is_in_doubt: self.is_in_doubt(),
        }
    }

    /// Whether there was a doubt, or a loss since.
    pub(super) fn has_doubted_since(&self, before: DoubtBefore) -> bool {
        before.is_in_doubt || self.0.last_ms.load(Ordering::SeqCst) != before.lost_ms
    }

    /// Whether the server may not be the primary any more.
    pub(super) fn is_in_doubt(&self) -> bool {
        let lost = self.0.last_ms.load(Ordering::SeqCst);
        lost > 0 && lost >= self.0.proven_ms.load(Ordering::SeqCst)
    }

    /// Ends the doubt, if there is one, by a COMMIT that only the primary answers. Afterwards no connection is used
    /// that was opened before it: such a connection may lead to another server.
    pub(super) async fn prove(
        &self,
        commit: impl Future<Output = Result<ServerName, StoreError>>,
    ) -> Result<(), StoreError> {
        if !self.is_in_doubt() {
            return Ok(());
        }
        let asked = millis_now();
        let mut last = self.0.proof.lock().await;
        if !self.is_in_doubt() {
            return Ok(());
        }
        if last.failed_ms > asked {
            // Those who waited for a failed attempt do not wait for one of their own, one after the other.
            return Err(StoreError::lost("the database has not answered a COMMIT"));
        }
        let began = millis_now();
        match commit.await {
            Ok(server) => {
                if last.server.is_some() && last.server != server {
                    tracing::warn!("another server is the primary of the database");
                    self.0.replaced_ms.fetch_max(millis_now(), Ordering::SeqCst);
                }
                last.server = server;
                self.0.proven_ms.fetch_max(began, Ordering::SeqCst);
                Ok(())
            }
            Err(error) => {
                last.failed_ms = millis_now();
                Err(error)
            }
        }
    }

    /// Records the first primary.
    pub(super) async fn begin_with(&self, server: ServerName) {
        self.0.proof.lock().await.server = server;
    }

    /// When another server than before became the primary: what was read earlier may be missing in it.
    pub(super) fn replaced_at(&self) -> Option<Instant> {
        let replaced = self.0.replaced_ms.load(Ordering::SeqCst);
        (replaced > 0).then(|| *BEGAN + Duration::from_millis(replaced))
    }

    fn note(&self) {
        self.note_loss();
        let now = millis_now();
        let logged = self.0.logged_ms.load(Ordering::SeqCst);
        if logged == 0 || now.saturating_sub(logged) >= millis(LOG_PAUSE) {
            self.0.logged_ms.store(now, Ordering::SeqCst);
            tracing::warn!("the database refuses writes: connections to it are replaced");
        }
    }

    /// Whether a connection of this age was opened before the last rejection, loss or proof. After a rejection or a
    /// loss it must be old enough to be replaced.
    pub(super) fn condemns(&self, age: Duration) -> bool {
        let opened = millis_now().saturating_sub(millis(age));
        let last = self.0.last_ms.load(Ordering::SeqCst);
        let is_refused = last > 0 && age >= AGE_MIN && opened <= last;
        is_refused || opened < self.0.proven_ms.load(Ordering::SeqCst)
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

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the first call in this process, plus one, so that 0 stays free for "never".
pub(super) fn millis_now() -> u64 {
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

    #[tokio::test]
    async fn a_loss_leaves_a_doubt_until_a_commit_is_answered() {
        let demotion = Demotion::default();
        let unasked = async { panic!("there is no doubt") };
        demotion.prove(unasked).await.unwrap();
        demotion.note_loss();
        assert!(demotion.is_in_doubt() && demotion.condemns(AGE_MIN));
        let refused = async { Err(StoreError::ReadOnly("a setting".to_owned())) };
        demotion.prove(refused).await.unwrap_err();
        assert!(demotion.is_in_doubt());
        while millis_now() <= demotion.doubt().lost_ms {
            std::hint::spin_loop();
        }
        demotion.prove(async { Ok(None) }).await.unwrap();
        assert!(!demotion.is_in_doubt());
        assert!(demotion.condemns(Duration::from_secs(60)));
    }

    #[tokio::test]
    async fn a_loss_during_a_proof_is_not_covered_by_it() {
        let demotion = Demotion::default();
        demotion.note_loss();
        let lost_again = async {
            demotion.note_loss();
            Ok(None)
        };
        demotion.prove(lost_again).await.unwrap();
        assert!(demotion.is_in_doubt());
    }

    #[tokio::test]
    async fn only_another_server_replaces_the_primary() {
        let demotion = Demotion::default();
        let named = |name: &str| Some(name.to_owned());
        demotion.begin_with(named("one")).await;
        for (server, is_replaced) in [("one", false), ("other", true)] {
            demotion.note_loss();
            let proof = async { Ok(named(server)) };
            demotion.prove(proof).await.unwrap();
            assert_eq!(demotion.replaced_at().is_some(), is_replaced);
        }
        assert!(demotion.replaced_at().unwrap() + AGE_MIN > Instant::now());
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

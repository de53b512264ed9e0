//! Brings a schema up to date, or drops it. One process at a time does so: on MySQL under a named lock, in SQLite in
//! one transaction.
//!
//! The session that holds the lock also changes the schema, so the lock cannot be lost without the change failing,
//! and MySQL does not release it before the running statement ends. MySQL commits each change of a schema separately:
//! a killed process leaves some of the tables, and the next process runs all statements again.
//!
//! A schema may be newer than this release, during an upgrade and after a rollback. The process uses it if each migration
//! that it does not know only adds to the schema.

use std::collections::BTreeSet;
use std::time::Duration;

use migration::MigratorTrait;
use sea_orm::{ConnectionTrait, DbErr, Statement};

use super::StoreError;
use super::bounded::{Db, Tx};
use super::connection::begin;

/// Longest wait for a change of the schema.
const CHANGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// The lock of a schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lock {
    /// The name, as an expression of MySQL.
    pub(super) name: &'static str,
    /// Longest wait for another process that holds it.
    pub(super) wait_max: Duration,
}

/// Applies missing migrations. If none is missing it takes no lock and changes nothing.
pub(super) async fn up<M: MigratorTrait>(db: &Db, lock: Lock) -> Result<(), StoreError> {
    if is_complete::<M>(db).await? {
        return Ok(());
    }
    let session = Session::enter(db, lock).await?;
    let done = M::up(session.tx.unbounded(), None).await;
    session.leave(done.map_err(StoreError::from)).await
}

/// Whether the schema has everything that this release needs. A newer one that this release may not use is an error.
async fn is_complete<M: MigratorTrait>(db: &Db) -> Result<bool, StoreError> {
    let unknown = match M::get_pending_migrations_read_only(db).await {
        Ok(pending) => return Ok(pending.is_empty()),
        // Migrations were applied that this release does not know.
        Err(error @ DbErr::Custom(_)) => error,
        Err(error) => return Err(error.into()),
    };
    let applied = M::get_migration_models(db).await?;
    let mut applied: BTreeSet<String> = applied.into_iter().map(|row| row.version).collect();
    let is_complete = M::migrations().iter().all(|own| applied.remove(own.name()));
    let is_usable = applied.iter().all(|newer| migration::is_additive(newer));
    if !(is_complete && is_usable) {
        return Err(unknown.into());
    }
    tracing::warn!(newer = ?applied, "the schema is of a newer release, which only added to it");
    Ok(true)
}

/// Drops the schema with all its data.
pub(super) async fn down<M: MigratorTrait>(db: &Db, lock: Lock) -> Result<(), StoreError> {
    let session = Session::enter(db, lock).await?;
    let done = M::down(session.tx.unbounded(), None).await;
    session.leave(done.map_err(StoreError::from)).await
}

/// A session that holds the lock on the schema.
struct Session {
    tx: Tx,
    lock: Lock,
}

impl Session {
    async fn enter(db: &Db, lock: Lock) -> Result<Self, StoreError> {
        let tx = begin(&db.patient(CHANGE_MAX)).await?;
        let session = Self { tx, lock };
        if db.is_embedded() {
            return Ok(session);
        }
        let seconds = lock.wait_max.as_millis().div_ceil(1_000);
        let get = format!("GET_LOCK({}, {seconds})", lock.name);
        // MySQL returns 0 if another session has the lock, and NULL after an error.
        match session.ask(&get).await? {
            Some(1) => Ok(session),
            _ => Err(StoreError::SchemaLocked(lock.wait_max)),
        }
    }

    /// Commits. In SQLite a failed change is rolled back; MySQL keeps the statements before the failure.
    async fn leave(self, done: Result<(), StoreError>) -> Result<(), StoreError> {
        if self.tx.is_embedded() {
            return match done {
                Ok(()) => Ok(self.tx.commit().await?),
                Err(error) => {
                    self.tx.rollback().await?;
                    Err(error)
                }
            };
        }
        let released = self.ask(&format!("RELEASE_LOCK({})", self.lock.name)).await;
        done?;
        if released? != Some(1) {
            return Err(StoreError::SchemaLockLost);
        }
        Ok(self.tx.commit().await?)
    }

    async fn ask(&self, function: &str) -> Result<Option<i64>, StoreError> {
        let backend = self.tx.get_database_backend();
        let select = Statement::from_string(backend, format!("SELECT {function}"));
        let row = self.tx.query_one_raw(select).await?;
        Ok(row
            .map(|row| row.try_get_by_index(0))
            .transpose()?
            .flatten())
    }
}

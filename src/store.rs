//! The database. (Stand-in for the worktree of the relay: replaced when branches meet.)

mod dead_letters;
mod outbox;

pub use dead_letters::{DeadLetter, DeadLetterFilter};
pub use outbox::{Held, OutboxCounts, Parked, ParkedState, PendingKey, Verdict};

use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr};

use crate::clock::Clock;

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached.
    #[error("reach the database")]
    Unavailable(#[source] DbErr),
    /// Deadlock or lock wait: the same again may go well.
    #[error("wait for a lock")]
    Contended(#[source] DbErr),
    /// All the rest.
    #[error("use the database")]
    Database(#[source] DbErr),
}

impl From<DbErr> for StoreError {
    fn from(failure: DbErr) -> Self {
        match failure {
            DbErr::Conn(_) | DbErr::ConnectionAcquire(_) => Self::Unavailable(failure),
            _ => Self::Database(failure),
        }
    }
}

/// The database and the clock its rows are stamped with.
#[derive(Clone, Debug)]
pub struct Store {
    db: DatabaseConnection,
    clock: Clock,
}

impl Store {
    /// Connects.
    pub async fn connect(url: &str, clock: Clock) -> Result<Self, StoreError> {
        let mut options = ConnectOptions::new(url);
        options.sqlx_logging(false);
        Ok(Self {
            db: Database::connect(options).await?,
            clock,
        })
    }

    pub(crate) fn connection(&self) -> &DatabaseConnection {
        &self.db
    }
}

//! What can go wrong in the store, by what can be done about it.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx;
use sea_orm::{DbErr, RuntimeErr, SqlErr};

use crate::retry::Verdict;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not reachable, or the connection was lost: what was under way may or may not have happened.
    #[error("reach the database")]
    Unavailable(#[source] DbErr),
    /// Lost against another transaction (deadlock, lock wait): nothing happened, try again.
    #[error("wait for a lock in the database")]
    Contended(#[source] DbErr),
    /// A unique key or a check refused the change: nothing happened.
    #[error("keep to the rules of the schema")]
    Constraint(#[source] DbErr),
    /// The URL asks for an encryption that would not be what it says.
    #[error("encrypt connections to the database: {0}")]
    Encryption(&'static str),
    /// Another process changes the schema, and did not finish within this time.
    #[error("wait for another process that changes the schema: not finished within {0:?}")]
    SchemaLocked(Duration),
    /// The database let another process change the schema at the same time.
    #[error("keep the lock on the schema while it changes")]
    SchemaLockLost,
    /// Anything else: a bug, a full disk, a missing table.
    #[error("use the database")]
    Database(#[source] DbErr),
    /// A row holds something this release does not know.
    #[error("read {what} from the database: {value:?}")]
    Unreadable {
        /// What was to be read.
        what: &'static str,
        /// What stood there.
        value: String,
    },
}

/// MySQL: deadlock found, lock wait timeout, and the NOWAIT refusal.
const CONTENDED: [&str; 3] = ["1213", "1205", "3572"];
/// MySQL: duplicate entry, check constraint violated; SQLite: unique, primary key, check.
const CONSTRAINT: [&str; 7] = ["1062", "3819", "2067", "1555", "275", "19", "1586"];
/// SQLite: busy and locked in their kinds.
const BUSY: [&str; 5] = ["5", "6", "261", "517", "262"];
/// MySQL: too many connections, shutdown in progress, killed, read-only: it will pass.
const AWAY: [&str; 5] = ["1040", "1053", "1317", "1927", "1290"];
/// MySQL and what speaks its protocol: the user lacks the privilege, or there is no such table.
const WITHHELD: [&str; 5] = ["1044", "1142", "1227", "1109", "1146"];
/// MySQL: out of range, too long, no such value for the column, arithmetic out of range.
const VALUES: [&str; 5] = ["1264", "1406", "1366", "1265", "1690"];

impl StoreError {
    /// Whether the same call may succeed when it is made again, knowing that nothing happened.
    #[must_use]
    pub const fn is_contended(&self) -> bool {
        matches!(self, Self::Contended(_))
    }

    /// Whether the same call may succeed when it is made again, where it does no harm to do it twice.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        Verdict::again_if(matches!(self, Self::Contended(_) | Self::Unavailable(_)))
    }

    /// The kind of failure, for programs: nothing of what the database said.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "STORE_UNAVAILABLE",
            Self::Contended(_) => "STORE_CONTENDED",
            Self::Constraint(_) => "STORE_CONSTRAINT",
            Self::Encryption(_) => "STORE_ENCRYPTION",
            Self::SchemaLocked(_) | Self::SchemaLockLost => "STORE_SCHEMA_LOCKED",
            Self::Database(_) => "STORE_FAILED",
            Self::Unreadable { .. } => "STORE_UNREADABLE",
        }
    }

    /// Whether the database does not tell: the user lacks the privilege, or it does not know.
    pub(super) fn is_withheld(&self) -> bool {
        self.is_among(&WITHHELD)
    }

    /// Whether it is the values that the database does not take: no later attempt will do better.
    #[must_use]
    pub fn is_about_values(&self) -> bool {
        self.is_among(&VALUES)
    }

    fn is_among(&self, numbers: &[&str]) -> bool {
        let Self::Database(
            DbErr::Conn(RuntimeErr::SqlxError(cause))
            | DbErr::Exec(RuntimeErr::SqlxError(cause))
            | DbErr::Query(RuntimeErr::SqlxError(cause)),
        ) = self
        else {
            return false;
        };
        match cause.as_ref() {
            sqlx::Error::Database(answer) => numbers.contains(&number(answer.as_ref()).as_str()),
            _ => false,
        }
    }

    pub(crate) fn from_sqlx(error: sqlx::Error) -> Self {
        DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error))).into()
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        if let Some(SqlErr::UniqueConstraintViolation(_)) = error.sql_err() {
            return Self::Constraint(error);
        }
        match &error {
            DbErr::ConnectionAcquire(_) => Self::Unavailable(error),
            DbErr::Conn(RuntimeErr::SqlxError(cause))
            | DbErr::Exec(RuntimeErr::SqlxError(cause))
            | DbErr::Query(RuntimeErr::SqlxError(cause)) => match classify(cause) {
                Class::Unavailable => Self::Unavailable(error),
                Class::Contended => Self::Contended(error),
                Class::Constraint => Self::Constraint(error),
                Class::Other => Self::Database(error),
            },
            _ => Self::Database(error),
        }
    }
}

enum Class {
    Unavailable,
    Contended,
    Constraint,
    Other,
}

fn classify(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Class::Unavailable,
        sqlx::Error::Database(answer) => {
            let number = number(answer.as_ref());
            let number = number.as_str();
            if CONTENDED.contains(&number) || BUSY.contains(&number) {
                Class::Contended
            } else if CONSTRAINT.contains(&number) {
                Class::Constraint
            } else if AWAY.contains(&number) {
                Class::Unavailable
            } else {
                Class::Other
            }
        }
        _ => Class::Other,
    }
}

/// The database's own number for what went wrong.
fn number(answer: &dyn sqlx::error::DatabaseError) -> String {
    answer
        .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
        .map(|mysql| mysql.number().to_string())
        .or_else(|| answer.code().map(Into::into))
        .unwrap_or_default()
}

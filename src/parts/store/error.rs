//! Errors of the store, classified by the possible reaction.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{DbErr, RuntimeErr, SqlErr, sqlx};

use crate::runtime::retry::RetryDecision;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Unreachable, or the connection was lost: the statement may or may not have been executed.
    #[error("reach the database")]
    Unavailable(#[source] DbErr),
    /// Lost against another transaction (deadlock, lock wait): nothing happened, and a retry may succeed.
    #[error("wait for a lock in the database")]
    Contended(#[source] DbErr),
    /// A unique key or a check rejected the change: nothing happened.
    #[error("a rule of the schema refused the change")]
    Constraint(#[source] DbErr),
    /// The server rejected a write because it is read-only: nothing happened.
    #[error("the database refused a write: it is read-only")]
    WriteRefused(#[source] DbErr),
    /// The server is read-only by these settings: its answers may be old.
    #[error("the database is read-only ({0})")]
    ReadOnly(String),
    /// The URL requests an encryption that would not take effect.
    #[error("encrypt connections to the database: {0}")]
    Encryption(&'static str),
    /// Another process is changing the schema, and did not finish within this time.
    #[error("another process is changing the schema and did not finish within {0:?}")]
    SchemaLocked(Duration),
    /// The database let another process change the schema at the same time.
    #[error("lost the lock on the schema during the change")]
    SchemaLockLost,
    /// Any other failure: a bug, a full disk, a missing table.
    #[error("use the database")]
    Database(#[source] DbErr),
    /// A row holds a value that this release does not know.
    #[error("read {what} from the database: {value:?}")]
    Unreadable {
        /// The name of the column.
        what: &'static str,
        /// The value.
        value: String,
    },
}

/// MySQL: deadlock found, lock wait timeout, the NOWAIT refusal, and a replication group that found the
/// transaction in conflict with another one: every member decides so, so no member commits it. (First releases of
/// MySQL 8.0 also say this when the member leaves its group; they are older than what this service supports.)
const CONTENDED: [&str; 4] = ["1213", "1205", "3572", "3101"];
/// MySQL: duplicate entry, check constraint violated; SQLite: unique, primary key, check.
const CONSTRAINT: [&str; 7] = ["1062", "3819", "2067", "1555", "275", "19", "1586"];
/// SQLite: busy and locked in their kinds.
const BUSY: [&str; 5] = ["5", "6", "261", "517", "262"];
/// MySQL: too many connections (in total, of a user), shutdown in progress, interrupted, killed, idle timeout,
/// statement timeout, offline, not available, a new primary of a group that still applies what its predecessor has
/// committed: all temporary.
const AWAY: [&str; 11] = [
    "1040", "1203", "1053", "1317", "1927", "3169", "4031", "3024", "3032", "3168", "3781",
];
/// MySQL: an option prevents the statement (`read_only`, `super_read_only`), the transaction, the server or
/// the engine is read-only. At COMMIT as well the server has rolled back.
const READ_ONLY: [&str; 4] = ["1290", "1792", "1836", "1874"];
/// MySQL: a member of a replication group that cannot commit, or cannot begin while it joins, elects or leaves. The
/// statement may have been executed: 3100 ends a COMMIT that waits for the group when the member leaves it. The member
/// rolls back, but the others commit the transaction if they have received it.
const GROUP: [&str; 7] = ["3100", "3782", "3783", "3796", "3797", "3798", "3799"];
/// MySQL: further codes of a server that is shutting down.
const LEAVING: [&str; 3] = ["1053", "3032", "3168"];
/// MySQL and what speaks its protocol: the user lacks the privilege, or there is no such table.
const WITHHELD: [&str; 5] = ["1044", "1142", "1227", "1109", "1146"];
/// MySQL: out of range, too long, no such value for the column, arithmetic out of range.
const VALUES: [&str; 5] = ["1264", "1406", "1366", "1265", "1690"];

impl StoreError {
    /// A row with a value that this release does not know.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "callers pass numbers as well as texts"
    )]
    pub(super) fn unreadable(what: &'static str, value: impl ToString) -> Self {
        Self::Unreadable {
            what,
            value: value.to_string(),
        }
    }

    /// Whether nothing happened and a retry may succeed: after a lost lock, or on a demoted server while another
    /// connection leads to its successor.
    #[must_use]
    pub const fn is_rolled_back(&self) -> bool {
        matches!(self, Self::Contended(_) | Self::WriteRefused(_))
    }

    /// Whether the database is away, or accepts no writes.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_) | Self::WriteRefused(_) | Self::ReadOnly(_)
        )
    }

    /// Whether a retry may succeed, for calls that may be executed twice.
    #[must_use]
    pub const fn verdict(&self) -> RetryDecision {
        RetryDecision::again_if(self.is_rolled_back() || self.is_unavailable())
    }

    /// The kind of failure as a code, without text of the database.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "STORE_UNAVAILABLE",
            Self::Contended(_) => "STORE_CONTENDED",
            Self::Constraint(_) => "STORE_CONSTRAINT",
            Self::WriteRefused(_) | Self::ReadOnly(_) => "STORE_READ_ONLY",
            Self::Encryption(_) => "STORE_ENCRYPTION",
            Self::SchemaLocked(_) | Self::SchemaLockLost => "STORE_SCHEMA_LOCKED",
            Self::Database(_) => "STORE_FAILED",
            Self::Unreadable { .. } => "STORE_UNREADABLE",
        }
    }

    /// Whether the user lacks the privilege, or the database has no such table.
    pub(super) fn is_withheld(&self) -> bool {
        self.is_among(&WITHHELD)
    }

    /// Whether the database rejects the values: a retry will fail, too.
    #[must_use]
    pub fn is_about_values(&self) -> bool {
        self.is_among(&VALUES)
    }

    fn is_among(&self, numbers: &[&str]) -> bool {
        let Self::Database(error) = self else {
            return false;
        };
        answer(error).is_some_and(|answer| numbers.contains(&number(answer).as_str()))
    }

    /// The answer is unknown for this reason.
    pub(super) fn lost(reason: &'static str) -> Self {
        Self::from_sqlx(sqlx::Error::Io(io::Error::other(reason)))
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
        let kind = match (&error, cause(&error)) {
            (DbErr::ConnectionAcquire(_), _) => Self::Unavailable,
            (_, Some(cause)) => classify(cause),
            _ => Self::Database,
        };
        kind(error)
    }
}

/// The error of the driver.
fn cause(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(cause))
        | DbErr::Exec(RuntimeErr::SqlxError(cause))
        | DbErr::Query(RuntimeErr::SqlxError(cause)) => Some(cause),
        _ => None,
    }
}

/// The error of the database.
fn answer(error: &DbErr) -> Option<&dyn sqlx::error::DatabaseError> {
    match cause(error)? {
        sqlx::Error::Database(answer) => Some(answer.as_ref()),
        _ => None,
    }
}

/// Whether the error means that the server accepts no writes, or is about to shut down.
pub(super) fn is_demotion(error: &DbErr) -> bool {
    answer(error)
        .and_then(mysql_number)
        .is_some_and(|number| is_demotion_number(&number))
}

/// Whether the connection is lost, so that its server may have been replaced.
pub(super) fn is_lost(error: &DbErr) -> bool {
    matches!(
        cause(error),
        Some(sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_))
    )
}

/// The kind of failure.
fn classify(error: &sqlx::Error) -> fn(DbErr) -> StoreError {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => StoreError::Unavailable,
        sqlx::Error::Database(answer) => match mysql_number(answer.as_ref()) {
            Some(number) => classify_mysql(&number),
            None => classify_code(&number(answer.as_ref())),
        },
        _ => StoreError::Database,
    }
}

/// The kind of failure for a code of MySQL.
fn classify_mysql(number: &str) -> fn(DbErr) -> StoreError {
    if READ_ONLY.contains(&number) {
        // SQLite uses the same code for one failure of a disk.
        StoreError::WriteRefused
    } else if GROUP.contains(&number) {
        StoreError::Unavailable
    } else {
        classify_code(number)
    }
}

/// The kind of failure for a code that means the same in every database, or exists in only one.
fn classify_code(number: &str) -> fn(DbErr) -> StoreError {
    if CONTENDED.contains(&number) || BUSY.contains(&number) {
        StoreError::Contended
    } else if CONSTRAINT.contains(&number) {
        StoreError::Constraint
    } else if AWAY.contains(&number) {
        StoreError::Unavailable
    } else {
        StoreError::Database
    }
}

/// Whether a code of MySQL means that the server accepts no writes, or is about to shut down.
fn is_demotion_number(number: &str) -> bool {
    let mut numbers = READ_ONLY.iter().chain(&GROUP).chain(&LEAVING);
    numbers.any(|known| *known == number)
}

/// The database's error code.
fn number(answer: &dyn sqlx::error::DatabaseError) -> String {
    mysql_number(answer)
        .or_else(|| answer.code().map(Into::into))
        .unwrap_or_default()
}

fn mysql_number(answer: &dyn sqlx::error::DatabaseError) -> Option<String> {
    answer
        .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
        .map(|mysql| mysql.number().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(number: &str) -> StoreError {
        classify_mysql(number)(DbErr::Custom(number.to_owned()))
    }

    #[test]
    fn a_commit_is_rolled_back_only_if_no_server_can_have_it() {
        let conflict = "3101";
        for number in ["1213", "1205", "3572", conflict, "1290", "1792", "1836"] {
            let error = error_of(number);
            assert!(error.is_rolled_back(), "{number}");
            assert_eq!(error.verdict(), RetryDecision::again_if(true), "{number}");
        }
        // The hook of a member that leaves, an interrupted or killed COMMIT, a shutdown, an unknown code.
        for number in [
            "3100", "1317", "1927", "1053", "3032", "3168", "3169", "1180", "1",
        ] {
            assert!(!error_of(number).is_rolled_back(), "{number}");
        }
    }

    #[test]
    fn a_group_that_elects_or_leaves_is_unavailable_and_not_a_bug() {
        for number in [
            "3100", "3781", "3782", "3783", "3796", "3797", "3798", "3799", "3032",
        ] {
            let error = error_of(number);
            assert!(error.is_unavailable(), "{number}");
            assert_eq!(error.code(), "STORE_UNAVAILABLE", "{number}");
        }
    }

    #[test]
    fn connections_to_a_member_that_left_are_replaced_and_those_to_a_new_primary_stay() {
        for number in [
            "1290", "1836", "3100", "3782", "3783", "3796", "3799", "3032",
        ] {
            assert!(is_demotion_number(number), "{number}");
        }
        let (applies_its_backlog, conflict) = ("3781", "3101");
        for number in [applies_its_backlog, conflict, "1213", "1040"] {
            assert!(!is_demotion_number(number), "{number}");
        }
    }
}

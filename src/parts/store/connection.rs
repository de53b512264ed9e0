//! Opens, checks and closes connections to a database.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlSslMode};
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::sqlx::{self, Connection, Executor, MySqlConnection, Row};
use sea_orm::{
    AccessMode, DatabaseConnection, IsolationLevel, SqliteTransactionMode, SqlxMySqlConnector,
    SqlxSqliteConnector, TransactionOptions,
};

use super::bounded::{AbandonedStatements, Db, Tx};
use super::demotion::Demotion;
use super::lifetime::Lifetime;
use super::{PATIENCE, StoreConfig, StoreError};

/// Maximum length of statements. sqlx 0.9.0 does not set `TCP_NODELAY`, so the data after the first TLS record, or
/// over loopback after the first 32 KiB, waits 40 ms for a delayed acknowledgement (sqlx issue 4335, fixed after that
/// release).
const TLS_BYTES_MAX: usize = 15_000;
const PLAIN_BYTES_MAX: usize = 30_000;

/// Sets the isolation level again. The level of a snapshot is that of one transaction for MySQL, but stays that of the
/// session for Vitess.
const ISOLATION: &str = "SET SESSION transaction_isolation = 'READ-COMMITTED'";

/// Time limit for the check of a connection that returns to the pool.
const PING_MAX: Duration = Duration::from_secs(2);

/// Longest wait for connections to be closed.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// Opens a pool. Returns it with the maximum length of statements.
pub(super) async fn open(config: &StoreConfig) -> Result<(Db, usize), StoreError> {
    let (abandoned, demotion) = (AbandonedStatements::default(), Demotion::default());
    let (inner, statement_bytes_max) = if config.address().starts_with("mysql:") {
        let options = mysql_options(config.address())?;
        let is_plain = matches!(options.get_ssl_mode(), MySqlSslMode::Disabled);
        let bytes_max = if is_plain {
            PLAIN_BYTES_MAX
        } else {
            TLS_BYTES_MAX
        };
        let inner = connect_mysql(config, options, (abandoned.clone(), demotion.clone())).await?;
        (inner, bytes_max)
    } else {
        (connect_sqlite(config).await?, PLAIN_BYTES_MAX)
    };
    let db = Db::new(inner, config.response_timeout, abandoned, demotion);
    Ok((db, statement_bytes_max))
}

/// A write transaction. In SQLite it takes the write lock at once, because a transaction that reads first and writes
/// later can be rejected half-way.
pub(super) async fn begin(db: &Db) -> Result<Tx, StoreError> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    Ok(db.begin_with_options(options).await?)
}

/// A read transaction with one snapshot. SQLite has only one isolation level.
pub(super) async fn snapshot(db: &Db) -> Result<Tx, StoreError> {
    let options = if db.is_embedded() {
        TransactionOptions::default()
    } else {
        TransactionOptions {
            isolation_level: Some(IsolationLevel::RepeatableRead),
            access_mode: Some(AccessMode::ReadOnly),
            ..TransactionOptions::default()
        }
    };
    Ok(db.begin_with_options(options).await?)
}

/// Closes a pool, with a short time limit.
pub(super) async fn close(db: &Db) -> Result<(), StoreError> {
    match tokio::time::timeout(CLOSE_MAX, db.unbounded().close_by_ref()).await {
        Ok(closed) => Ok(closed?),
        Err(_) => Ok(()),
    }
}

async fn connect_mysql(
    config: &StoreConfig,
    options: MySqlConnectOptions,
    (abandoned, demotion): (AbandonedStatements, Demotion),
) -> Result<DatabaseConnection, StoreError> {
    let settings = session_settings(config);
    let is_vitess = Arc::new(AtomicBool::new(false));
    let found_vitess = is_vitess.clone();
    // The server ends a connection that is idle for longer.
    let idle_max = config.session_timeout / 2;
    let returning = Lifetime::new(config.connection_lifetime, idle_max, demotion);
    let idle = returning.clone();
    let pool = without_maintenance(MySqlPoolOptions::new())
        .before_acquire(move |_, known| Box::pin(std::future::ready(Ok(idle.may_be_used(&known)))))
        .max_connections(config.pool_size())
        .acquire_timeout(config.acquire_timeout)
        .test_before_acquire(false)
        .after_release(move |connection, known| {
            let abandoned = abandoned.clone();
            let stays = returning.may_return(&known);
            let is_vitess = is_vitess.load(Ordering::Relaxed);
            Box::pin(async move {
                if !stays {
                    return Ok(false);
                }
                let is_fit = async {
                    if abandoned.lately() && !is_in_step(connection).await? {
                        Ok(false)
                    } else if is_vitess {
                        connection.execute(ISOLATION).await.map(|_| true)
                    } else {
                        connection.ping().await.map(|()| true)
                    }
                };
                // The pool pings, too, but waits for the answer for the kernel's timeout.
                let is_fit = tokio::time::timeout(PING_MAX, is_fit).await;
                is_fit.unwrap_or(Err(sqlx::Error::PoolTimedOut))
            })
        })
        .after_connect(move |connection, _| {
            let settings = settings.clone();
            let found_vitess = found_vitess.clone();
            Box::pin(async move {
                let set = sqlx::raw_sql(sqlx::AssertSqlSafe(settings));
                connection.execute(set).await?;
                let version = sqlx::raw_sql("SELECT VERSION()");
                let version: String = connection.fetch_one(version).await?.try_get(0)?;
                found_vitess.store(version.contains("Vitess"), Ordering::Relaxed);
                Ok(())
            })
        })
        .connect_with(options.statement_cache_capacity(512))
        .await
        .map_err(StoreError::from_sqlx)?;
    Ok(SqlxMySqlConnector::from_sqlx_mysql_pool(pool))
}

/// Turns off the pool's own task that closes old and idle connections. In sqlx 0.9.0 a returned connection is available
/// before it is counted as idle. If it is taken in between, the count is 2^64 - 1 for a moment; the task, if it reads the
/// count then, blocks its thread forever, and the task queued there (sqlx issue 3645, fixed after that release). The hooks
/// of MySQL's pool check ages instead; SQLite needs no check.
fn without_maintenance<DB: sqlx::Database>(
    options: sqlx::pool::PoolOptions<DB>,
) -> sqlx::pool::PoolOptions<DB> {
    options.max_lifetime(None).idle_timeout(None)
}

fn session_settings(config: &StoreConfig) -> String {
    let seconds = config.session_timeout.as_millis().div_ceil(1_000).max(1);
    let settings = [
        // The default, REPEATABLE READ, allows lost updates, and readers and writers of the outbox would block each
        // other.
        "transaction_isolation = 'READ-COMMITTED'".to_owned(),
        // A lease is short: a wait for a lock must end well within it.
        "innodb_lock_wait_timeout = 2".to_owned(),
        // The number of rows for a list of values is always read from the index: the statistics of a growing table
        // are old, and the optimizer would otherwise choose a scan.
        "eq_range_index_dive_limit = 0".to_owned(),
        // A vanished client holds locks at most for this time. The defaults are 8 hours, a year, 30 s and 60 s.
        format!("wait_timeout = {seconds}"),
        format!("lock_wait_timeout = {seconds}"),
        format!("net_read_timeout = {seconds}"),
        format!("net_write_timeout = {seconds}"),
        // A read ends when no client waits for it any more.
        format!("max_execution_time = {}", PATIENCE.as_millis()),
    ];
    format!("SET SESSION {}", settings.join(", "))
}

/// Whether the answer belongs to the statement just sent and not to an earlier one; if so, no transaction is open
/// either.
async fn is_in_step(connection: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
    connection.execute("ROLLBACK").await?;
    let word: u32 = rand::random();
    let asked = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("SELECT {word}")));
    let answer: u64 = connection.fetch_one(asked).await?.try_get_unchecked(0)?;
    Ok(answer == u64::from(word))
}

/// Traffic within the machine is encrypted only if the URL requests it.
fn mysql_options(url: &str) -> Result<MySqlConnectOptions, StoreError> {
    let options: MySqlConnectOptions = url.parse().map_err(StoreError::from_sqlx)?;
    let asked = Asked::of(url);
    asked.check(options.get_ssl_mode())?;
    // No statement concatenates with `||`, the server's mode has the other one, and Vitess accepts neither.
    let options = options.pipes_as_concat(false).no_engine_substitution(false);
    if asked.verifies() {
        return Ok(options.ssl_mode(MySqlSslMode::VerifyIdentity));
    }
    let host = options.get_host();
    let is_loopback = host
        .parse::<IpAddr>()
        .map_or(host == "localhost", |address| address.is_loopback());
    if is_loopback && !asked.has("ssl-mode") {
        return Ok(options.ssl_mode(MySqlSslMode::Disabled));
    }
    Ok(options)
}

/// The parameters of a URL about encryption.
struct Asked<'a> {
    names: Vec<&'a str>,
}

impl<'a> Asked<'a> {
    fn of(url: &'a str) -> Self {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let pairs = query.split('&');
        Self {
            names: pairs.filter_map(|pair| pair.split('=').next()).collect(),
        }
    }

    fn has(&self, name: &str) -> bool {
        let plain = name.replace('-', "");
        let mut names = self.names.iter();
        names.any(|known| *known == name || *known == plain)
    }

    /// A URL with certificates and without a mode requires verification, and never falls back to plain text.
    fn verifies(&self) -> bool {
        !self.has("ssl-mode") && (self.has("ssl-ca") || self.has("ssl-cert"))
    }

    /// Rejects parameters that the driver would silently ignore.
    fn check(&self, mode: MySqlSslMode) -> Result<(), StoreError> {
        let is_verified = matches!(mode, MySqlSslMode::VerifyCa | MySqlSslMode::VerifyIdentity);
        let is_sure = is_verified || matches!(mode, MySqlSslMode::Required);
        if self.has("ssl-cert") != self.has("ssl-key") {
            return Err(StoreError::Encryption("ssl-cert and ssl-key go together"));
        }
        if self.has("ssl-mode") && self.has("ssl-ca") && !is_verified {
            return Err(StoreError::Encryption(
                "ssl-ca takes effect only with ssl-mode=VERIFY_CA or VERIFY_IDENTITY",
            ));
        }
        if self.has("ssl-mode") && self.has("ssl-cert") && !is_sure {
            return Err(StoreError::Encryption(
                "ssl-cert is always sent only with ssl-mode=REQUIRED, VERIFY_CA or VERIFY_IDENTITY",
            ));
        }
        Ok(())
    }
}

async fn connect_sqlite(config: &StoreConfig) -> Result<DatabaseConnection, StoreError> {
    let options: SqliteConnectOptions = config.address().parse().map_err(StoreError::from_sqlx)?;
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10));
    let pool = without_maintenance(SqlitePoolOptions::new())
        .max_connections(config.pool_size())
        .acquire_timeout(config.acquire_timeout)
        .after_release(|connection, _| {
            Box::pin(async move {
                // If a COMMIT fails because the disk is full, SQLite rolls back by itself, but sqlx 0.9.0 still
                // counts a transaction. The next writes of this connection would be in a savepoint and reported as
                // committed, but never committed. A pending rollback is complete when this is answered.
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
        .connect_with(options)
        .await
        .map_err(StoreError::from_sqlx)?;
    Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_pool_has_a_maintenance_task() {
        let mysql = without_maintenance(MySqlPoolOptions::new());
        assert_eq!(mysql.get_max_lifetime().or(mysql.get_idle_timeout()), None);
        let sqlite = connect_sqlite(&StoreConfig::new("sqlite::memory:")).await;
        let sqlite = sqlite.unwrap();
        let options = sqlite.get_sqlite_connection_pool().options();
        let limits = (options.get_max_lifetime(), options.get_idle_timeout());
        assert_eq!(limits, (None, None));
    }
}

//! The store: the truth. MySQL in production, SQLite when embedded; the same statements but where a
//! method says otherwise. Entities of the object mapper never leave this module.

mod bounded;
mod campaigns;
mod counts;
mod dead_letters;
mod entity;
mod error;
mod history;
mod outbox;
mod participations;
mod shapes;
mod tallies;
mod verification;

pub use campaigns::{CampaignChange, CampaignFilter, NewCampaign};
pub use counts::Counts;
pub use dead_letters::{DeadLetter, DeadLetterFilter};
pub use error::StoreError;
pub use history::History;
pub use outbox::{
    Held, Loaded, OutboxCounts, Parked, ParkedState, Pending, PendingKey, PurgePage, Purgeable,
    RelaySeat, Under, Verdict,
};
pub use participations::{
    Applicant, BatchOutcome, ChangeMaking, Changed, Closing, CommitError, Committed, Decision,
    DirectOutcome, Due, Intake, Making, Mismatch, Place, Raised,
};
pub use tallies::TallyRow;
pub use verification::{
    Books, Ground, Kept, Purged, SEGMENT_RANKS, Segment, Snapshot, Sums, Waiting,
};

use std::net::IpAddr;
use std::time::Duration;

use migration::MigratorTrait;
use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlSslMode};
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::sqlx::{self, Connection, Executor, MySqlConnection, Row};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, SqliteTransactionMode, SqlxMySqlConnector,
    SqlxSqliteConnector, Statement, TransactionOptions,
};

use self::bounded::{Db, GivenUp, Tx};
use crate::clock::Clock;
use crate::domain::Instant;

/// How the store is reached.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// `mysql://…`, or `sqlite://PATH`.
    pub url: String,
    /// Connections in the pool.
    pub connections_max: u32,
    /// Longest wait for a connection before the answer is "unavailable".
    pub acquire_timeout: Duration,
    /// Longest wait for the answer to a statement.
    pub response_timeout: Duration,
}

impl StoreConfig {
    /// Settings for a URL, with defaults for the rest.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connections_max: 16,
            acquire_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_secs(5),
        }
    }
}

/// Longest statements. sqlx 0.9.0 does not set `TCP_NODELAY`, and what follows the first TLS record, or
/// over loopback the first 32 KiB, waits 40 ms for a delayed acknowledgement (sqlx issue 4335, fixed
/// after that release).
const TLS_BYTES_MAX: usize = 15_000;
const PLAIN_BYTES_MAX: usize = 30_000;

/// Longest wait for the answer to a statement that reads a lot.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a connection that comes back to the pool may take to say that it still answers.
const PING_MAX: Duration = Duration::from_secs(2);

/// Longest wait for connections to be closed.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// Whose turn it is to bring a schema up to date, and how long others wait for theirs.
const MIGRATION_LOCK: &str = "LEFT(CONCAT('firstcome.migrate.', DATABASE()), 64)";
const MIGRATION_LOCK_SECONDS: u32 = 30;

/// A pool of connections to the database.
#[derive(Clone, Debug)]
pub struct Store {
    db: Db,
    clock: Clock,
    statement_bytes_max: usize,
}

impl Store {
    /// Connects, and asks the database once, so that a wrong address is known at start.
    pub async fn connect(config: &StoreConfig, clock: Clock) -> Result<Self, StoreError> {
        let given_up = GivenUp::default();
        let (db, statement_bytes_max) = if config.url.starts_with("mysql:") {
            let options = mysql_options(&config.url)?;
            let is_plain = matches!(options.get_ssl_mode(), MySqlSslMode::Disabled);
            let bytes_max = if is_plain {
                PLAIN_BYTES_MAX
            } else {
                TLS_BYTES_MAX
            };
            let db = connect_mysql(config, options, given_up.clone()).await?;
            (db, bytes_max)
        } else {
            (connect_sqlite(config).await?, PLAIN_BYTES_MAX)
        };
        let store = Self {
            db: Db::new(db, config.response_timeout, given_up),
            clock,
            statement_bytes_max,
        };
        store.ping().await?;
        Ok(store)
    }

    /// The same store for those who read a lot at once and whom nobody waits for.
    #[must_use]
    pub fn patient(&self) -> Self {
        Self {
            db: self.db.patient(PATIENCE),
            ..self.clone()
        }
    }

    /// Brings the schema up to date; safe to repeat and to run from several replicas at once, which
    /// take turns.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        if self.is_embedded() {
            return Ok(migration::Migrator::up(self.db.unbounded(), None).await?);
        }
        // The lock belongs to a connection, and so to a transaction, and ends with either.
        let turn = self.begin().await?;
        let lock = format!("SELECT GET_LOCK({MIGRATION_LOCK}, {MIGRATION_LOCK_SECONDS})");
        turn.query_one_raw(Statement::from_string(DbBackend::MySql, lock))
            .await?;
        let migrated = migration::Migrator::up(self.db.unbounded(), None).await;
        let unlock = format!("SELECT RELEASE_LOCK({MIGRATION_LOCK})");
        turn.query_one_raw(Statement::from_string(DbBackend::MySql, unlock))
            .await?;
        turn.rollback().await?;
        Ok(migrated?)
    }

    /// Takes the whole schema down, with everything in it.
    pub async fn migrate_down(&self) -> Result<(), StoreError> {
        Ok(migration::Migrator::down(self.db.unbounded(), None).await?)
    }

    /// Creates an empty MySQL schema beside the one connected to; letters, digits and underscores only.
    pub async fn create_schema(&self, name: &str) -> Result<(), StoreError> {
        if !name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        {
            return Err(StoreError::Unreadable {
                what: "the name of a schema",
                value: name.to_owned(),
            });
        }
        self.db
            .execute_unprepared(&format!("CREATE DATABASE IF NOT EXISTS `{name}`"))
            .await?;
        Ok(())
    }

    /// The value of one of MySQL's server variables.
    pub async fn server_variable(&self, name: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT VARIABLE_VALUE FROM performance_schema.global_variables WHERE VARIABLE_NAME = ?";
        let statement = Statement::from_sql_and_values(DbBackend::MySql, sql, [name.into()]);
        let row = self.db.query_one_raw(statement).await?;
        Ok(row.map(|row| row.try_get_by_index(0)).transpose()?)
    }

    /// MySQL's clock.
    pub async fn server_time(&self) -> Result<Instant, StoreError> {
        let statement = Statement::from_string(DbBackend::MySql, "SELECT UTC_TIMESTAMP(6)");
        let row = self.db.query_one_raw(statement).await?;
        match row {
            Some(row) => Ok(row.try_get_by_index::<chrono::NaiveDateTime>(0)?.and_utc()),
            None => Err(StoreError::Unreadable {
                what: "the time",
                value: String::new(),
            }),
        }
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.db.execute_unprepared("SELECT 1").await?;
        Ok(())
    }

    /// Whether this is the embedded database.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.db.get_database_backend() == DbBackend::Sqlite
    }

    /// Closes the pool, waiting for connections that are in use, though not long: one that was forgotten
    /// on the way never says goodbye, and ends with the process.
    pub async fn close(&self) -> Result<(), StoreError> {
        match tokio::time::timeout(CLOSE_MAX, self.db.unbounded().close_by_ref()).await {
            Ok(closed) => Ok(closed?),
            Err(_) => Ok(()),
        }
    }

    fn connection(&self) -> &Db {
        &self.db
    }

    /// A transaction that writes. In SQLite it takes the write lock at once, because a transaction
    /// that reads first and writes later can be refused half-way.
    async fn begin(&self) -> Result<Tx, StoreError> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        Ok(self.db.begin_with_options(options).await?)
    }
}

async fn connect_mysql(
    config: &StoreConfig,
    options: MySqlConnectOptions,
    given_up: GivenUp,
) -> Result<DatabaseConnection, StoreError> {
    let pool = MySqlPoolOptions::new()
        .max_connections(config.connections_max)
        .acquire_timeout(config.acquire_timeout)
        .test_before_acquire(false)
        .after_release(move |connection, _| {
            let given_up = given_up.clone();
            Box::pin(async move {
                let is_fit = async {
                    if given_up.lately() {
                        is_in_step(connection).await
                    } else {
                        connection.ping().await.map(|()| true)
                    }
                };
                // The pool pings, too, but waits for the answer for as long as the kernel does.
                let is_fit = tokio::time::timeout(PING_MAX, is_fit).await;
                is_fit.unwrap_or(Err(sqlx::Error::PoolTimedOut))
            })
        })
        .after_connect(|connection, _| {
            Box::pin(async move {
                // The default, REPEATABLE READ, allows lost updates and lets readers and writers of
                // the outbox all but stop each other.
                connection
                    .execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                    .await?;
                // A lease is short: who waits for a lock gives up well within it.
                connection
                    .execute("SET SESSION innodb_lock_wait_timeout = 2")
                    .await?;
                Ok(())
            })
        })
        .connect_with(options.statement_cache_capacity(512))
        .await
        .map_err(StoreError::from_sqlx)?;
    Ok(SqlxMySqlConnector::from_sqlx_mysql_pool(pool))
}

/// Whether the connection answers what it is asked, and not what somebody before has asked: then it has
/// no transaction under way any more either.
async fn is_in_step(connection: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
    connection.execute("ROLLBACK").await?;
    let word: u32 = rand::random();
    let asked = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("SELECT {word}")));
    let said: u64 = connection.fetch_one(asked).await?.try_get_unchecked(0)?;
    Ok(said == u64::from(word))
}

/// What never leaves the machine is encrypted only where the URL asks for it.
fn mysql_options(url: &str) -> Result<MySqlConnectOptions, StoreError> {
    let options: MySqlConnectOptions = url.parse().map_err(StoreError::from_sqlx)?;
    let host = options.get_host();
    let is_loopback = host
        .parse::<IpAddr>()
        .map_or(host == "localhost", |address| address.is_loopback());
    if is_loopback && !url.contains("ssl-mode") {
        return Ok(options.ssl_mode(MySqlSslMode::Disabled));
    }
    Ok(options)
}

async fn connect_sqlite(config: &StoreConfig) -> Result<DatabaseConnection, StoreError> {
    let options: SqliteConnectOptions = config.url.parse().map_err(StoreError::from_sqlx)?;
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10));
    let pool = SqlitePoolOptions::new()
        .max_connections(config.connections_max.min(4))
        .acquire_timeout(config.acquire_timeout)
        .after_release(|connection, _| {
            Box::pin(async move {
                // Where a COMMIT fails because the disk is full, SQLite rolls back by itself, and sqlx
                // 0.9.0 still counts a transaction. What this connection wrote next would be in a
                // savepoint, and called committed when that was released, by nobody who ever commits.
                // A rollback under way is over once this is answered.
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
        .connect_with(options)
        .await
        .map_err(StoreError::from_sqlx)?;
    Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool))
}

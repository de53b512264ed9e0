//! The store: the source of truth. MySQL in production, SQLite when embedded; the statements are the same unless a
//! method documents a difference. Entities of the object mapper never leave this module.

mod account_tokens;
mod accounts;
mod allow_lists;
mod audit;
mod bounded;
mod campaigns;
mod carts;
mod config;
mod connection;
mod consumer_letters;
mod counts;
mod current;
mod daily;
mod dead_letters;
mod demotion;
mod entity;
mod error;
mod history;
mod json;
mod lifetime;
mod numbers;
mod order;
mod orders;
mod outbox;
mod participations;
mod query;
mod replicas;
mod restored;
mod reviews;
mod rewards;
mod schema;
mod sql;
mod statement_lengths;
mod swept_page;
mod tallies;
mod task_leases;
mod text_limits;
mod totp;
mod unreadable;
mod verification;

pub use account_tokens::{AccountToken, TokenPurpose};
pub use accounts::{Account, AccountChange, NewAccount};
pub use allow_lists::{AllowList, Enforced};
pub use audit::{AuditEntry, AuditFilter};
pub use campaigns::{CampaignChange, CampaignFilter, NewCampaign, States};
pub use carts::CartLine;
pub use config::StoreConfig;
pub use consumer_letters::{ConsumerLetter, NewConsumerLetter, RecordBytes};
pub use counts::Counts;
pub use daily::{
    AggregatedDay, Begun, CampaignSpan, CampaignSpans, Cause, DailyRow, Progress, RankRange,
    RankedAt, Redo, Run, RunFailure, RunResult, RunState,
};
pub use dead_letters::{DeadLetter, DeadLetterFilter};
pub use error::StoreError;
pub use history::History;
pub use order::Ordered;
pub use orders::{DecidedOrder, DecisionContext, DueOrder, LineContradiction, NewOrder};
pub use outbox::{
    DueRows, LeasedBucket, LogEntry, NewlyParked, ORPHAN_KEYS_MAX, OutboxCounts, Parked, ParkedRow,
    ParkedState, ParkedVerdict, Partitions, PublishedEvent, PurgePage, Purgeable, REPUBLISH_MAX,
    RelayLease, Released, StreamEnds, StreamKey, Targets, Tenure, UnexpiredLease,
};
pub use participations::{
    Applicant, Applicants, ChangeRequest, Changed, Closing, CommitError, Committed, Decision,
    DueReservations, Entries, EntriesResult, EventState, GateStatus, Group, GroupOutcome, Making,
    Mismatch, NewParticipation, ParticipationEvent, ParticipationEvents, PassedOver, Raise, Raised,
    RankAssignment, RankPage, Ranked, RankedRow, RankedStatus, Rewarding, Turn, UserKey,
};
pub use replicas::OtherReplica;
pub use reviews::{Review, ReviewOutcome};
pub use rewards::{
    Applied, Due, Effects, Order, Revocation, Rewarded, Rewards, Suspension, UseOutcome, Voucher,
};
pub use swept_page::SweptPage;
pub use tallies::{MinuteTally, TallyRow};
pub use task_leases::Term;
pub use totp::{AccountTotp, TotpChange};
pub use verification::{
    CampaignCounters, EventRow, EventSums, LogSums, Purged, RowSelection, SEGMENT_RANKS, Segment,
    Snapshot, StoredLogSums, StoredSums, Sums, Waiting,
};

use std::fmt::Debug;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use migration::MigratorTrait;
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use self::bounded::{Db, Tx};
use self::sql::Sql;
use crate::domain::Timestamp;
use crate::runtime::clock::{Clock, TimeReading};

/// Longest wait for the answer to a statement that reads many rows.
const PATIENCE: Duration = Duration::from_secs(300);

/// The schema of a database.
pub trait Schema: Clone + Debug + Send + Sync + 'static {
    /// Its migrations.
    type Migrations: MigratorTrait;
    /// The name of the lock that lets one process change it, in SQL. Other schemas on the same server have other
    /// locks.
    const LOCK: &'static str;
    /// Longest wait for the answer to a statement that reads many rows.
    const PATIENCE: Duration;
}

/// The schema of campaigns, participations and events.
#[derive(Clone, Copy, Debug)]
pub struct Sale;

impl Schema for Sale {
    type Migrations = migration::Migrator;
    const LOCK: &'static str = "LEFT(CONCAT('firstcome.migrate.', DATABASE()), 64)";
    const PATIENCE: Duration = PATIENCE;
}

/// A pool of connections to a database with this schema.
#[derive(Clone, Debug)]
pub struct Database<S: Schema> {
    db: Db,
    clock: Clock,
    statement_bytes_max: usize,
    schema_lock: schema::Lock,
    unreadable: unreadable::Unreadable,
    schema: PhantomData<S>,
}

/// The database of campaigns, participations and events.
pub type Store = Database<Sale>;

impl<S: Schema> Database<S> {
    async fn open(config: &StoreConfig, clock: Clock) -> Result<Self, StoreError> {
        let (db, statement_bytes_max) = connection::open(config).await?;
        Ok(Self {
            db,
            clock,
            statement_bytes_max,
            schema_lock: schema::Lock {
                name: S::LOCK,
                wait_max: config.migration_wait,
            },
            unreadable: unreadable::Unreadable::default(),
            schema: PhantomData,
        })
    }

    /// The same database with a longer bound for statements, for large reads in the background.
    #[must_use]
    pub fn patient(&self) -> Self {
        Self {
            db: self.db.patient(S::PATIENCE),
            ..self.clone()
        }
    }

    /// Brings the schema up to date. It is safe to repeat; only one process at a time does it.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        schema::up::<S::Migrations>(&self.db, self.schema_lock).await
    }

    /// Drops the schema with all its data.
    pub async fn migrate_down(&self) -> Result<(), StoreError> {
        schema::down::<S::Migrations>(&self.db, self.schema_lock).await
    }

    /// Fails if the database accepts no writes; the error names the responsible server settings.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        self.db.demotion().require_writable(&self.db).await
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.db.execute_unprepared("SELECT 1").await?;
        Ok(())
    }

    /// Whether this is the embedded database.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.db.is_embedded()
    }

    /// Closes the pool. It waits briefly for connections in use; others end with the process.
    pub async fn close(&self) -> Result<(), StoreError> {
        connection::close(&self.db).await
    }

    /// A write transaction. In SQLite it takes the write lock at once, because a transaction that reads first and
    /// writes later can be rejected half-way.
    async fn begin(&self) -> Result<Tx, StoreError> {
        connection::begin(&self.db).await
    }
}

impl Store {
    /// Connects and reads the time once, so that a wrong address fails at start and a clock that follows the database's
    /// clock is set.
    pub async fn connect(config: &StoreConfig, clock: Clock) -> Result<Self, StoreError> {
        let store = Self::open(config, clock).await?;
        store.ask_time().await?;
        let server = store.server_name(&store.db).await;
        store.db.demotion().begin_with(server).await;
        Ok(store)
    }

    /// The clock of this store, for times that must agree with its rows.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The time by the database's clock, which decides irrevocable changes. For the embedded database, this is the
    /// process's clock.
    pub async fn time(&self) -> Result<Timestamp, StoreError> {
        Sql::time(self, &self.db).await
    }

    /// The same; the clock of this store follows it from then on.
    pub async fn ask_time(&self) -> Result<TimeReading, StoreError> {
        let asked = Instant::now();
        let time = self.time().await?;
        let reading = TimeReading {
            asked,
            time,
            answered: Instant::now(),
        };
        self.clock.follow(reading);
        Ok(reading)
    }

    /// The same store with at most this many statements at a time, counted over all clones of the result; more
    /// statements wait.
    #[must_use]
    pub fn share(&self, connections_max: usize) -> Self {
        Self {
            db: self.db.share(connections_max),
            ..self.clone()
        }
    }

    /// Creates an empty MySQL schema on the same server if there is none; its name has letters, digits and underscores
    /// only. A read-only server refuses the statement even if the schema exists.
    pub async fn create_schema(&self, name: &str) -> Result<(), StoreError> {
        if !name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        {
            return Err(StoreError::unreadable("the name of a schema", name));
        }
        let mut known = self.sql("SELECT 1 FROM information_schema.schemata WHERE schema_name = ");
        if !known.bind(name).rows(&self.db).await?.is_empty() {
            return Ok(());
        }
        self.db
            .execute_unprepared(&format!("CREATE DATABASE IF NOT EXISTS `{name}`"))
            .await?;
        Ok(())
    }

    /// The value of one of MySQL's server variables.
    pub async fn server_variable(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.performance_schema("global_variables", name).await
    }

    /// The value of a status variable of the MySQL server.
    pub async fn server_status(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.performance_schema("global_status", name).await
    }

    /// The value of a session variable of MySQL.
    pub async fn session_variable(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.performance_schema("session_variables", name).await
    }

    /// The cipher of connections to MySQL; none: they are not encrypted.
    pub async fn encryption(&self) -> Result<Option<String>, StoreError> {
        let cipher = self.performance_schema("session_status", "Ssl_cipher");
        Ok(cipher.await?.filter(|cipher| !cipher.is_empty()))
    }

    async fn performance_schema(
        &self,
        table: &str,
        name: &str,
    ) -> Result<Option<String>, StoreError> {
        let sql = format!(
            "SELECT VARIABLE_VALUE FROM performance_schema.{table} WHERE VARIABLE_NAME = ?"
        );
        let statement = Statement::from_sql_and_values(DbBackend::MySql, sql, [name.into()]);
        let row = self.db.query_one_raw(statement).await?;
        Ok(row.map(|row| row.try_get_by_index(0)).transpose()?)
    }
}

//! The schema is complete after any fault: a process killed after any statement, several that start at once,
//! and one that holds the lock.

use std::time::Duration;

use firstcome::parts::store::{Rewards, Store, StoreConfig, StoreError};
use firstcome::runtime::clock::Clock;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::support::{patient, real, unique, until};

mod killed;
mod newer;

/// An empty database.
struct Empty {
    url: String,
    db: DatabaseConnection,
    _folder: Option<TempDir>,
}

impl Empty {
    async fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!(
            "sqlite://{}?mode=rwc",
            folder.path().join("test.db").display()
        );
        let db = Database::connect(&url).await.unwrap();
        Self {
            url,
            db,
            _folder: Some(folder),
        }
    }

    async fn mysql() -> Self {
        let base = real("FIRSTCOME_DATABASE_URL");
        let schema = unique("t");
        let admin = Database::connect(&base).await.unwrap();
        let create = format!("CREATE DATABASE {schema}");
        admin.execute_unprepared(&create).await.unwrap();
        let (server, _) = base.rsplit_once('/').unwrap();
        let url = format!("{server}/{schema}");
        let db = Database::connect(&url).await.unwrap();
        Self {
            url,
            db,
            _folder: None,
        }
    }

    async fn on(backend: DbBackend) -> Self {
        match backend {
            DbBackend::Sqlite => Self::sqlite().await,
            _ => Self::mysql().await,
        }
    }

    /// The name of its schema in MySQL.
    fn schema(&self) -> &str {
        self.url.rsplit('/').next().unwrap()
    }

    async fn store(&self) -> Store {
        let config = patient(&self.url);
        Store::connect(&config, Clock::System).await.unwrap()
    }

    /// A process that migrates the schema, and waits this long for another one.
    async fn migrating(&self, wait: Duration) -> JoinHandle<Result<(), StoreError>> {
        let config = StoreConfig {
            migration_wait: wait,
            ..patient(&self.url)
        };
        let store = Store::connect(&config, Clock::System).await.unwrap();
        tokio::spawn(async move { store.migrate().await })
    }

    async fn rewards(&self) -> Rewards {
        let config = patient(&self.url);
        Rewards::connect(&config, Clock::System).await.unwrap()
    }

    async fn run(&self, statements: &[String]) {
        for statement in statements {
            self.db.execute_unprepared(statement).await.unwrap();
        }
    }

    /// The whole schema, row by row, and its initial rows.
    async fn look(&self) -> Vec<String> {
        let backend = self.db.get_database_backend();
        let asked: &[&str] = match backend {
            DbBackend::Sqlite => &[
                "SELECT name || ' ' || COALESCE(sql, '') FROM sqlite_master ORDER BY name",
                "SELECT bucket || ' ' || epoch FROM outbox_lease ORDER BY bucket",
            ],
            _ => &[
                "SELECT CONCAT_WS(' ', table_name, column_name, column_type, is_nullable, column_default, \
                 collation_name, extra) FROM information_schema.columns \
                 WHERE table_schema = DATABASE() ORDER BY table_name, column_name",
                "SELECT CONCAT_WS(' ', table_name, index_name, non_unique, seq_in_index, column_name) \
                 FROM information_schema.statistics WHERE table_schema = DATABASE() \
                 ORDER BY table_name, index_name, seq_in_index",
                "SELECT CONCAT_WS(' ', constraint_name, check_clause) \
                 FROM information_schema.check_constraints \
                 WHERE constraint_schema = DATABASE() ORDER BY constraint_name",
                "SELECT CONCAT_WS(' ', bucket, epoch) FROM outbox_lease ORDER BY bucket",
            ],
        };
        let mut rows = Vec::new();
        for select in asked {
            let of_one = self
                .db
                .query_all_raw(Statement::from_string(backend, *select));
            let of_one = of_one.await.unwrap();
            assert!(!of_one.is_empty() || select.contains("check"), "{select}");
            rows.extend(of_one.iter().map(|row| row.try_get_by_index(0).unwrap()));
        }
        rows
    }

    async fn one(&self, select: &str) -> Option<u64> {
        let statement = Statement::from_string(self.db.get_database_backend(), select);
        let row = self.db.query_one_raw(statement).await.unwrap();
        row.and_then(|row| row.try_get_by_index(0).unwrap())
    }

    /// The connection that changes the schema, by the name of its lock.
    async fn lock_holder(&self) -> Option<u64> {
        self.one("SELECT IS_USED_LOCK(LEFT(CONCAT('firstcome.migrate.', DATABASE()), 64))")
            .await
    }
}

#[tokio::test]
async fn the_schema_is_complete_after_a_crash_behind_any_statement() {
    for backend in [DbBackend::Sqlite, DbBackend::MySql] {
        let whole = Empty::on(backend).await;
        whole.store().await.migrate().await.unwrap();
        whole.rewards().await.migrate().await.unwrap();
        let whole = whole.look().await;
        let sale = migration::statements(backend);
        let rewards = migration::rewards::statements(backend);
        for done in 0..=sale.len().max(rewards.len()) {
            let crashed = Empty::on(backend).await;
            crashed.run(&sale[..done.min(sale.len())]).await;
            crashed.run(&rewards[..done.min(rewards.len())]).await;
            crashed.store().await.migrate().await.unwrap();
            crashed.rewards().await.migrate().await.unwrap();
            assert_eq!(crashed.look().await, whole, "after {done} statements");
        }
    }
}

#[tokio::test]
async fn a_partly_removed_schema_is_restored_completely() {
    for backend in [DbBackend::Sqlite, DbBackend::MySql] {
        let database = Empty::on(backend).await;
        let store = database.store().await;
        store.migrate().await.unwrap();
        let whole = database.look().await;
        let forget = "DELETE FROM seaql_migrations".to_owned();
        database.run(std::slice::from_ref(&forget)).await;
        store.migrate().await.unwrap();
        assert_eq!(
            database.look().await,
            whole,
            "before the tables were removed"
        );
        let list = migration::statements(backend);
        let created = list.iter().filter(|text| text.starts_with("CREATE TABLE"));
        let names = created.map(|text| text.split(' ').nth(5).unwrap().to_owned());
        let drops: Vec<String> = names.map(|name| format!("DROP TABLE {name}")).collect();
        database.run(&[forget]).await;
        database.run(&drops).await;
        store.migrate().await.unwrap();
        assert_eq!(database.look().await, whole, "after they were removed");
    }
}

#[tokio::test]
async fn removing_the_schema_leaves_none_of_its_tables() {
    for backend in [DbBackend::Sqlite, DbBackend::MySql] {
        let database = Empty::on(backend).await;
        let store = database.store().await;
        store.migrate().await.unwrap();
        store.migrate_down().await.unwrap();
        let count = match backend {
            DbBackend::Sqlite => {
                "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            }
            _ => {
                "SELECT COUNT(*) FROM information_schema.tables \
                  WHERE table_schema = DATABASE()"
            }
        };
        let count = Statement::from_string(backend, count);
        let row = database.db.query_one_raw(count).await.unwrap();
        let left: i64 = row.unwrap().try_get_by_index(0).unwrap();
        assert_eq!(left, 1, "the list of what was applied stays, empty");
        store.migrate_down().await.unwrap();
        store.migrate().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_together_migrate_once() {
    for backend in [DbBackend::Sqlite, DbBackend::MySql] {
        let database = Empty::on(backend).await;
        let mut replicas = Vec::new();
        for _ in 0..4 {
            replicas.push(database.migrating(Duration::from_secs(30)).await);
        }
        for replica in replicas {
            replica.await.unwrap().unwrap();
        }
        let alone = Empty::on(backend).await;
        alone.store().await.migrate().await.unwrap();
        assert_eq!(database.look().await, alone.look().await);
    }
}

#[tokio::test]
async fn a_replica_does_not_migrate_without_the_lock() {
    let database = Empty::mysql().await;
    let other = Database::connect(database.url.as_str()).await.unwrap();
    let held = sea_orm::TransactionTrait::begin(&other).await.unwrap();
    let get = "SELECT GET_LOCK(LEFT(CONCAT('firstcome.migrate.', DATABASE()), 64), 0)";
    held.execute_unprepared(get).await.unwrap();
    let refused = database.migrating(Duration::from_secs(1)).await;
    let refused = refused.await.unwrap().unwrap_err();
    assert!(matches!(refused, StoreError::SchemaLocked(_)), "{refused}");
    let tables = "SELECT CAST(COUNT(*) AS UNSIGNED) FROM information_schema.tables \
                  WHERE table_schema = DATABASE()";
    assert_eq!(database.one(tables).await, Some(0));
    // A process with a longer wait continues as soon as it can.
    let waits = database.migrating(Duration::from_secs(30)).await;
    let waiting = "SELECT CAST(COUNT(*) AS UNSIGNED) FROM performance_schema.processlist \
                   WHERE db = DATABASE() AND state = 'User lock'";
    until("the second waits for the lock", async || {
        database.one(waiting).await == Some(1)
    })
    .await;
    held.execute_unprepared("DO RELEASE_ALL_LOCKS()")
        .await
        .unwrap();
    waits.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_that_migrates_holds_the_lock() {
    let database = Empty::mysql().await;
    let statements = migration::statements(DbBackend::MySql);
    let seeds = "INSERT IGNORE INTO outbox_lease";
    let seeded = statements.iter().position(|text| text.starts_with(seeds));
    database.run(&statements[..=seeded.unwrap()]).await;
    // Statements on this table wait for the session that locked it.
    let other = Database::connect(database.url.as_str()).await.unwrap();
    let held = sea_orm::TransactionTrait::begin(&other).await.unwrap();
    held.execute_unprepared("LOCK TABLES outbox_lease WRITE")
        .await
        .unwrap();
    let first = database.migrating(Duration::from_secs(30)).await;
    let at_work = "SELECT CAST(id AS UNSIGNED) FROM performance_schema.processlist \
                   WHERE db = DATABASE() AND state LIKE 'Waiting for table metadata lock%'";
    until("the first changes the schema", async || {
        database.one(at_work).await.is_some()
    })
    .await;
    let holder = database.lock_holder().await.unwrap();
    assert_eq!(database.one(at_work).await, Some(holder));
    // Its connection is lost, and with it the lock: it fails, and the next one begins anew.
    let second = database.migrating(Duration::from_secs(30)).await;
    let kill = format!("KILL {holder}");
    database.run(&[kill]).await;
    first.await.unwrap().unwrap_err();
    until("the second changes the schema", async || {
        database
            .lock_holder()
            .await
            .is_some_and(|now| now != holder)
    })
    .await;
    held.execute_unprepared("UNLOCK TABLES").await.unwrap();
    second.await.unwrap().unwrap();
    let whole = Empty::mysql().await;
    whole.store().await.migrate().await.unwrap();
    assert_eq!(database.look().await, whole.look().await);
}

#[tokio::test]
async fn a_schema_that_is_up_to_date_is_not_locked() {
    let database = Empty::mysql().await;
    database.store().await.migrate().await.unwrap();
    let other = Database::connect(database.url.as_str()).await.unwrap();
    let held = sea_orm::TransactionTrait::begin(&other).await.unwrap();
    let get = "SELECT GET_LOCK(LEFT(CONCAT('firstcome.migrate.', DATABASE()), 64), 0)";
    held.execute_unprepared(get).await.unwrap();
    let next = database.migrating(Duration::from_secs(1)).await;
    next.await.unwrap().unwrap();
}

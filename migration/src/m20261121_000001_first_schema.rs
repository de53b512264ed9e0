//! Campaigns, participations, the outbox and what the relay keeps beside it.
//!
//! Plain SQL for each database: the schema is a contract with the relay, with Debezium and with
//! people who look into the database, and reads best as what it is.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// Buckets the outbox is shared in.
const BUCKETS: u16 = 64;

#[derive(Debug)]
pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261121_000001_first_schema"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = match manager.get_database_backend() {
            DbBackend::Sqlite => SQLITE,
            _ => MYSQL,
        };
        let connection = manager.get_connection();
        for statement in tables {
            connection.execute_unprepared(statement).await?;
        }
        let buckets: Vec<String> = (0..BUCKETS)
            .map(|bucket| format!("({bucket}, NULL, 0, '1970-01-01 00:00:00')"))
            .collect();
        let leases = format!(
            "INSERT INTO outbox_lease (bucket, owner, epoch, expires_at) VALUES {}",
            buckets.join(", ")
        );
        connection.execute_unprepared(&leases).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            manager
                .get_connection()
                .execute_unprepared(&format!("DROP TABLE {table}"))
                .await?;
        }
        Ok(())
    }
}

const TABLES: [&str; 8] = [
    "rejection_tally",
    "outbox_lease",
    "outbox_parked",
    "outbox_pending",
    "outbox_event",
    "idempotency",
    "participation",
    "campaign",
];

const MYSQL: &[&str] = &[
    "CREATE TABLE campaign (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        name VARCHAR(200) NOT NULL,
        description VARCHAR(4000) NOT NULL,
        kind VARCHAR(16) NOT NULL,
        state VARCHAR(16) NOT NULL,
        total_stock BIGINT NULL,
        committed_units BIGINT NOT NULL DEFAULT 0,
        participation_count BIGINT NOT NULL DEFAULT 0,
        per_user_limit INT NOT NULL,
        max_quantity INT NOT NULL,
        price BIGINT NULL,
        hold_seconds INT NOT NULL,
        opens_at DATETIME(6) NULL,
        closes_at DATETIME(6) NULL,
        reward TEXT NULL,
        gate_epoch BIGINT NOT NULL DEFAULT 0,
        version BIGINT NOT NULL DEFAULT 1,
        created_at DATETIME(6) NOT NULL,
        updated_at DATETIME(6) NOT NULL,
        KEY campaign_by_state (state, id),
        CONSTRAINT campaign_units CHECK (committed_units >= 0),
        CONSTRAINT campaign_stock CHECK (total_stock IS NULL OR committed_units <= total_stock)
    ) CHARACTER SET utf8mb4",
    "CREATE TABLE participation (
        id BINARY(16) NOT NULL PRIMARY KEY,
        campaign_id BIGINT NOT NULL,
        user_id BIGINT NOT NULL,
        quantity INT NOT NULL,
        `rank` BIGINT NOT NULL,
        ordinal INT NULL,
        status VARCHAR(16) NOT NULL,
        remaining BIGINT NULL,
        version INT NOT NULL DEFAULT 1,
        expires_at DATETIME(6) NULL,
        rewarded_at DATETIME(6) NULL,
        created_at DATETIME(6) NOT NULL,
        updated_at DATETIME(6) NOT NULL,
        UNIQUE KEY participation_once (user_id, campaign_id, ordinal),
        UNIQUE KEY participation_rank (campaign_id, `rank`),
        KEY participation_expiry (expires_at)
    ) CHARACTER SET ascii",
    "CREATE TABLE idempotency (
        user_id BIGINT NOT NULL,
        idempotency_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        participation_id BINARY(16) NOT NULL,
        created_at DATETIME(6) NOT NULL,
        PRIMARY KEY (user_id, idempotency_key)
    )",
    "CREATE TABLE outbox_event (
        id BINARY(16) NOT NULL PRIMARY KEY,
        bucket SMALLINT NOT NULL,
        campaign_id BIGINT NOT NULL,
        aggregatetype VARCHAR(32) NOT NULL,
        aggregateid VARCHAR(64) NOT NULL,
        type VARCHAR(64) NOT NULL,
        message_key VARCHAR(64) NOT NULL,
        key_sequence INT NOT NULL,
        `rank` BIGINT NULL,
        traceparent VARCHAR(64) NULL,
        payload TEXT CHARACTER SET utf8mb4 NOT NULL,
        created_at DATETIME(6) NOT NULL
    ) CHARACTER SET ascii",
    "CREATE TABLE outbox_pending (
        bucket SMALLINT NOT NULL,
        event_id BINARY(16) NOT NULL,
        campaign_id BIGINT NOT NULL,
        hold_until DATETIME(6) NULL,
        PRIMARY KEY (bucket, event_id)
    )",
    "CREATE TABLE outbox_parked (
        event_id BINARY(16) NOT NULL PRIMARY KEY,
        bucket SMALLINT NOT NULL,
        campaign_id BIGINT NOT NULL,
        message_key VARCHAR(64) CHARACTER SET ascii NOT NULL,
        state VARCHAR(8) CHARACTER SET ascii NOT NULL,
        attempts INT NOT NULL,
        error_class VARCHAR(32) CHARACTER SET ascii NOT NULL,
        error VARCHAR(1000) NOT NULL,
        next_at DATETIME(6) NULL,
        parked_at DATETIME(6) NOT NULL,
        copied_at DATETIME(6) NULL,
        KEY parked_due (state, next_at),
        KEY parked_key (message_key)
    ) CHARACTER SET utf8mb4",
    "CREATE TABLE outbox_lease (
        bucket SMALLINT NOT NULL PRIMARY KEY,
        owner VARCHAR(64) CHARACTER SET ascii NULL,
        epoch BIGINT NOT NULL,
        expires_at DATETIME(6) NOT NULL
    )",
    "CREATE TABLE rejection_tally (
        campaign_id BIGINT NOT NULL,
        minute DATETIME NOT NULL,
        reason VARCHAR(32) CHARACTER SET ascii NOT NULL,
        count BIGINT NOT NULL,
        PRIMARY KEY (campaign_id, minute, reason)
    )",
];

const SQLITE: &[&str] = &[
    "CREATE TABLE campaign (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        description TEXT NOT NULL,
        kind TEXT NOT NULL,
        state TEXT NOT NULL,
        total_stock BIGINT NULL,
        committed_units BIGINT NOT NULL DEFAULT 0 CHECK (committed_units >= 0),
        participation_count BIGINT NOT NULL DEFAULT 0,
        per_user_limit INTEGER NOT NULL,
        max_quantity INTEGER NOT NULL,
        price BIGINT NULL,
        hold_seconds INTEGER NOT NULL,
        opens_at TEXT NULL,
        closes_at TEXT NULL,
        reward TEXT NULL,
        gate_epoch BIGINT NOT NULL DEFAULT 0,
        version BIGINT NOT NULL DEFAULT 1,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        CHECK (total_stock IS NULL OR committed_units <= total_stock)
    )",
    "CREATE INDEX campaign_by_state ON campaign (state, id)",
    "CREATE TABLE participation (
        id BLOB NOT NULL PRIMARY KEY,
        campaign_id BIGINT NOT NULL,
        user_id BIGINT NOT NULL,
        quantity INTEGER NOT NULL,
        `rank` BIGINT NOT NULL,
        ordinal INTEGER NULL,
        status TEXT NOT NULL,
        remaining BIGINT NULL,
        version INTEGER NOT NULL DEFAULT 1,
        expires_at TEXT NULL,
        rewarded_at TEXT NULL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    )",
    "CREATE UNIQUE INDEX participation_once ON participation (user_id, campaign_id, ordinal)",
    "CREATE UNIQUE INDEX participation_rank ON participation (campaign_id, `rank`)",
    "CREATE INDEX participation_expiry ON participation (expires_at)",
    "CREATE TABLE idempotency (
        user_id BIGINT NOT NULL,
        idempotency_key TEXT NOT NULL,
        participation_id BLOB NOT NULL,
        created_at TEXT NOT NULL,
        PRIMARY KEY (user_id, idempotency_key)
    )",
    "CREATE TABLE outbox_event (
        id BLOB NOT NULL PRIMARY KEY,
        bucket INTEGER NOT NULL,
        campaign_id BIGINT NOT NULL,
        aggregatetype TEXT NOT NULL,
        aggregateid TEXT NOT NULL,
        type TEXT NOT NULL,
        message_key TEXT NOT NULL,
        key_sequence INTEGER NOT NULL,
        `rank` BIGINT NULL,
        traceparent TEXT NULL,
        payload TEXT NOT NULL,
        created_at TEXT NOT NULL
    )",
    "CREATE TABLE outbox_pending (
        bucket INTEGER NOT NULL,
        event_id BLOB NOT NULL,
        campaign_id BIGINT NOT NULL,
        hold_until TEXT NULL,
        PRIMARY KEY (bucket, event_id)
    ) WITHOUT ROWID",
    "CREATE TABLE outbox_parked (
        event_id BLOB NOT NULL PRIMARY KEY,
        bucket INTEGER NOT NULL,
        campaign_id BIGINT NOT NULL,
        message_key TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        error_class TEXT NOT NULL,
        error TEXT NOT NULL,
        next_at TEXT NULL,
        parked_at TEXT NOT NULL,
        copied_at TEXT NULL
    )",
    "CREATE INDEX parked_due ON outbox_parked (state, next_at)",
    "CREATE INDEX parked_key ON outbox_parked (message_key)",
    "CREATE TABLE outbox_lease (
        bucket INTEGER NOT NULL PRIMARY KEY,
        owner TEXT NULL,
        epoch BIGINT NOT NULL,
        expires_at TEXT NOT NULL
    )",
    "CREATE TABLE rejection_tally (
        campaign_id BIGINT NOT NULL,
        minute TEXT NOT NULL,
        reason TEXT NOT NULL,
        count BIGINT NOT NULL,
        PRIMARY KEY (campaign_id, minute, reason)
    )",
];

//! What the consumers have applied, and what they granted.
//!
//! Ids are version 7 UUIDs and grow with time, so that most rows go to the end of the tables they are
//! the keys of. Keys begin with them, and the consumer comes after: what is looked for is a list of ids, and
//! a database that knows little of a table would rather read all that a consumer has.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(Debug)]
pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261122_000001_first_schema"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = match manager.get_database_backend() {
            DbBackend::Sqlite => SQLITE,
            _ => MYSQL,
        };
        for statement in tables {
            manager
                .get_connection()
                .execute_unprepared(statement)
                .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["coupon", "balance", "ledger", "inbox"] {
            manager
                .get_connection()
                .execute_unprepared(&format!("DROP TABLE {table}"))
                .await?;
        }
        Ok(())
    }
}

const MYSQL: &[&str] = &[
    "CREATE TABLE inbox (
        consumer VARCHAR(16) NOT NULL,
        event_id BINARY(16) NOT NULL,
        participation_id BINARY(16) NOT NULL,
        key_sequence INT NOT NULL,
        PRIMARY KEY (event_id, consumer),
        KEY inbox_participation (participation_id, consumer, key_sequence)
    ) CHARACTER SET ascii",
    "CREATE TABLE ledger (
        participation_id BINARY(16) NOT NULL,
        kind VARCHAR(8) NOT NULL,
        user_id BIGINT NOT NULL,
        campaign_id BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        event_id BINARY(16) NOT NULL,
        created_at DATETIME(6) NOT NULL,
        PRIMARY KEY (participation_id, kind),
        KEY ledger_user (user_id, event_id)
    ) CHARACTER SET ascii",
    "CREATE TABLE balance (
        user_id BIGINT NOT NULL PRIMARY KEY,
        points BIGINT NOT NULL
    )",
    "CREATE TABLE coupon (
        id BINARY(16) NOT NULL PRIMARY KEY,
        code CHAR(26) NOT NULL,
        user_id BIGINT NOT NULL,
        campaign_id BIGINT NOT NULL,
        participation_id BINARY(16) NOT NULL,
        nth INT NOT NULL,
        discount_amount BIGINT NOT NULL,
        minimum_order_amount BIGINT NOT NULL,
        valid_from DATETIME(6) NULL,
        valid_until DATETIME(6) NULL,
        status VARCHAR(8) NOT NULL,
        used_at DATETIME(6) NULL,
        order_amount BIGINT NULL,
        created_at DATETIME(6) NOT NULL,
        UNIQUE KEY coupon_code (code),
        UNIQUE KEY coupon_once (participation_id, nth),
        KEY coupon_user (user_id, id)
    ) CHARACTER SET ascii",
];

const SQLITE: &[&str] = &[
    "CREATE TABLE inbox (
        consumer TEXT NOT NULL,
        event_id BLOB NOT NULL,
        participation_id BLOB NOT NULL,
        key_sequence INTEGER NOT NULL,
        PRIMARY KEY (event_id, consumer)
    ) WITHOUT ROWID",
    "CREATE INDEX inbox_participation ON inbox (participation_id, consumer, key_sequence)",
    "CREATE TABLE ledger (
        participation_id BLOB NOT NULL,
        kind TEXT NOT NULL,
        user_id BIGINT NOT NULL,
        campaign_id BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        event_id BLOB NOT NULL,
        created_at TEXT NOT NULL,
        PRIMARY KEY (participation_id, kind)
    ) WITHOUT ROWID",
    "CREATE INDEX ledger_user ON ledger (user_id, event_id)",
    "CREATE TABLE balance (
        user_id INTEGER NOT NULL PRIMARY KEY,
        points BIGINT NOT NULL
    )",
    "CREATE TABLE coupon (
        id BLOB NOT NULL PRIMARY KEY,
        code TEXT NOT NULL,
        user_id BIGINT NOT NULL,
        campaign_id BIGINT NOT NULL,
        participation_id BLOB NOT NULL,
        nth INTEGER NOT NULL,
        discount_amount BIGINT NOT NULL,
        minimum_order_amount BIGINT NOT NULL,
        valid_from TEXT NULL,
        valid_until TEXT NULL,
        status TEXT NOT NULL,
        used_at TEXT NULL,
        order_amount BIGINT NULL,
        created_at TEXT NOT NULL
    )",
    "CREATE UNIQUE INDEX coupon_code ON coupon (code)",
    "CREATE UNIQUE INDEX coupon_once ON coupon (participation_id, nth)",
    "CREATE INDEX coupon_user ON coupon (user_id, id)",
];

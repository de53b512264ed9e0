//! Accounts, for those who have no identity provider. Their sessions are not here: those may be lost.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(Debug)]
pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261122_000060_account"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statement = match manager.get_database_backend() {
            DbBackend::Sqlite => SQLITE,
            _ => MYSQL,
        };
        let connection = manager.get_connection();
        connection.execute_unprepared(statement).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = "DROP TABLE account";
        manager.get_connection().execute_unprepared(drop).await?;
        Ok(())
    }
}

/// Login names are ASCII, so that both databases agree on which of them differ in case alone.
const MYSQL: &str = "CREATE TABLE account (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        login VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
        password_hash VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        scopes VARCHAR(255) CHARACTER SET ascii NOT NULL,
        disabled BOOLEAN NOT NULL,
        version BIGINT NOT NULL,
        created_at DATETIME(6) NOT NULL,
        UNIQUE KEY account_by_login (login)
    ) CHARACTER SET utf8mb4";

const SQLITE: &str = "CREATE TABLE account (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        login TEXT COLLATE NOCASE NOT NULL UNIQUE,
        password_hash TEXT NOT NULL,
        scopes TEXT NOT NULL,
        disabled BOOLEAN NOT NULL,
        version BIGINT NOT NULL,
        created_at TEXT NOT NULL
    )";

//! The audit log: what admins did, one row for each action. Nothing refers to these rows and they refer to
//! nothing, so that they can outlive what they are about.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(Debug)]
pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261122_000050_audit"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statements = match manager.get_database_backend() {
            DbBackend::Sqlite => SQLITE,
            _ => MYSQL,
        };
        for statement in statements {
            let connection = manager.get_connection();
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = "DROP TABLE audit_entry";
        manager.get_connection().execute_unprepared(drop).await?;
        Ok(())
    }
}

const MYSQL: &[&str] = &["CREATE TABLE audit_entry (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        created_at DATETIME(6) NOT NULL,
        actor VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
        action VARCHAR(64) CHARACTER SET ascii NOT NULL,
        campaign_id BIGINT NULL,
        subject VARCHAR(64) CHARACTER SET ascii NULL,
        before_values MEDIUMTEXT NULL,
        after_values MEDIUMTEXT NULL,
        request_id VARCHAR(64) CHARACTER SET ascii NULL,
        address VARCHAR(45) CHARACTER SET ascii NULL,
        KEY audit_by_time (created_at),
        KEY audit_by_campaign (campaign_id, id),
        KEY audit_by_actor (actor, id),
        KEY audit_by_action (action, id)
    ) CHARACTER SET utf8mb4"];

const SQLITE: &[&str] = &[
    "CREATE TABLE audit_entry (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        created_at TEXT NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        campaign_id BIGINT NULL,
        subject TEXT NULL,
        before_values TEXT NULL,
        after_values TEXT NULL,
        request_id TEXT NULL,
        address TEXT NULL
    )",
    "CREATE INDEX audit_by_time ON audit_entry (created_at)",
    "CREATE INDEX audit_by_campaign ON audit_entry (campaign_id, id)",
    "CREATE INDEX audit_by_actor ON audit_entry (actor, id)",
    "CREATE INDEX audit_by_action ON audit_entry (action, id)",
];

//! Lists of those who may take part in a campaign. A list is a generation of its own: it is filled while
//! another one is in force, and then named by its campaign. A row of the campaign is where participations are
//! committed, and tells which list holds; everything else about lists is elsewhere.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(Debug)]
pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261122_000070_allow_list"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let lists = match manager.get_database_backend() {
            DbBackend::Sqlite => SQLITE,
            _ => MYSQL,
        };
        for statement in lists.iter().chain(BOTH) {
            let connection = manager.get_connection();
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in [
            "ALTER TABLE campaign DROP COLUMN allow_list_id",
            "DROP TABLE allow_list_user",
            "DROP TABLE allow_list",
        ] {
            let connection = manager.get_connection();
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

const BOTH: &[&str] = &[
    "CREATE TABLE allow_list_user (
        list_id BIGINT NOT NULL,
        user_id BIGINT NOT NULL,
        PRIMARY KEY (list_id, user_id)
    )",
    "ALTER TABLE campaign ADD COLUMN allow_list_id BIGINT NULL",
];

const MYSQL: &[&str] = &["CREATE TABLE allow_list (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        campaign_id BIGINT NOT NULL,
        state VARCHAR(16) CHARACTER SET ascii NOT NULL,
        users BIGINT NOT NULL,
        actor VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
        changed_at DATETIME(6) NOT NULL,
        KEY allow_list_by_campaign (campaign_id, state),
        KEY allow_list_by_state (state, changed_at)
    ) CHARACTER SET utf8mb4"];

const SQLITE: &[&str] = &[
    "CREATE TABLE allow_list (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        campaign_id BIGINT NOT NULL,
        state TEXT NOT NULL,
        users BIGINT NOT NULL,
        actor TEXT NOT NULL,
        changed_at TEXT NOT NULL
    )",
    "CREATE INDEX allow_list_by_campaign ON allow_list (campaign_id, state)",
    "CREATE INDEX allow_list_by_state ON allow_list (state, changed_at)",
];

//! Room for orders: what a reservation costs and how it was paid, whether a campaign takes back what is
//! confirmed, how many returns it has seen, and whose turn a task is that one replica does at a time.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(Debug)]
pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261122_000007_orders"
    }
}

const ADDED: [(&str, &str, &str); 4] = [
    ("campaign", "cancellable", "BOOLEAN NOT NULL DEFAULT FALSE"),
    ("campaign", "`returns`", "BIGINT NOT NULL DEFAULT 0"),
    ("participation", "amount", "BIGINT NULL"),
    ("participation", "payment_reference", "VARCHAR(128) NULL"),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        for (table, column, definition) in ADDED {
            let add = format!("ALTER TABLE {table} ADD COLUMN {column} {definition}");
            connection.execute_unprepared(&add).await?;
        }
        let time = match manager.get_database_backend() {
            DbBackend::MySql => "DATETIME(6)",
            _ => "TEXT",
        };
        let duty = format!(
            "CREATE TABLE duty (
                name VARCHAR(32) NOT NULL PRIMARY KEY,
                owner VARCHAR(64) NOT NULL,
                expires_at {time} NOT NULL
            )"
        );
        connection.execute_unprepared(&duty).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection.execute_unprepared("DROP TABLE duty").await?;
        for (table, column, _) in ADDED {
            let drop = format!("ALTER TABLE {table} DROP COLUMN {column}");
            connection.execute_unprepared(&drop).await?;
        }
        Ok(())
    }
}

//! Room to say that a campaign's gate is closed: it is served by the database alone for so long, and
//! no gate has state of its epoch.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(Debug)]
pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261121_000005_gate_closed"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let add = match manager.get_database_backend() {
            DbBackend::Sqlite => "ALTER TABLE campaign ADD COLUMN gate_closed_until TEXT NULL",
            _ => "ALTER TABLE campaign ADD COLUMN gate_closed_until DATETIME(6) NULL",
        };
        manager.get_connection().execute_unprepared(add).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = "ALTER TABLE campaign DROP COLUMN gate_closed_until";
        manager.get_connection().execute_unprepared(drop).await?;
        Ok(())
    }
}

//! Room for the word "discarded" among the states of parked rows. SQLite knows no lengths.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(Debug)]
pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261121_000002_discarded"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        resize(manager, 16).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::MySql {
            let discarded = "DELETE FROM outbox_parked WHERE state = 'discarded'";
            manager
                .get_connection()
                .execute_unprepared(discarded)
                .await?;
        }
        resize(manager, 8).await
    }
}

async fn resize(manager: &SchemaManager<'_>, characters: u8) -> Result<(), DbErr> {
    if manager.get_database_backend() == DbBackend::MySql {
        let resize = format!(
            "ALTER TABLE outbox_parked MODIFY state VARCHAR({characters}) CHARACTER SET ascii NOT NULL"
        );
        manager.get_connection().execute_unprepared(&resize).await?;
    }
    Ok(())
}

//! Room to account for published events that were deleted when their time was over: each campaign
//! says how many of its events are gone, so that changes and events can still be compared.

use sea_orm_migration::prelude::*;

#[derive(Debug)]
pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261121_000004_retention"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let add = "ALTER TABLE campaign ADD COLUMN purged_events BIGINT NOT NULL DEFAULT 0";
        manager.get_connection().execute_unprepared(add).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = "ALTER TABLE campaign DROP COLUMN purged_events";
        manager.get_connection().execute_unprepared(drop).await?;
        Ok(())
    }
}

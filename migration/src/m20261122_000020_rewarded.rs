//! How many participations of each campaign were granted what they earn. A table of its own: the row of
//! the campaign is where participations are committed, and has no room for others who wait.

use sea_orm_migration::prelude::*;

#[derive(Debug)]
pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261122_000020_rewarded"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let create = "CREATE TABLE rewarded_tally (
            campaign_id BIGINT NOT NULL PRIMARY KEY,
            count BIGINT NOT NULL
        )";
        manager.get_connection().execute_unprepared(create).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = "DROP TABLE rewarded_tally";
        manager.get_connection().execute_unprepared(drop).await?;
        Ok(())
    }
}

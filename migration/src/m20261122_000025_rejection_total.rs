//! Refusals of each campaign by reason, over all time. The tallies have a row for each minute, so their sum
//! would cost more the longer a campaign is open, and the live view asks for it all the time.

use sea_orm_migration::prelude::*;

#[derive(Debug)]
pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261122_000025_rejection_total"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        db.execute_unprepared(
            "CREATE TABLE rejection_total (
                campaign_id BIGINT NOT NULL,
                reason VARCHAR(32) NOT NULL,
                count BIGINT NOT NULL,
                PRIMARY KEY (campaign_id, reason)
            )",
        )
        .await?;
        db.execute_unprepared(
            "INSERT INTO rejection_total (campaign_id, reason, count)
             SELECT campaign_id, reason, SUM(count) FROM rejection_tally GROUP BY campaign_id, reason",
        )
        .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = "DROP TABLE rejection_total";
        manager.get_connection().execute_unprepared(drop).await?;
        Ok(())
    }
}

//! What keeps events in order and topics apart: a clock of events for each campaign, and the stream of
//! each pending row.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(Debug)]
pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261121_000003_outbox_order"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let character_set = match manager.get_database_backend() {
            DbBackend::MySql => " CHARACTER SET ascii",
            _ => "",
        };
        let statements = [
            "ALTER TABLE campaign ADD COLUMN event_clock BIGINT NOT NULL DEFAULT 0".to_owned(),
            format!(
                "ALTER TABLE outbox_pending ADD COLUMN stream VARCHAR(32){character_set} \
                 NOT NULL DEFAULT 'participation'"
            ),
        ];
        for statement in statements {
            let connection = manager.get_connection();
            connection.execute_unprepared(&statement).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in [
            "ALTER TABLE outbox_pending DROP COLUMN stream",
            "ALTER TABLE campaign DROP COLUMN event_clock",
        ] {
            let connection = manager.get_connection();
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

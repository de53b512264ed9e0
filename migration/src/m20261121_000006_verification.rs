//! What makes verification cheap: each change of a participation has one event at most, by the schema,
//! in an index that lists the changes in order; what a stretch of a campaign summed up to when it was
//! last read; and where in a campaign the events were that are deleted.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(Debug)]
pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261121_000006_verification"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let time = match manager.get_database_backend() {
            DbBackend::MySql => "DATETIME(6)",
            _ => "TEXT",
        };
        let connection = manager.get_connection();
        for statement in [CHANGES, &kept(time), OLDEST, PURGED, PURGED_SO_FAR] {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop_index = match manager.get_database_backend() {
            DbBackend::MySql => "DROP INDEX event_change ON outbox_event",
            _ => "DROP INDEX event_change",
        };
        let tables = ["DROP TABLE purged_segment", "DROP TABLE verified_segment"];
        for statement in tables.into_iter().chain([drop_index]) {
            let connection = manager.get_connection();
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// Events about campaigns have no rank, and those without one do not meet in a unique index.
const CHANGES: &str =
    "CREATE UNIQUE INDEX event_change ON outbox_event (campaign_id, `rank`, key_sequence)";

fn kept(time: &str) -> String {
    format!(
        "CREATE TABLE verified_segment (
            campaign_id BIGINT NOT NULL,
            segment BIGINT NOT NULL,
            generation BIGINT NOT NULL,
            participations BIGINT NOT NULL,
            units BIGINT NOT NULL,
            changes BIGINT NOT NULL,
            per_user_limit INT NOT NULL,
            verified_at {time} NULL,
            PRIMARY KEY (campaign_id, segment)
        )"
    )
}

const OLDEST: &str = "CREATE INDEX segment_verified ON verified_segment (verified_at)";

const PURGED: &str = "CREATE TABLE purged_segment (
        campaign_id BIGINT NOT NULL,
        segment BIGINT NOT NULL,
        events BIGINT NOT NULL,
        digest BIGINT NOT NULL,
        PRIMARY KEY (campaign_id, segment)
    )";

/// Events deleted before they were accounted by segment. Up to here a participation has one change, so
/// those are the participations without an event, in campaigns that say some are deleted. The digest
/// is the one that verification takes.
const PURGED_SO_FAR: &str = "INSERT INTO purged_segment (campaign_id, segment, events, digest)
    SELECT gone.campaign_id, gone.segment, COUNT(*), CAST(SUM(gone.weight) AS SIGNED) FROM (
        SELECT p.campaign_id, CAST((p.`rank` - 1 - (p.`rank` - 1) % 65536) / 65536 AS SIGNED) AS segment,
            (p.`rank` % 2147483647 + 715827883) * (p.`rank` % 2147483647 + 715827883) % 2147483647 AS weight
        FROM campaign c
        JOIN participation p ON p.campaign_id = c.id
        LEFT JOIN outbox_event e
            ON e.campaign_id = p.campaign_id AND e.`rank` = p.`rank` AND e.key_sequence = 1
        WHERE c.purged_events > 0 AND e.id IS NULL
    ) gone GROUP BY gone.campaign_id, gone.segment";

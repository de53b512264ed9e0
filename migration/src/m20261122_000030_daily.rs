//! What days come to: a row for each campaign and day, which days are done, and the runs that did them.
//! Refusals are found by minute, because a day is read whole and not campaign by campaign.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(Debug)]
pub struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261122_000030_daily"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let types = match manager.get_database_backend() {
            DbBackend::MySql => Types {
                time: "DATETIME(6)",
                date: "DATE",
                id: "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY",
                text: "CHARACTER SET ascii",
            },
            _ => Types {
                time: "TEXT",
                date: "TEXT",
                id: "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT",
                text: "",
            },
        };
        let connection = manager.get_connection();
        for statement in [&rows(&types), &days(&types), &runs(&types)] {
            connection.execute_unprepared(statement).await?;
        }
        for (name, columns) in INDEXES {
            let create = format!("CREATE INDEX {name} ON {columns}");
            connection.execute_unprepared(&create).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop_index = match manager.get_database_backend() {
            DbBackend::MySql => "DROP INDEX tally_by_minute ON rejection_tally",
            _ => "DROP INDEX tally_by_minute",
        };
        let tables = [
            "DROP TABLE daily_run",
            "DROP TABLE daily_day",
            "DROP TABLE daily_stat",
        ];
        for statement in tables.into_iter().chain([drop_index]) {
            let connection = manager.get_connection();
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// What the two databases call the same.
struct Types {
    time: &'static str,
    date: &'static str,
    id: &'static str,
    text: &'static str,
}

const INDEXES: [(&str, &str); 3] = [
    ("daily_stat_campaign", "daily_stat (campaign_id, zone, day)"),
    ("daily_run_state", "daily_run (state)"),
    ("tally_by_minute", "rejection_tally (minute)"),
];

fn rows(types: &Types) -> String {
    let Types {
        time, date, text, ..
    } = types;
    format!(
        "CREATE TABLE daily_stat (
            zone VARCHAR(64) {text} NOT NULL,
            day {date} NOT NULL,
            campaign_id BIGINT NOT NULL,
            reserved BIGINT NOT NULL,
            confirmed BIGINT NOT NULL,
            cancelled BIGINT NOT NULL,
            expired BIGINT NOT NULL,
            units BIGINT NOT NULL,
            units_standing BIGINT NOT NULL,
            refused BIGINT NOT NULL,
            refusals TEXT {text} NOT NULL,
            hours TEXT {text} NOT NULL,
            first_at {time} NULL,
            last_at {time} NULL,
            run_id BIGINT NOT NULL,
            PRIMARY KEY (zone, day, campaign_id)
        )"
    )
}

fn days(types: &Types) -> String {
    let Types {
        time, date, text, ..
    } = types;
    format!(
        "CREATE TABLE daily_day (
            zone VARCHAR(64) {text} NOT NULL,
            day {date} NOT NULL,
            run_id BIGINT NOT NULL,
            aggregated_at {time} NOT NULL,
            is_complete BOOLEAN NOT NULL,
            PRIMARY KEY (zone, day)
        )"
    )
}

fn runs(types: &Types) -> String {
    let Types {
        time,
        date,
        id,
        text,
    } = types;
    format!(
        "CREATE TABLE daily_run (
            id {id},
            zone VARCHAR(64) {text} NOT NULL,
            day {date} NOT NULL,
            state VARCHAR(16) {text} NOT NULL,
            cause VARCHAR(16) {text} NOT NULL,
            owner VARCHAR(64) {text} NOT NULL,
            started_at {time} NOT NULL,
            finished_at {time} NULL,
            percent INT NOT NULL DEFAULT 0,
            participations BIGINT NOT NULL DEFAULT 0,
            campaigns BIGINT NOT NULL DEFAULT 0,
            campaigns_done BIGINT NOT NULL DEFAULT 0,
            campaigns_failed BIGINT NOT NULL DEFAULT 0,
            failures TEXT {text} NULL,
            error VARCHAR(32) {text} NULL
        )"
    )
}

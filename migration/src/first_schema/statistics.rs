//! Daily statistics, and the aggregation runs that compute them.

use crate::table::{Dialect, Table};

/// A campaign on a day of a zone.
pub(super) fn daily_stat(dialect: &Dialect) -> Table {
    let Dialect {
        time, date, ascii, ..
    } = dialect;
    let columns = format!(
        "zone VARCHAR(64) {ascii} NOT NULL,
        day {date} NOT NULL,
        campaign_id BIGINT NOT NULL,
        reserved BIGINT NOT NULL,
        confirmed BIGINT NOT NULL,
        cancelled BIGINT NOT NULL,
        expired BIGINT NOT NULL,
        units BIGINT NOT NULL,
        units_standing BIGINT NOT NULL,
        refused BIGINT NOT NULL,
        refusals TEXT {ascii} NOT NULL,
        hours TEXT {ascii} NOT NULL,
        first_at {time} NULL,
        last_at {time} NULL,
        run_id BIGINT NOT NULL,
        PRIMARY KEY (zone, day, campaign_id)"
    );
    Table::new("daily_stat", columns).index("daily_stat_campaign", "campaign_id, zone, day")
}

/// The days that were aggregated.
pub(super) fn daily_day(dialect: &Dialect) -> Table {
    let Dialect {
        time, date, ascii, ..
    } = dialect;
    let columns = format!(
        "zone VARCHAR(64) {ascii} NOT NULL,
        day {date} NOT NULL,
        run_id BIGINT NOT NULL,
        aggregated_at {time} NOT NULL,
        is_complete BOOLEAN NOT NULL,
        PRIMARY KEY (zone, day)"
    );
    Table::new("daily_day", columns)
}

/// The runs, how far they have come, and how they ended.
pub(super) fn daily_run(dialect: &Dialect) -> Table {
    let Dialect {
        time,
        date,
        serial,
        ascii,
        ..
    } = dialect;
    let columns = format!(
        "id {serial},
        zone VARCHAR(64) {ascii} NOT NULL,
        day {date} NOT NULL,
        state VARCHAR(16) {ascii} NOT NULL,
        cause VARCHAR(16) {ascii} NOT NULL,
        owner VARCHAR(64) {ascii} NOT NULL,
        started_at {time} NOT NULL,
        finished_at {time} NULL,
        percent INTEGER NOT NULL DEFAULT 0,
        participations BIGINT NOT NULL DEFAULT 0,
        campaigns BIGINT NOT NULL DEFAULT 0,
        campaigns_done BIGINT NOT NULL DEFAULT 0,
        campaigns_failed BIGINT NOT NULL DEFAULT 0,
        failures TEXT {ascii} NULL,
        error VARCHAR(32) {ascii} NULL"
    );
    Table::new("daily_run", columns).index("daily_run_state", "state")
}

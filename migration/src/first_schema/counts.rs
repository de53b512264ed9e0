//! Counts of a campaign that are written beside its participations.

use crate::table::{Dialect, Table};

/// Refusals by minute and reason.
pub(super) fn rejection_tally(dialect: &Dialect) -> Table {
    let Dialect { seconds, ascii, .. } = dialect;
    let columns = format!(
        "campaign_id BIGINT NOT NULL,
        minute {seconds} NOT NULL,
        reason VARCHAR(32) {ascii} NOT NULL,
        count BIGINT NOT NULL,
        PRIMARY KEY (campaign_id, minute, reason)"
    );
    Table::new("rejection_tally", columns).index("tally_by_minute", "minute")
}

/// Refusals by reason, of all time: the minutes are deleted when they are old.
pub(super) fn rejection_total(dialect: &Dialect) -> Table {
    let Dialect { ascii, .. } = dialect;
    let columns = format!(
        "campaign_id BIGINT NOT NULL,
        reason VARCHAR(32) {ascii} NOT NULL,
        count BIGINT NOT NULL,
        PRIMARY KEY (campaign_id, reason)"
    );
    Table::new("rejection_total", columns)
}

/// How many participations were granted their reward.
pub(super) fn rewarded_tally() -> Table {
    let columns = "campaign_id BIGINT NOT NULL PRIMARY KEY,
        count BIGINT NOT NULL";
    Table::new("rewarded_tally", columns.to_owned())
}

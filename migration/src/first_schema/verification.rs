//! What makes verification cheap: sums of the segments of a campaign that were read before, and of the
//! events that are deleted.

use crate::table::{Dialect, Table};

/// The sums of a segment when it was last read and found sound; no time: that holds no more.
pub(super) fn verified_segment(dialect: &Dialect) -> Table {
    let Dialect { time, .. } = dialect;
    let columns = format!(
        "campaign_id BIGINT NOT NULL,
        segment BIGINT NOT NULL,
        generation BIGINT NOT NULL,
        participations BIGINT NOT NULL,
        units BIGINT NOT NULL,
        changes BIGINT NOT NULL,
        digest BIGINT NOT NULL,
        per_user_limit INTEGER NOT NULL,
        verified_at {time} NULL,
        PRIMARY KEY (campaign_id, segment)"
    );
    Table::new("verified_segment", columns).index("segment_verified", "verified_at")
}

/// The sums of a segment of a stream when it was last read. They hold while the segment ends with `last_sequence` and
/// the campaign has as many deleted events.
pub(super) fn verified_log(dialect: &Dialect) -> Table {
    let Dialect { time, .. } = dialect;
    let columns = format!(
        "campaign_id BIGINT NOT NULL,
        segment BIGINT NOT NULL,
        last_sequence BIGINT NOT NULL,
        purged_events BIGINT NOT NULL,
        events BIGINT NOT NULL,
        digest BIGINT NOT NULL,
        verified_at {time} NOT NULL,
        PRIMARY KEY (campaign_id, segment)"
    );
    Table::new("verified_log", columns)
}

/// How many events of a segment are deleted, and a digest of which.
pub(super) fn purged_segment() -> Table {
    let columns = "campaign_id BIGINT NOT NULL,
        segment BIGINT NOT NULL,
        events BIGINT NOT NULL,
        digest BIGINT NOT NULL,
        PRIMARY KEY (campaign_id, segment)";
    Table::new("purged_segment", columns.to_owned())
}

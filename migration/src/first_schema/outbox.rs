//! Events, and what the relay keeps of their way to Kafka.

use crate::table::{Dialect, Table};

/// Buckets that events are divided into.
const BUCKETS: u16 = 64;

/// Events, never altered. Those about campaigns have no rank, and rows without one do not meet in a unique
/// index: a participation has each of its changes once.
pub(super) fn outbox_event(dialect: &Dialect) -> Table {
    let Dialect {
        time,
        uuid,
        ascii,
        unicode,
        ..
    } = dialect;
    let columns = format!(
        "id {uuid} NOT NULL PRIMARY KEY,
        bucket SMALLINT NOT NULL,
        campaign_id BIGINT NOT NULL,
        aggregatetype VARCHAR(32) {ascii} NOT NULL,
        aggregateid VARCHAR(64) {ascii} NOT NULL,
        type VARCHAR(64) {ascii} NOT NULL,
        message_key VARCHAR(64) {ascii} NOT NULL,
        key_sequence INTEGER NOT NULL,
        `rank` BIGINT NULL,
        traceparent VARCHAR(64) {ascii} NULL,
        payload TEXT {unicode} NOT NULL,
        created_at {time} NOT NULL"
    );
    Table::new("outbox_event", columns).unique("event_change", "campaign_id, `rank`, key_sequence")
}

/// Events that are to be published. The partition of a record follows from `key_hash`.
pub(super) fn outbox_pending(dialect: &Dialect) -> Table {
    let Dialect {
        time, uuid, ascii, ..
    } = dialect;
    let columns = format!(
        "bucket SMALLINT NOT NULL,
        event_id {uuid} NOT NULL,
        campaign_id BIGINT NOT NULL,
        stream VARCHAR(32) {ascii} NOT NULL DEFAULT 'participation',
        key_hash INTEGER NOT NULL DEFAULT 0,
        hold_until {time} NULL,
        PRIMARY KEY (bucket, event_id)"
    );
    Table::new("outbox_pending", columns).clustered()
}

/// Events that wait for another attempt, for another event, or for somebody to decide.
pub(super) fn outbox_parked(dialect: &Dialect) -> Table {
    let Dialect {
        time,
        uuid,
        ascii,
        unicode,
        ..
    } = dialect;
    let columns = format!(
        "event_id {uuid} NOT NULL PRIMARY KEY,
        bucket SMALLINT NOT NULL,
        campaign_id BIGINT NOT NULL,
        message_key VARCHAR(64) {ascii} NOT NULL,
        key_hash INTEGER NOT NULL DEFAULT 0,
        state VARCHAR(16) {ascii} NOT NULL,
        attempts INTEGER NOT NULL,
        error_class VARCHAR(32) {ascii} NOT NULL,
        error VARCHAR(1000) {unicode} NOT NULL,
        next_at {time} NULL,
        parked_at {time} NOT NULL,
        copied_at {time} NULL"
    );
    Table::new("outbox_parked", columns)
        .index("parked_due", "state, next_at")
        .index("parked_key", "message_key")
}

/// Which relay owns a bucket, and until when.
pub(super) fn outbox_lease(dialect: &Dialect) -> Table {
    let Dialect { time, ascii, .. } = dialect;
    let columns = format!(
        "bucket SMALLINT NOT NULL PRIMARY KEY,
        owner VARCHAR(64) {ascii} NULL,
        epoch BIGINT NOT NULL,
        expires_at {time} NOT NULL"
    );
    let buckets: Vec<String> = (0..BUCKETS)
        .map(|bucket| format!("({bucket}, NULL, 0, '1970-01-01 00:00:00')"))
        .collect();
    Table::new("outbox_lease", columns)
        .clustered()
        .begins_with("bucket, owner, epoch, expires_at", buckets.join(", "))
}

//! The outbox: logs of events for each campaign, one for each topic, and the position that the relay has reached in each.

use crate::table::{Dialect, Table};

/// Parts that the streams are divided into.
const BUCKETS: u16 = 64;

/// Events, never altered. A campaign's events for one topic are a stream: numbered from 1 without a gap in the order of
/// commits, so that a stream is a range of the primary key. `previous_event` is the sequence of the event of the previous
/// change of its participation; none: it is the first one.
pub(super) fn outbox_event(dialect: &Dialect) -> Table {
    let Dialect {
        time,
        uuid,
        ascii,
        unicode,
        ..
    } = dialect;
    let columns = format!(
        "campaign_id BIGINT NOT NULL,
        sequence BIGINT NOT NULL,
        id {uuid} NOT NULL,
        aggregatetype VARCHAR(32) {ascii} NOT NULL,
        aggregateid VARCHAR(64) {ascii} NOT NULL,
        type VARCHAR(64) {ascii} NOT NULL,
        message_key VARCHAR(64) {ascii} NOT NULL,
        key_sequence INTEGER NOT NULL,
        `rank` BIGINT NULL,
        traceparent VARCHAR(64) {ascii} NULL,
        payload TEXT {unicode} NOT NULL,
        created_at {time} NOT NULL,
        previous_event BIGINT NULL,
        PRIMARY KEY (campaign_id, aggregatetype, sequence)"
    );
    Table::new("outbox_event", columns).clustered()
}

/// How far the streams of a campaign are published, those of its participations, of the campaign itself and of orders: every
/// event up to there was acknowledged, or is parked. Streams without a row are not published at all.
pub(super) fn outbox_position() -> Table {
    let columns = "campaign_id BIGINT NOT NULL PRIMARY KEY,
        published BIGINT NOT NULL DEFAULT 0,
        campaign_published BIGINT NOT NULL DEFAULT 0,
        order_published BIGINT NOT NULL DEFAULT 0";
    Table::new("outbox_position", columns.to_owned())
}

/// Events that wait for another attempt, for another event, for their writer, or for somebody to decide. The
/// partition of a record follows from `key_hash`.
pub(super) fn outbox_parked(dialect: &Dialect) -> Table {
    let Dialect {
        time,
        uuid,
        ascii,
        unicode,
        ..
    } = dialect;
    let columns = format!(
        "campaign_id BIGINT NOT NULL,
        sequence BIGINT NOT NULL,
        event_id {uuid} NOT NULL,
        topic VARCHAR(32) {ascii} NOT NULL,
        message_key VARCHAR(64) {ascii} NOT NULL,
        key_hash INTEGER NOT NULL,
        state VARCHAR(16) {ascii} NOT NULL,
        attempts INTEGER NOT NULL,
        error_class VARCHAR(32) {ascii} NOT NULL,
        error VARCHAR(1000) {unicode} NOT NULL,
        next_at {time} NULL,
        parked_at {time} NOT NULL,
        copied_at {time} NULL,
        PRIMARY KEY (campaign_id, topic, sequence)"
    );
    Table::new("outbox_parked", columns)
        .clustered()
        .unique("parked_event", "event_id")
        .index("parked_due", "state, next_at")
        .index("parked_key", "message_key")
}

/// Where events were published, if that is kept: the topic, the partition and the offset of the last acknowledgement.
pub(super) fn outbox_published(dialect: &Dialect) -> Table {
    let Dialect { time, ascii, .. } = dialect;
    let columns = format!(
        "campaign_id BIGINT NOT NULL,
        aggregatetype VARCHAR(32) {ascii} NOT NULL,
        sequence BIGINT NOT NULL,
        topic VARCHAR(249) {ascii} NOT NULL,
        partition_number INTEGER NOT NULL,
        record_offset BIGINT NOT NULL,
        published_at {time} NOT NULL,
        PRIMARY KEY (campaign_id, aggregatetype, sequence)"
    );
    Table::new("outbox_published", columns).clustered()
}

/// Records that a consumer cannot apply, each as it was in its topic.
pub(super) fn consumer_dead_letter(dialect: &Dialect) -> Table {
    let Dialect {
        time,
        uuid,
        ascii,
        unicode,
        ..
    } = dialect;
    let columns = format!(
        "event_id {uuid} NOT NULL,
        consumer VARCHAR(16) {ascii} NOT NULL,
        campaign_id BIGINT NULL,
        event_type VARCHAR(255) {unicode} NOT NULL,
        topic VARCHAR(249) {ascii} NOT NULL,
        partition_number INTEGER NOT NULL,
        record_offset BIGINT NOT NULL,
        record_key MEDIUMBLOB NULL,
        record_headers MEDIUMBLOB NOT NULL,
        payload MEDIUMBLOB NULL,
        is_whole BOOLEAN NOT NULL,
        state VARCHAR(16) {ascii} NOT NULL,
        attempts INTEGER NOT NULL,
        error_class VARCHAR(32) {ascii} NOT NULL,
        error VARCHAR(1000) {unicode} NOT NULL,
        parked_at {time} NOT NULL,
        copied_at {time} NULL,
        PRIMARY KEY (event_id, consumer)"
    );
    Table::new("consumer_dead_letter", columns).index("letter_state", "state, consumer, event_id")
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

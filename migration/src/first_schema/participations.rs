//! Participations, and the keys that they were asked for under.

use crate::table::{Dialect, Table};

/// Participations, in order of campaign and rank: new ones are appended. An ordinal is the lowest that is free among
/// those of a user in a campaign; none: it was given back. `last_event` is the sequence of the event of its last change.
pub(super) fn participation(dialect: &Dialect) -> Table {
    let Dialect {
        time, uuid, ascii, ..
    } = dialect;
    let columns = format!(
        "campaign_id BIGINT NOT NULL,
        `rank` BIGINT NOT NULL,
        id {uuid} NOT NULL,
        user_id BIGINT NOT NULL,
        quantity INTEGER NOT NULL,
        ordinal INTEGER NULL,
        status VARCHAR(16) {ascii} NOT NULL,
        remaining BIGINT NULL,
        amount BIGINT NULL,
        payment_reference VARCHAR(128) {ascii} NULL,
        version INTEGER NOT NULL DEFAULT 1,
        expires_at {time} NULL,
        rewarded_at {time} NULL,
        created_at {time} NOT NULL,
        updated_at {time} NOT NULL,
        last_event BIGINT NULL,
        PRIMARY KEY (campaign_id, `rank`)"
    );
    Table::new("participation", columns)
        .clustered()
        .unique("participation_id", "id")
        .unique("participation_once", "user_id, campaign_id, ordinal")
}

/// Reservations that wait for their payment, in order of the time at which they expire.
pub(super) fn reservation_due(dialect: &Dialect) -> Table {
    let Dialect { time, .. } = dialect;
    let columns = format!(
        "expires_at {time} NOT NULL,
        campaign_id BIGINT NOT NULL,
        `rank` BIGINT NOT NULL,
        PRIMARY KEY (expires_at, campaign_id, `rank`)"
    );
    Table::new("reservation_due", columns).clustered()
}

/// The keys of users, and the participation that each led to. Without an index by time, which every commit with keys
/// would pay for: old keys are found by reading all.
pub(super) fn idempotency(dialect: &Dialect) -> Table {
    let Dialect {
        time,
        uuid,
        unicode_exact,
        ..
    } = dialect;
    let columns = format!(
        "user_id BIGINT NOT NULL,
        idempotency_key VARCHAR(255) {unicode_exact} NOT NULL,
        participation_id {uuid} NOT NULL,
        created_at {time} NOT NULL,
        PRIMARY KEY (user_id, idempotency_key)"
    );
    Table::new("idempotency", columns)
}

/// The payments that were recorded: each reference pays for one participation or one order.
pub(super) fn payment(dialect: &Dialect) -> Table {
    let Dialect {
        time,
        uuid,
        unicode_exact,
        ..
    } = dialect;
    let columns = format!(
        "reference VARCHAR(128) {unicode_exact} NOT NULL PRIMARY KEY,
        payable_id {uuid} NOT NULL,
        amount BIGINT NULL,
        created_at {time} NOT NULL"
    );
    Table::new("payment", columns)
}

//! What the consumers have applied, and what they granted.
//!
//! Ids are version 7 UUIDs and grow with time, so that most rows go to the end of the tables they are
//! the keys of. Keys begin with them, and the consumer comes after: a batch looks for a list of ids, and
//! a database that knows little of a table would rather read all that a consumer has.

use crate::schema::FirstSchema;
use crate::table::{Dialect, Table};

pub(super) const SCHEMA: FirstSchema = FirstSchema {
    applied: super::APPLIED,
    tables: |dialect| {
        vec![
            inbox(dialect),
            ledger(dialect),
            balance(),
            coupon(dialect),
            revocation(dialect),
        ]
    },
};

/// The events that a consumer has applied.
fn inbox(dialect: &Dialect) -> Table {
    let Dialect { uuid, ascii, .. } = dialect;
    let columns = format!(
        "consumer VARCHAR(16) {ascii} NOT NULL,
        event_id {uuid} NOT NULL,
        participation_id {uuid} NOT NULL,
        key_sequence INTEGER NOT NULL,
        PRIMARY KEY (event_id, consumer)"
    );
    Table::new("inbox", columns)
        .index(
            "inbox_participation",
            "participation_id, consumer, key_sequence",
        )
        .clustered()
}

/// Points granted to a participation or taken back from it.
fn ledger(dialect: &Dialect) -> Table {
    let Dialect {
        time, uuid, ascii, ..
    } = dialect;
    let columns = format!(
        "participation_id {uuid} NOT NULL,
        kind VARCHAR(8) {ascii} NOT NULL,
        user_id BIGINT NOT NULL,
        campaign_id BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        event_id {uuid} NOT NULL,
        created_at {time} NOT NULL,
        PRIMARY KEY (participation_id, kind)"
    );
    Table::new("ledger", columns)
        .index("ledger_user", "user_id, event_id")
        .clustered()
}

/// The points of a user: the sum of their ledger.
fn balance() -> Table {
    let columns = "user_id BIGINT NOT NULL PRIMARY KEY,
        points BIGINT NOT NULL";
    Table::new("balance", columns.to_owned()).clustered()
}

/// Coupons, with their terms as they were when they were issued.
fn coupon(dialect: &Dialect) -> Table {
    let Dialect {
        time,
        uuid,
        ascii,
        unicode,
        ..
    } = dialect;
    let columns = format!(
        "id {uuid} NOT NULL PRIMARY KEY,
        code CHAR(26) {ascii} NOT NULL,
        user_id BIGINT NOT NULL,
        campaign_id BIGINT NOT NULL,
        participation_id {uuid} NOT NULL,
        nth INTEGER NOT NULL,
        discount_amount BIGINT NOT NULL,
        minimum_order_amount BIGINT NOT NULL,
        valid_from {time} NULL,
        valid_until {time} NULL,
        status VARCHAR(16) {ascii} NOT NULL,
        used_at {time} NULL,
        order_amount BIGINT NULL,
        order_id VARCHAR(64) {ascii} NULL,
        used_by VARCHAR(260) {unicode} NULL,
        created_at {time} NOT NULL"
    );
    Table::new("coupon", columns)
        .unique("coupon_code", "code")
        .unique("coupon_once", "participation_id, nth")
        .index("coupon_user", "user_id, id")
}

/// Participations that are being cancelled, whose coupons are suspended meanwhile.
fn revocation(dialect: &Dialect) -> Table {
    let Dialect { time, uuid, .. } = dialect;
    let columns = format!(
        "participation_id {uuid} NOT NULL PRIMARY KEY,
        undecided_until {time} NULL"
    );
    Table::new("revocation", columns)
        .index("revocation_undecided", "undecided_until")
        .clustered()
}

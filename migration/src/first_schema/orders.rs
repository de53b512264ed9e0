//! Orders of several lines, carts and reviews.

use crate::table::{Dialect, Table};

/// Orders. The status of an order decides the status of its lines. The key is deleted when an order was refused because
/// a part was unavailable.
pub(super) fn customer_order(dialect: &Dialect) -> Table {
    let Dialect {
        time,
        uuid,
        ascii,
        unicode_exact,
        ..
    } = dialect;
    let columns = format!(
        "id {uuid} NOT NULL PRIMARY KEY,
        user_id BIGINT NOT NULL,
        status VARCHAR(16) {ascii} NOT NULL,
        amount BIGINT NULL,
        payment_reference VARCHAR(128) {ascii} NULL,
        refused_line INTEGER NULL,
        refused_code VARCHAR(64) {ascii} NULL,
        idempotency_key VARCHAR(255) {unicode_exact} NULL,
        version INTEGER NOT NULL,
        expires_at {time} NULL,
        created_at {time} NOT NULL,
        updated_at {time} NOT NULL"
    );
    Table::new("customer_order", columns)
        .unique("customer_order_key", "user_id, idempotency_key")
        .index("customer_order_user", "user_id, id")
}

/// The lines of orders. Each line is a participation.
pub(super) fn order_line(dialect: &Dialect) -> Table {
    let Dialect { uuid, .. } = dialect;
    let columns = format!(
        "order_id {uuid} NOT NULL,
        line INTEGER NOT NULL,
        campaign_id BIGINT NOT NULL,
        quantity INTEGER NOT NULL,
        participation_id {uuid} NOT NULL,
        PRIMARY KEY (order_id, line)"
    );
    Table::new("order_line", columns)
        .clustered()
        .unique("order_line_participation", "participation_id")
}

/// Unfinished orders, with the time of the next step: to decide the order, to expire it, or to update the status of its
/// lines.
pub(super) fn order_due(dialect: &Dialect) -> Table {
    let Dialect {
        time, uuid, ascii, ..
    } = dialect;
    let columns = format!(
        "order_id {uuid} NOT NULL PRIMARY KEY,
        status VARCHAR(16) {ascii} NOT NULL,
        due_at {time} NOT NULL"
    );
    Table::new("order_due", columns).index("order_due_at", "due_at")
}

/// The carts of users: the campaigns and quantities as JSON, at most 20.
pub(super) fn cart() -> Table {
    let columns = "user_id BIGINT NOT NULL PRIMARY KEY,
        `lines` VARCHAR(2000) NOT NULL";
    Table::new("cart", columns.to_owned())
}

/// One review for each confirmed participation.
pub(super) fn review(dialect: &Dialect) -> Table {
    let Dialect {
        time,
        uuid,
        unicode,
        ..
    } = dialect;
    let columns = format!(
        "id {uuid} NOT NULL PRIMARY KEY,
        participation_id {uuid} NOT NULL,
        campaign_id BIGINT NOT NULL,
        user_id BIGINT NOT NULL,
        rating INTEGER NOT NULL,
        text VARCHAR(4000) {unicode} NOT NULL,
        created_at {time} NOT NULL"
    );
    Table::new("review", columns)
        .unique("review_participation", "participation_id")
        .index("review_campaign", "campaign_id, id")
}

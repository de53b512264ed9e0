//! Campaigns, and the lists of users who may take part in them.

use crate::table::{Dialect, Table};

/// Campaigns, their settings, and the counts that a commit checks.
pub(super) fn campaign(dialect: &Dialect) -> Table {
    let Dialect {
        time,
        serial,
        ascii,
        ..
    } = dialect;
    let columns = format!(
        "id {serial},
        name VARCHAR(200) NOT NULL,
        description VARCHAR(4000) NOT NULL,
        kind VARCHAR(16) {ascii} NOT NULL,
        state VARCHAR(16) {ascii} NOT NULL,
        total_stock BIGINT NULL,
        committed_units BIGINT NOT NULL DEFAULT 0,
        participation_count BIGINT NOT NULL DEFAULT 0,
        `returns` BIGINT NOT NULL DEFAULT 0,
        reviews BIGINT NOT NULL DEFAULT 0,
        rating_sum BIGINT NOT NULL DEFAULT 0,
        per_user_limit INTEGER NOT NULL,
        per_user_limit_max INTEGER NOT NULL DEFAULT 1,
        max_quantity INTEGER NOT NULL,
        price BIGINT NULL,
        hold_seconds INTEGER NOT NULL,
        cancellable BOOLEAN NOT NULL DEFAULT FALSE,
        opens_at {time} NULL,
        closes_at {time} NULL,
        reward TEXT NULL,
        reward_since {time} NOT NULL DEFAULT '2000-01-01 00:00:00',
        has_coupons BOOLEAN NOT NULL DEFAULT FALSE,
        allow_list_id BIGINT NULL,
        gate_epoch BIGINT NOT NULL DEFAULT 0,
        gate_closed_until {time} NULL,
        gate_rebuild_until {time} NULL,
        gate_expires BOOLEAN NOT NULL DEFAULT FALSE,
        loosened_at {time} NULL,
        event_sequence BIGINT NOT NULL DEFAULT 0,
        purged_events BIGINT NOT NULL DEFAULT 0,
        campaign_events BIGINT NOT NULL DEFAULT 0,
        order_events BIGINT NOT NULL DEFAULT 0,
        is_sold_out BOOLEAN NOT NULL DEFAULT FALSE,
        version BIGINT NOT NULL DEFAULT 1,
        created_at {time} NOT NULL,
        updated_at {time} NOT NULL,
        CONSTRAINT campaign_units CHECK (committed_units >= 0),
        CONSTRAINT campaign_stock CHECK (total_stock IS NULL OR committed_units <= total_stock)"
    );
    Table::new("campaign", columns)
        .index("campaign_by_state", "state, id")
        .index("campaign_by_gate", "gate_expires, state, id")
}

/// Lists of users who may take part. A list is a generation of its own: it is filled while another one is in
/// force, and then its campaign names it. A commit locks the campaign's row, which says which list holds.
pub(super) fn allow_list(dialect: &Dialect) -> Table {
    let Dialect {
        time,
        serial,
        ascii,
        unicode_exact,
        ..
    } = dialect;
    let columns = format!(
        "id {serial},
        campaign_id BIGINT NOT NULL,
        state VARCHAR(16) {ascii} NOT NULL,
        users BIGINT NOT NULL,
        actor VARCHAR(255) {unicode_exact} NOT NULL,
        changed_at {time} NOT NULL"
    );
    Table::new("allow_list", columns)
        .index("allow_list_by_campaign", "campaign_id, state")
        .index("allow_list_by_state", "state, changed_at")
}

/// The users of a list.
pub(super) fn allow_list_user() -> Table {
    let columns = "list_id BIGINT NOT NULL,
        user_id BIGINT NOT NULL,
        PRIMARY KEY (list_id, user_id)";
    Table::new("allow_list_user", columns.to_owned())
}

//! The sale's schema: campaigns, participations, the outbox, and what is kept beside them.
//!
//! Plain SQL: the schema is a contract with the relay, with Debezium and with people who look into the
//! database, and reads best as what it is.

mod campaigns;
mod counts;
mod operation;
mod orders;
mod outbox;
mod participations;
mod statistics;
mod verification;

use crate::schema::FirstSchema;

pub(super) const SCHEMA: FirstSchema = FirstSchema {
    applied: "seaql_migrations",
    tables: |dialect| {
        vec![
            campaigns::campaign(dialect),
            campaigns::allow_list(dialect),
            campaigns::allow_list_user(),
            participations::participation(dialect),
            participations::reservation_due(dialect),
            participations::idempotency(dialect),
            participations::payment(dialect),
            orders::customer_order(dialect),
            orders::order_line(dialect),
            orders::order_due(dialect),
            orders::cart(),
            orders::review(dialect),
            outbox::outbox_event(dialect),
            outbox::outbox_position(),
            outbox::outbox_parked(dialect),
            outbox::outbox_published(dialect),
            outbox::consumer_dead_letter(dialect),
            outbox::outbox_lease(dialect),
            counts::rejection_tally(dialect),
            counts::rejection_total(dialect),
            counts::rewarded_tally(),
            statistics::daily_stat(dialect),
            statistics::daily_day(dialect),
            statistics::daily_run(dialect),
            verification::verified_segment(dialect),
            verification::verified_log(dialect),
            verification::purged_segment(),
            operation::account(dialect),
            operation::account_recovery_code(dialect),
            operation::account_token(dialect),
            operation::audit_entry(dialect),
            operation::duty(dialect),
        ]
    },
};

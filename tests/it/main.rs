//! Tests of the parts together: one binary, so that it is linked once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "a test that cannot go on should say so and stop"
)]

mod accounts;
mod alerts;
mod allow_list;
mod architecture;
mod audit;
mod campaign_events;
mod catalogue;
mod changes;
mod clock_set_back;
mod clocks;
mod cluster;
mod consumers;
mod csv;
mod debezium;
mod direct;
mod drift;
mod export;
mod features;
mod gate;
mod groups;
mod half_open;
mod hung;
mod idempotency_retention;
mod identity;
mod lost_primary;
mod migration;
mod order_retention;
mod payments;
mod promotion;
#[path = "../faults/proxy.rs"]
mod proxy;
mod readme_korean;
mod rebuild;
mod reconcile;
mod relay;
mod retention;
mod scans;
mod service;
mod spare;
mod stats;
mod store;
mod support;
mod switchover;
mod tls;
mod tokens;
mod topics;
mod verify;
mod writer;

//! Breaks Kafka under traffic: three brokers with a proxy before each, two replicas of the service, and clients that
//! participate meanwhile. Then it checks every promise, above all that participation went on and that every event
//! arrived in order. `make brokers SEEDS=1..21` runs more than the default seeds; docs/faults.md explains the results.

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

mod cluster;
mod continuity;
mod control;
mod fault;
mod outbox;
mod report;
mod run;
#[path = "../it/spare.rs"]
#[allow(dead_code, reason = "shared with the other tests, which use all of it")]
mod spare;
mod strike;
mod world;

/// What this suite has in common with those of failovers.
#[path = "../sale"]
#[allow(dead_code, reason = "shared with the suites of failovers")]
mod sale {
    pub mod campaigns;
    pub mod clock;
    pub mod figures;
    pub mod parts;
    pub mod recovery;
    pub mod report;
    pub mod round;
    pub mod schema;
    pub mod staff;
    pub mod traffic;
}

/// The files of the fault suite that this suite uses.
#[path = "../faults"]
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the fault suite, which uses all of it"
)]
mod faults {
    pub mod administrator;
    pub mod buyer;
    pub mod client;
    pub mod evidence;
    pub mod judge;
    pub mod key;
    pub mod ledger;
    pub mod managed;
    pub mod proxy;
    pub mod replica;
    pub mod replicas;
    pub mod rewards;
    pub mod settings;
    pub mod site;
}

use faults::{
    administrator, buyer, client, evidence, judge, key, ledger, managed, proxy, replica, replicas,
    rewards, settings, site,
};

//! Breaks the real parts, the replicas and the clients by random schedules under traffic, and then checks every
//! promise. It is a separate test binary: nothing else may use the parts meanwhile, because they are killed,
//! paused, emptied and restored from old files.
//!
//! `make faults SEEDS=1..200` or `make faults MINUTES=30` runs more than the default seeds; docs/faults.md
//! explains the results.

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

mod administrator;
mod buyer;
mod client;
mod disk;
mod evidence;
mod fault;
#[path = "../sale/figures.rs"]
#[allow(
    dead_code,
    reason = "shared with the suites of failovers, which use all of it"
)]
mod figures;
#[path = "../it/groups.rs"]
#[allow(dead_code, reason = "shared with the other tests, which use all of it")]
mod groups;
mod heal;
mod history;
mod holders;
mod judge;
mod key;
mod ledger;
mod letters;
mod lines;
mod load;
mod managed;
mod orders;
mod parts;
mod points;
mod proxy;
mod replica;
mod replicas;
mod report;
mod rewards;
mod run;
mod schedule;
mod settings;
mod site;
mod strike;
#[path = "../it/support.rs"]
#[allow(dead_code, reason = "shared with the other tests, which use all of it")]
mod support;
mod windows;
mod world;

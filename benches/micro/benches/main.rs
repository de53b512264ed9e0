//! The pieces of one participation, each on its own and without the parts. They say what a change made
//! slower; what a service does in a second is measured by `scripts/bench` and `scripts/compare`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark that cannot go on should say so and stop"
)]

mod gate;
mod problem;
mod relay;
mod reply;
mod writer;

use criterion::{criterion_group, criterion_main};

/// The one that the service has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

criterion_group!(
    pieces,
    gate::admission,
    reply::reading,
    writer::group_commit,
    relay::encoding,
    problem::encoding
);
criterion_main!(pieces);

//! Daily statistics: read from the rows, aggregated, and alerts of failures.

mod agreeing;
mod alerting;
mod concurrency;
#[cfg(feature = "failpoints")]
mod crashes;
pub mod http;
mod order;
mod replicas;
mod runs;
pub mod scene;

//! Daily statistics: read from the rows, aggregated, and alerts of failures.

mod agreeing;
mod alerting;
mod concurrency;
#[cfg(feature = "failpoints")]
mod crashes;
mod http;
mod order;
mod replicas;
mod runs;
mod scene;

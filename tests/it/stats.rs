//! What days come to: read from the rows, aggregated, watched, and told when it fails.

mod agreeing;
mod alerting;
#[cfg(feature = "failpoints")]
mod crashes;
mod http;
mod order;
mod replicas;
mod runs;
mod scene;

//! What any service needs: time, retries, tasks, telemetry, caches, batching. Knows no business types.

pub mod batcher;
pub mod cache;
pub mod clock;
pub mod failpoint;
pub mod metrics;
pub mod retry;
pub mod settings;
pub mod supervisor;
pub mod table;
pub mod telemetry;
pub mod trace;
pub mod web;

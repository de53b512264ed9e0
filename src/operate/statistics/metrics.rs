//! Metrics of aggregation. Clones share their values.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

use crate::domain::{Timestamp, metric};
use crate::runtime::metrics::{Labels, RegisterMetric};

/// A campaign that is being written.
pub(super) struct Writing(Gauge);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The metrics of the aggregator.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Runs by how they ended: `completed`, `failed`, `abandoned` or `stopped`.
    pub runs: Family<Labels<1>, Counter>,
    /// Campaigns that could not be written.
    pub campaigns_failed: Counter,
    /// Campaigns being written.
    pub campaigns_writing: Gauge,
    /// Duration of the last run of this process.
    pub last_run_seconds: Gauge<f64, AtomicU64>,
    /// When a run of this process was last completed, as seconds since 1970; 0: never.
    pub last_completed: Gauge,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.add(&metric::AGGREGATION_RUNS, self.runs.clone());
        registry.add(
            &metric::AGGREGATION_CAMPAIGNS_FAILED,
            self.campaigns_failed.clone(),
        );
        registry.add(
            &metric::AGGREGATION_CAMPAIGNS_WRITING,
            self.campaigns_writing.clone(),
        );
        registry.add(
            &metric::AGGREGATION_LAST_RUN_SECONDS,
            self.last_run_seconds.clone(),
        );
        registry.add(
            &metric::AGGREGATION_LAST_COMPLETED_TIMESTAMP_SECONDS,
            self.last_completed.clone(),
        );
        // The series exist from the start, so that an alert sees the first failure as a change.
        for result in ["completed", "failed", "abandoned", "stopped"] {
            self.runs.get_or_create(&[("result", result)]).inc_by(0);
        }
    }

    /// Counts a campaign as being written, until the value is dropped.
    pub(super) fn writing(&self) -> Writing {
        self.campaigns_writing.inc();
        Writing(self.campaigns_writing.clone())
    }

    pub(super) fn ended(&self, result: &'static str) {
        self.runs.get_or_create(&[("result", result)]).inc();
    }

    pub(super) fn completed(&self, at: Timestamp) {
        self.ended("completed");
        self.last_completed.set(at.timestamp());
    }

    pub(super) fn took(&self, took: Duration, campaigns_failed: u64) {
        self.last_run_seconds.set(took.as_secs_f64());
        self.campaigns_failed.inc_by(campaigns_failed);
    }
}

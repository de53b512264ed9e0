//! The view of a simulation.

use std::collections::BTreeMap;
use std::time::Duration;

use poem::http::StatusCode;
use uuid::Uuid;

use super::view;
use crate::domain::Timestamp;
use crate::http::created::Resource;
use crate::http::words::{Word, vocabulary};
use crate::operate::simulate::{Figures, JobStatus, Kind, Latency, Report};

vocabulary!(
    Kind,
    "SimulationKind",
    "How a job makes its requests: `bulk` lets each wait until there is room, `async` uses `/participation`, `sync` \
     uses `/participation-sync`.",
    Bulk = "bulk",
    Async = "async",
    Sync = "sync"
);
vocabulary!(
    JobStatus,
    "JobStatus",
    "The status of a job.",
    Started = "STARTED",
    Completed = "COMPLETED",
    Cancelled = "CANCELLED",
    Failed = "FAILED"
);

view! {
    /// The latency of the responses, in milliseconds.
    pub struct LatencyView as "SimulationLatency" from latency: Latency {
        /// Median.
        p50: f64 = millis(latency.p50),
        /// 95th percentile.
        p95: f64 = millis(latency.p95),
        /// 99th percentile.
        p99: f64 = millis(latency.p99),
        /// Mean.
        avg: f64 = millis(latency.average),
        /// Minimum.
        min: f64 = millis(latency.min),
        /// Maximum.
        max: f64 = millis(latency.max),
    }
}

view! {
    /// The result of the requests so far.
    pub struct ResultView as "SimulationResult" from figures: Figures {
        /// The latency of the responses, in milliseconds.
        latency_ms: LatencyView = figures.latency.into(),
        /// Completed requests per second.
        requests_per_second: f64 = share(figures.done, figures.ran.as_secs_f64()),
        /// Share of requests without a decision, from 0 to 1: there was no room, or a part was unavailable. A rejection is a
        /// decision.
        failure_rate: f64 = share(figures.failed, float(figures.done)),
        /// Number of each outcome: `ACCEPTED`, or the code of the problem.
        outcomes: BTreeMap<String, u64> = figures
            .outcomes
            .into_iter()
            .map(|(code, count)| (code.to_owned(), count))
            .collect(),
        /// Running time of the job, in milliseconds.
        duration_ms: f64 = millis(figures.ran),
    }
}

view! {
    /// A simulation.
    pub struct SimulationView as "Simulation" from report: Report {
        /// Its id.
        job_id: Uuid = report.id,
        /// How it makes its requests.
        kind: Word<Kind> = report.plan.kind.into(),
        /// Its status.
        status: Word<JobStatus> = report.status.into(),
        /// Id of the campaign.
        campaign_id: i64 = report.plan.campaign.0,
        /// Requests, each by another user.
        requests: u32 = report.plan.requests,
        /// Completed requests.
        done: u64 = report.figures.done,
        /// Requests in flight at the same time.
        concurrency: u32 = report.plan.concurrency,
        /// Units that each requests.
        quantity: u32 = report.plan.quantity,
        /// Id of the first user; those of the others follow.
        first_user_id: i64 = report.plan.first_user.0,
        /// When it was started.
        started_at: Timestamp,
        /// When it ended; null: it is running.
        #[oai(nullable)]
        ended_at: Option<Timestamp>,
        /// Its result; while it is running, so far.
        result: ResultView = report.figures.into(),
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Counts are far below the integers that a float represents exactly.
#[allow(clippy::cast_precision_loss, reason = "at most 100,000 requests")]
const fn float(count: u64) -> f64 {
    count as f64
}

fn share(part: u64, of: f64) -> f64 {
    if of > 0.0 { float(part) / of } else { 0.0 }
}

impl Resource for SimulationView {
    const STATUS: StatusCode = StatusCode::ACCEPTED;
    const DESCRIPTION: &'static str = "Started.";
    const LOCATION: &'static str = "Path of the job.";

    fn path(&self) -> String {
        format!("/api/admin/test/load/{}", self.job_id)
    }
}

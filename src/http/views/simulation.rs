//! The view of a simulation.

use std::collections::BTreeMap;
use std::time::Duration;

use poem::http::StatusCode;
use uuid::Uuid;

use super::view;
use crate::domain::Instant;
use crate::http::created::Resource;
use crate::http::words::{Word, vocabulary};
use crate::operate::simulate::{JobStatus, Kind, Latency, Report};

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
    pub struct ResultView as "SimulationResult" {
        /// The latency of the responses, in milliseconds.
        latency_ms: LatencyView,
        /// Completed requests per second.
        requests_per_second: f64,
        /// Share of requests without a decision, from 0 to 1: there was no room, or a part was unavailable. A rejection is a
        /// decision.
        failure_rate: f64,
        /// Number of each outcome: `ACCEPTED`, or the code of the problem.
        outcomes: BTreeMap<String, u64>,
        /// Running time of the job, in milliseconds.
        duration_ms: f64,
    }
}

view! {
    /// A simulation.
    pub struct SimulationView as "Simulation" {
        /// Its id.
        job_id: Uuid,
        /// How it makes its requests.
        kind: Word<Kind>,
        /// Its status.
        status: Word<JobStatus>,
        /// Id of the campaign.
        campaign_id: i64,
        /// Requests, each by another user.
        requests: u32,
        /// Completed requests.
        done: u64,
        /// Requests in flight at the same time.
        concurrency: u32,
        /// Units that each requests.
        quantity: u32,
        /// Id of the first user; those of the others follow.
        first_user_id: i64,
        /// When it was started.
        started_at: Instant,
        /// When it ended; null: it is running.
        #[oai(nullable)]
        ended_at: Option<Instant>,
        /// Its result; while it is running, so far.
        result: ResultView,
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Counts are far below the integers that a float represents exactly.
#[allow(clippy::cast_precision_loss, reason = "at most 100,000 requests")]
fn share(part: u64, of: f64) -> f64 {
    if of > 0.0 { part as f64 / of } else { 0.0 }
}

impl From<Report> for SimulationView {
    fn from(report: Report) -> Self {
        let Report { plan, figures, .. } = report;
        let latency = figures.latency;
        #[allow(clippy::cast_precision_loss, reason = "at most 100,000 requests")]
        let done = figures.done as f64;
        Self {
            job_id: report.id,
            kind: plan.kind.into(),
            status: report.status.into(),
            campaign_id: plan.campaign.0,
            requests: plan.requests,
            done: figures.done,
            concurrency: plan.concurrency,
            quantity: plan.quantity,
            first_user_id: plan.first_user.0,
            started_at: report.started_at,
            ended_at: report.ended_at,
            result: ResultView {
                latency_ms: LatencyView {
                    p50: millis(latency.p50),
                    p95: millis(latency.p95),
                    p99: millis(latency.p99),
                    avg: millis(latency.average),
                    min: millis(latency.min),
                    max: millis(latency.max),
                },
                requests_per_second: share(figures.done, figures.ran.as_secs_f64()),
                failure_rate: share(figures.failed, done),
                outcomes: figures
                    .outcomes
                    .into_iter()
                    .map(|(code, count)| (code.to_owned(), count))
                    .collect(),
                duration_ms: millis(figures.ran),
            },
        }
    }
}

impl Resource for SimulationView {
    const STATUS: StatusCode = StatusCode::ACCEPTED;
    const DESCRIPTION: &'static str = "Started.";
    const LOCATION: &'static str = "Path of the job.";

    fn path(&self) -> String {
        format!("/api/admin/test/load/{}", self.job_id)
    }
}

//! The view of a simulation.

use std::collections::BTreeMap;
use std::time::Duration;

use poem::http::StatusCode;
use poem_openapi::Object;
use serde::Serialize;
use uuid::Uuid;

use crate::domain::Instant;
use crate::http::created::Resource;
use crate::http::words::{Word, vocabulary};
use crate::operate::simulate::{JobStatus, Kind, Report};

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

/// The latency of the responses, in milliseconds.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "SimulationLatency")]
pub struct LatencyView {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Mean.
    pub avg: f64,
    /// Minimum.
    pub min: f64,
    /// Maximum.
    pub max: f64,
}

/// The result of the requests so far.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "SimulationResult", rename_all = "camelCase")]
pub struct ResultView {
    /// The latency of the responses, in milliseconds.
    pub latency_ms: LatencyView,
    /// Completed requests per second.
    pub requests_per_second: f64,
    /// Share of requests without a decision, from 0 to 1: there was no room, or a part was unavailable. A rejection is a
    /// decision.
    pub failure_rate: f64,
    /// Number of each outcome: `ACCEPTED`, or the code of the problem.
    pub outcomes: BTreeMap<String, u64>,
    /// Running time of the job, in milliseconds.
    pub duration_ms: f64,
}

/// A simulation.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Simulation", rename_all = "camelCase")]
pub struct SimulationView {
    /// Its id.
    pub job_id: Uuid,
    /// How it makes its requests.
    pub kind: Word<Kind>,
    /// Its status.
    pub status: Word<JobStatus>,
    /// Id of the campaign.
    pub campaign_id: i64,
    /// Requests, each by another user.
    pub requests: u32,
    /// Completed requests.
    pub done: u64,
    /// Requests in flight at the same time.
    pub concurrency: u32,
    /// Units that each requests.
    pub quantity: u32,
    /// Id of the first user; those of the others follow.
    pub first_user_id: i64,
    /// When it was started.
    pub started_at: Instant,
    /// When it ended; null: it is running.
    #[oai(nullable)]
    pub ended_at: Option<Instant>,
    /// Its result; while it is running, so far.
    pub result: ResultView,
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

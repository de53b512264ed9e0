//! Simulations as admins see them.

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

/// How long answers took, in milliseconds.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "SimulationLatency")]
pub struct LatencyView {
    /// Half of them no longer than this.
    pub p50: f64,
    /// 95 of 100.
    pub p95: f64,
    /// 99 of 100.
    pub p99: f64,
    /// On average.
    pub avg: f64,
    /// The shortest.
    pub min: f64,
    /// The longest.
    pub max: f64,
}

/// What requests came to so far.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "SimulationResult", rename_all = "camelCase")]
pub struct ResultView {
    /// How long answers took, in milliseconds.
    pub latency_ms: LatencyView,
    /// Requests answered per second.
    pub requests_per_second: f64,
    /// Share of the requests that got no answer that decides, from 0 to 1: there was no room, or a part was
    /// away. A refusal is an answer.
    pub failure_rate: f64,
    /// How many there were of each answer: `ACCEPTED`, or the code of the problem.
    pub outcomes: BTreeMap<String, u64>,
    /// For how long the job has run, in milliseconds.
    pub duration_ms: f64,
}

/// A simulation as it stands.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Simulation", rename_all = "camelCase")]
pub struct SimulationView {
    /// Its id.
    pub job_id: Uuid,
    /// How its requests are made.
    pub kind: Word<Kind>,
    /// Where it stands.
    pub status: Word<JobStatus>,
    /// Number of the campaign.
    pub campaign_id: i64,
    /// Requests to be made, each by another user.
    pub requests: u32,
    /// Requests answered.
    pub done: u64,
    /// Requests under way at the same time.
    pub concurrency: u32,
    /// Units that each asks for.
    pub quantity: u32,
    /// The number of the first user; the others follow.
    pub first_user_id: i64,
    /// When it was started.
    pub started_at: Instant,
    /// When it ended; null: it runs.
    #[oai(nullable)]
    pub ended_at: Option<Instant>,
    /// What it came to, while it runs: so far.
    pub result: ResultView,
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Counts are far below what a float holds exactly.
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

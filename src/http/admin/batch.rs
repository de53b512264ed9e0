//! The daily aggregation for admins: begun by hand, watched, and its history.

use std::sync::Arc;

use chrono::NaiveDate;
use poem::http::StatusCode;
use poem::web::Data;
use poem::{IntoResponse, Request, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use serde::Serialize;
use serde_json::json;

use crate::access::identity::{CampaignWrite, StatsRead};
use crate::domain::{AuditAction, AuditNote, Instant, RunId};
use crate::http::auth::Admin;
use crate::http::json::Written;
use crate::http::origin::origin;
use crate::http::page::{Page, page_cursor, page_limit};
use crate::http::problem::{Failure, Problem, documented};
use crate::http::{App, Section};
use crate::operate::statistics::Beginning;
use crate::parts::store::{Cause, Redo, Run, RunFailure, RunState};

documented! {
    /// Problems of aggregating.
    Aggregating {
        400 => "The day has not begun (DATE_IN_FUTURE), or is more than a year ago (DATE_TOO_OLD).",
        401 => "No or no valid admin token (UNAUTHENTICATED).",
        403 => "The admin API is closed (ADMIN_CLOSED), or a user is asking (FORBIDDEN).",
        409 => "Another run is under way, with its jobExecutionId (AGGREGATION_RUNNING).",
        422 => "A value cannot be accepted (INVALID).",
    }
    /// Problems of looking at runs.
    Watching {
        401 => "No or no valid admin token (UNAUTHENTICATED).",
        403 => "The admin API is closed (ADMIN_CLOSED), or a user is asking (FORBIDDEN).",
        404 => "There is no such run (NOT_FOUND).",
        422 => "A value cannot be accepted (INVALID).",
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, Serialize, Enum)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[oai(rename = "RunStatus", rename_all = "SCREAMING_SNAKE_CASE")]
enum StatusWord {
    /// It runs.
    Started,
    /// All campaigns of the day are written.
    Completed,
    /// Some are not, and `error` says why.
    Failed,
}

/// Why a run was begun.
#[derive(Clone, Copy, Debug, Serialize, Enum)]
#[serde(rename_all = "snake_case")]
#[oai(rename = "RunCause", rename_all = "snake_case")]
enum CauseWord {
    /// It was time.
    Schedule,
    /// Nobody had done the day when it was time.
    CatchUp,
    /// An admin asked for it.
    Admin,
}

/// How far a run has come.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "RunProgress", rename_all = "camelCase")]
struct ProgressView {
    /// Of the reading, in percent of the day.
    percent: u32,
    /// Participations read.
    participations: u64,
    /// Campaigns to be written; 0 until all is read.
    campaigns: u64,
    /// Campaigns written.
    campaigns_done: u64,
    /// Campaigns that could not be.
    campaigns_failed: u64,
}

/// A campaign that could not be written; the others stand.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "RunFailure", rename_all = "camelCase")]
struct FailureView {
    /// Number of the campaign.
    campaign_id: i64,
    /// The kind of failure for programs.
    code: String,
}

impl From<RunFailure> for FailureView {
    fn from(failure: RunFailure) -> Self {
        Self {
            campaign_id: failure.campaign,
            code: failure.code,
        }
    }
}

/// A run of the daily aggregation.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "AggregationRun", rename_all = "camelCase")]
struct RunView {
    /// Its number.
    job_execution_id: i64,
    /// The day it aggregates.
    date: NaiveDate,
    /// In which time zone.
    zone: String,
    /// Where it stands.
    status: StatusWord,
    /// Why it was begun.
    cause: CauseWord,
    /// When it began.
    started_at: Instant,
    /// When it ended; null: it has not.
    #[oai(nullable)]
    finished_at: Option<Instant>,
    /// How far it has come.
    progress: ProgressView,
    /// Campaigns that could not be written, the first hundred.
    failures: Vec<FailureView>,
    /// Why it failed: `CAMPAIGNS_FAILED`, `ABANDONED` (its replica died or lost its turn), `STOPPED` (its
    /// replica was told to stop), or what was wrong with the store; null: it did not fail.
    #[oai(nullable)]
    error: Option<String>,
}

impl From<Run> for RunView {
    fn from(run: Run) -> Self {
        Self {
            job_execution_id: run.id.0,
            date: run.day.date,
            zone: run.day.zone.name().to_owned(),
            status: match run.state {
                RunState::Started => StatusWord::Started,
                RunState::Completed => StatusWord::Completed,
                RunState::Failed => StatusWord::Failed,
            },
            cause: match run.cause {
                Cause::Schedule => CauseWord::Schedule,
                Cause::CatchUp => CauseWord::CatchUp,
                Cause::Admin => CauseWord::Admin,
            },
            started_at: run.started_at,
            finished_at: run.finished_at,
            progress: ProgressView {
                percent: run.progress.percent,
                participations: run.progress.participations,
                campaigns: run.progress.campaigns,
                campaigns_done: run.progress.campaigns_done,
                campaigns_failed: run.progress.campaigns_failed,
            },
            failures: run.failures.into_iter().map(Into::into).collect(),
            error: run.error,
        }
    }
}

/// Runs, newest first.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "AggregationRunList", rename_all = "camelCase")]
struct RunList {
    /// The runs of this page.
    items: Vec<RunView>,
    /// Asks for the next page; null: this is the last.
    #[oai(nullable)]
    next_cursor: Option<String>,
}

/// What came of asking for a day.
pub struct AskedAnswer(Beginning);

impl IntoResponse for AskedAnswer {
    fn into_response(self) -> Response {
        let (status, run) = match self.0 {
            Beginning::Begun(run) => (StatusCode::ACCEPTED, run),
            Beginning::Done(run) => (StatusCode::OK, run),
        };
        let mut response = Written(RunView::from(*run)).into_response();
        response.set_status(status);
        response
    }
}

impl ApiResponse for AskedAnswer {
    fn meta() -> MetaResponses {
        let response = |status, description| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType {
                content_type: Written::<RunView>::CONTENT_TYPE,
                schema: Written::<RunView>::schema_ref(),
            }],
            headers: Vec::new(),
        };
        MetaResponses {
            responses: vec![
                response(200, "The day was done before, by this run."),
                response(202, "Begun."),
            ],
        }
    }

    fn register(registry: &mut Registry) {
        RunView::register(registry);
    }
}

/// The daily aggregation for admins.
pub struct AdminBatchApi;

#[OpenApi(tag = "Section::Admin")]
impl AdminBatchApi {
    /// Aggregate a day.
    ///
    /// A day that is done is answered with the run that did it, unless it is forced; doing it again gives
    /// the same rows. A day that is not over is aggregated as far as it has come, and is not done by that.
    #[oai(
        path = "/api/admin/batch/aggregate",
        method = "post",
        operation_id = "aggregateDay"
    )]
    async fn aggregate(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<CampaignWrite>,
        request: &Request,
        /// Which date in the zone of `aggregation.zone`, at most a year ago; yesterday when left out.
        date: Query<Option<NaiveDate>>,
        /// Whether a day that is done is done again.
        force: Query<Option<bool>>,
    ) -> Result<AskedAnswer, Failure<Aggregating>> {
        let redo = match force.0 {
            Some(true) => Redo::Yes,
            Some(false) | None => Redo::No,
        };
        let asked = app.aggregator.begin(date.0, redo).await?;
        let (Beginning::Begun(run) | Beginning::Done(run)) = &asked;
        let note = AuditNote {
            by: origin(admin.actor(), request),
            action: AuditAction::DayAggregate,
            campaign: None,
            subject: Some(run.id.to_string()),
            before: None,
            after: Some(json!({ "date": run.day.date, "force": redo == Redo::Yes })),
        };
        app.store.note(&note).await?;
        Ok(AskedAnswer(asked))
    }

    /// Look at a run.
    #[oai(
        path = "/api/admin/batch/status/:jobExecutionId",
        method = "get",
        operation_id = "aggregationStatus"
    )]
    async fn status(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<StatsRead>,
        /// Number of the run.
        #[oai(name = "jobExecutionId")]
        id: Path<i64>,
    ) -> Result<Written<RunView>, Failure<Watching>> {
        match app.aggregator.run(RunId(id.0)).await? {
            Some(run) => Ok(Written(run.into())),
            None => Err(Problem::not_found("There is no such run.").into()),
        }
    }

    /// List runs, newest first.
    #[oai(
        path = "/api/admin/batch/history",
        method = "get",
        operation_id = "aggregationHistory"
    )]
    async fn history(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<StatsRead>,
        /// Runs on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Written<RunList>, Failure<Watching>> {
        let limit = page_limit(limit.0);
        let after: Option<i64> = page_cursor(cursor.0.as_deref())?;
        let found = app.aggregator.runs(after.map(RunId), limit.fetch()).await?;
        let page = Page::cut(found, limit, |last| last.id.to_string());
        Ok(Written(RunList {
            items: page.items.into_iter().map(RunView::from).collect(),
            next_cursor: page.next_cursor,
        }))
    }
}

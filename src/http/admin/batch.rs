//! The daily aggregation for admins: starting a run, its progress, and the history of runs.

use chrono::NaiveDate;
use poem::http::StatusCode;
use poem::{IntoResponse, Response};
use serde_json::json;

use crate::access::identity::{CampaignWrite, StatsRead};
use crate::domain::{AuditAction, AuditNote, RunId, Timestamp};
use crate::http::json::{header_of, json_response, responses};
use crate::http::operation::{
    Admin, AppRef, Created, Failure, Json, OpenApi, Page, Path, Problem, Query, Resource, Section,
    Word, documented, list, page_cursor, page_limit, view, vocabulary,
};
use crate::operate::statistics::Beginning;
use crate::parts::store::{Cause, Progress, Redo, Run, RunFailure, RunState};

documented! {
    Aggregating: [ADMIN, PARAMETERS] {
        400 => "The day is in the future (DATE_IN_FUTURE), or more than a year ago (DATE_TOO_OLD).",
        409 => "Another run, of this jobExecutionId, is in progress (AGGREGATION_RUNNING).",
    }
    Reading: [ADMIN, PARAMETERS] {
        404 => "There is no such run (NOT_FOUND).",
    }
}

vocabulary!(RunState, "RunStatus", "The status of an aggregation run.");
vocabulary!(Cause, "RunCause", "The cause of an aggregation run.");

view! {
    /// The progress of a run.
    pub struct ProgressView as "RunProgress" from progress: Progress {
        /// Share of the day that is read, in percent.
        percent: u32,
        /// Participations read.
        participations: u64,
        /// Campaigns to write; 0 until the whole day is read.
        campaigns: u64,
        /// Campaigns written.
        campaigns_done: u64,
        /// Campaigns that could not be written.
        campaigns_failed: u64,
    }
}

view! {
    /// A campaign that could not be written; the others are.
    pub struct FailureView as "RunFailure" from failure: RunFailure {
        /// Id of the campaign.
        campaign_id: i64 = failure.campaign,
        /// The kind of failure for programs.
        code: String,
    }
}

view! {
    /// A run of the daily aggregation.
    pub struct RunView as "AggregationRun" from run: Run {
        /// Its id.
        job_execution_id: i64 = run.id.0,
        /// The day it aggregates.
        date: NaiveDate = run.day.date,
        /// The time zone of the day.
        zone: String = run.day.zone.name().to_owned(),
        /// Its status.
        status: Word<RunState> = run.state.into(),
        /// Its cause.
        cause: Word<Cause> = run.cause.into(),
        /// When it started.
        started_at: Timestamp,
        /// When it ended; null: it is running.
        #[oai(nullable)]
        finished_at: Option<Timestamp>,
        /// Its progress.
        progress: ProgressView = run.progress.into(),
        /// The first hundred campaigns that could not be written.
        failures: Vec<FailureView> = run.failures.into_iter().map(Into::into).collect(),
        /// Why it failed: `CAMPAIGNS_FAILED`, `ABANDONED` (its replica died or lost its lease), `STOPPED` (its replica was
        /// stopped), or the failure of the store; null: it did not fail.
        #[oai(nullable)]
        error: Option<String>,
    }
}

list! {
    /// A page of aggregation runs.
    RunList as "AggregationRunList": RunView, "Newest first."
}

/// The run that aggregates a day, or already aggregated it.
pub struct Requested(Beginning);

impl Resource for RunView {
    const STATUS: StatusCode = StatusCode::ACCEPTED;
    const DESCRIPTION: &'static str = "Started.";
    const LOCATION: &'static str = "Path of the run.";

    fn path(&self) -> String {
        format!("/api/admin/batch/status/{}", self.job_execution_id)
    }
}

impl IntoResponse for Requested {
    fn into_response(self) -> Response {
        match self.0 {
            Beginning::Begun(run) => Created(RunView::from(*run)).into_response(),
            Beginning::Done(run) => Json(RunView::from(*run)).into_response(),
        }
    }
}

responses!(Requested: [
    json_response::<RunView>(200, "This run already aggregated the day.", Vec::new()),
    json_response::<RunView>(202, RunView::DESCRIPTION, vec![header_of("Location", RunView::LOCATION)]),
], RunView);

/// The daily aggregation for admins.
pub struct AdminBatchApi;

#[OpenApi(prefix_path = "/api/admin/batch", tag = "Section::Statistics")]
impl AdminBatchApi {
    /// Aggregate a day.
    ///
    /// For a day that is already aggregated the response is the run that did it, unless `force` is set; a repeated run
    /// writes the same rows. A day that is not over is aggregated up to now, and does not count as aggregated.
    #[oai(path = "/aggregate", method = "post", operation_id = "aggregateDay")]
    async fn aggregate(
        &self,
        app: AppRef<'_>,
        admin: Admin<CampaignWrite>,
        /// The date in the zone of `aggregation.zone`, at most a year ago; yesterday when left out.
        date: Query<Option<NaiveDate>>,
        /// Whether to aggregate the day again.
        force: Query<Option<bool>>,
    ) -> Result<Requested, Failure<Aggregating>> {
        let redo = match force.0 {
            Some(true) => Redo::Yes,
            Some(false) | None => Redo::No,
        };
        let result = app.aggregator.begin(date.0, redo).await?;
        let (Beginning::Begun(run) | Beginning::Done(run)) = &result;
        let note = AuditNote::beside(admin.origin(), AuditAction::DayAggregate)
            .of(&run.id)
            .to(json!({ "date": run.day.date, "force": redo == Redo::Yes }));
        app.store.note(&note).await?;
        Ok(Requested(result))
    }

    /// Get a run.
    ///
    /// With its progress, and the campaigns that could not be written.
    #[oai(
        path = "/status/:jobExecutionId",
        method = "get",
        operation_id = "getAggregationRun"
    )]
    async fn status(
        &self,
        app: AppRef<'_>,
        _admin: Admin<StatsRead>,
        /// Id of the run.
        #[oai(name = "jobExecutionId")]
        id: Path<i64>,
    ) -> Result<Json<RunView>, Failure<Reading>> {
        match app.aggregator.run(RunId(id.0)).await? {
            Some(run) => Ok(Json(run.into())),
            None => Err(Problem::not_found("There is no such run.").into()),
        }
    }

    /// List runs, newest first.
    ///
    /// Runs of all days, with their status.
    #[oai(
        path = "/history",
        method = "get",
        operation_id = "listAggregationRuns"
    )]
    async fn history(
        &self,
        app: AppRef<'_>,
        _admin: Admin<StatsRead>,
        /// Runs on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the previous page.
        cursor: Query<Option<String>>,
    ) -> Result<Json<RunList>, Failure<Reading>> {
        let limit = page_limit(limit.0);
        let after: Option<i64> = page_cursor(cursor.0.as_deref())?;
        let found = app.aggregator.runs(after.map(RunId), limit.fetch()).await?;
        let page = Page::cut(found, limit, |last| last.id.to_string());
        Ok(Json(RunList::of(page, RunView::from)))
    }
}

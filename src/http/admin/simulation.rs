//! Simulated participants for admins. Not there unless the configuration says so: whoever asks then is told
//! that there is no such thing.

use std::sync::Arc;

use poem::http::{HeaderValue, StatusCode, header};
use poem::web::Data;
use poem::{FromRequest, IntoResponse, Request, RequestBody, Response};
use poem_openapi::param::Path;
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, OpenApi};
use serde_json::json;
use uuid::Uuid;

use super::simulation_requests::{Bulk, Load, SimulateBulk, SimulateLoad};
use crate::access::identity::TestRun;
use crate::domain::{AuditAction, AuditNote, Origin};
use crate::http::auth::Admin;
use crate::http::json::{Checked, Written};
use crate::http::origin::origin;
use crate::http::problem::{Failure, Problem, documented};
use crate::http::views::SimulationView;
use crate::http::{App, Section};
use crate::operate::simulate::{self, Kind, Plan, SimulateError, Simulator};

documented! {
    /// Problems of starting a simulation.
    Starting {
        400 => "The body is not JSON (MALFORMED).",
        401 => "No or no valid admin token (UNAUTHENTICATED).",
        403 => "The admin API is closed (ADMIN_CLOSED), or a user is asking (FORBIDDEN).",
        404 => "Simulations are off, or there is no such campaign (NOT_FOUND).",
        408 => "The body did not come in time (REQUEST_TIMEOUT).",
        409 => "As many simulations run as may (TOO_MANY_JOBS).",
        413 => "The body is too large (TOO_LARGE).",
        415 => "The body is not JSON (UNSUPPORTED_MEDIA_TYPE).",
        422 => "A value cannot be accepted (INVALID).",
    }
    /// Problems of looking at a simulation.
    Looking {
        401 => "No or no valid admin token (UNAUTHENTICATED).",
        403 => "The admin API is closed (ADMIN_CLOSED), or a user is asking (FORBIDDEN).",
        404 => "Simulations are off, or there is no such job, not any more, or not in this replica (NOT_FOUND).",
        422 => "A value cannot be accepted (INVALID).",
    }
    /// Problems of cancelling a simulation.
    Cancelling {
        401 => "No or no valid admin token (UNAUTHENTICATED).",
        403 => "The admin API is closed (ADMIN_CLOSED), or a user is asking (FORBIDDEN).",
        404 => "Simulations are off, or there is no such job, not any more, or not in this replica (NOT_FOUND).",
        409 => "It has ended (WRONG_STATE).",
        422 => "A value cannot be accepted (INVALID).",
    }
}

/// Simulations, where they are on.
struct On(Simulator);

impl<'a> FromRequest<'a> for On {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let app = request.data::<Arc<App>>().ok_or_else(Problem::internal)?;
        let simulator = app.simulator.clone();
        let off = || Problem::not_found("Simulations are off (test.endpoints).");
        Ok(Self(simulator.ok_or_else(off)?))
    }
}

/// A simulation that was started.
pub struct Begun(SimulationView);

impl IntoResponse for Begun {
    fn into_response(self) -> Response {
        let location = format!("/api/admin/test/load/{}", self.0.job_id);
        let mut response = Written(self.0).into_response();
        response.set_status(StatusCode::ACCEPTED);
        if let Ok(location) = HeaderValue::from_str(&location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

impl ApiResponse for Begun {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "Started.",
                status: Some(202),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: Written::<SimulationView>::CONTENT_TYPE,
                    schema: Written::<SimulationView>::schema_ref(),
                }],
                headers: vec![MetaHeader {
                    name: "Location".to_owned(),
                    description: Some("Where its result is.".to_owned()),
                    required: false,
                    deprecated: false,
                    schema: String::schema_ref(),
                }],
            }],
        }
    }

    fn register(registry: &mut Registry) {
        SimulationView::register(registry);
    }
}

impl From<SimulateError> for Problem {
    fn from(error: SimulateError) -> Self {
        match error {
            SimulateError::TooMany(bound) => Self::new(
                StatusCode::CONFLICT,
                "TOO_MANY_JOBS",
                "Too many simulations",
                format!(
                    "As many simulations run as may at the same time: {bound} (test.jobs_max)."
                ),
            )
            .with_member("jobsMax", bound),
            SimulateError::Unknown => Self::not_found("There is no such simulation here."),
            SimulateError::Over => Self::new(
                StatusCode::CONFLICT,
                "WRONG_STATE",
                "Not possible in this state",
                "The simulation has ended.",
            ),
        }
    }
}

/// Simulated participants.
pub struct AdminSimulationApi;

#[OpenApi(tag = "Section::Admin")]
impl AdminSimulationApi {
    /// Let many users take part.
    ///
    /// For trying out: off (404) unless `test.endpoints` is set. Each is another user, made up: their
    /// numbers lie between 9000000000000000 and 9007199254740991. They take part as anybody does, and what
    /// they get is gone. Each waits until there is room for it.
    #[oai(
        path = "/api/admin/test/participate-bulk",
        method = "post",
        operation_id = "simulateBulk"
    )]
    async fn bulk(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<TestRun>,
        on: On,
        request: &Request,
        body: Checked<SimulateBulk>,
    ) -> Result<Begun, Failure<Starting>> {
        let Bulk { campaign, count } = body.0;
        let plan = Plan::bulk(campaign, count);
        Ok(begin(&app, &on.0, plan, origin(admin.actor(), request)).await?)
    }

    /// Measure `/participation` from within.
    ///
    /// For trying out: off (404) unless `test.endpoints` is set. Each request is another user's: those from
    /// `firstUserId` on, or made up, with numbers between 9000000000000000 and 9007199254740991. They take
    /// part as anybody does, and what they get is gone.
    #[oai(
        path = "/api/admin/test/load/async",
        method = "post",
        operation_id = "simulateLoad"
    )]
    async fn load(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<TestRun>,
        on: On,
        request: &Request,
        body: Checked<SimulateLoad>,
    ) -> Result<Begun, Failure<Starting>> {
        let plan = planned(Kind::Async, body.0);
        Ok(begin(&app, &on.0, plan, origin(admin.actor(), request)).await?)
    }

    /// Measure `/participation-sync` from within.
    ///
    /// As `load/async`, by the other path.
    #[oai(
        path = "/api/admin/test/load/sync",
        method = "post",
        operation_id = "simulateLoadSync"
    )]
    async fn load_sync(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<TestRun>,
        on: On,
        request: &Request,
        body: Checked<SimulateLoad>,
    ) -> Result<Begun, Failure<Starting>> {
        let plan = planned(Kind::Sync, body.0);
        Ok(begin(&app, &on.0, plan, origin(admin.actor(), request)).await?)
    }

    /// Look at a simulation.
    ///
    /// The replica that was asked to start it knows of it, for an hour after its end unless configured
    /// otherwise.
    #[allow(clippy::unused_async, reason = "the framework awaits every operation")]
    #[oai(
        path = "/api/admin/test/load/:jobId",
        method = "get",
        operation_id = "getSimulation"
    )]
    async fn job(
        &self,
        _admin: Admin<TestRun>,
        on: On,
        /// Id of the job.
        #[oai(name = "jobId")]
        id: Path<Uuid>,
    ) -> Result<Written<SimulationView>, Failure<Looking>> {
        Ok(Written(on.0.report(id.0)?.into()))
    }

    /// Cancel a simulation.
    ///
    /// No more requests are begun, and those under way are answered. Safe to repeat.
    #[oai(
        path = "/api/admin/test/load/:jobId/cancel",
        method = "post",
        operation_id = "cancelSimulation"
    )]
    async fn cancel(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<TestRun>,
        on: On,
        request: &Request,
        /// Id of the job.
        #[oai(name = "jobId")]
        id: Path<Uuid>,
    ) -> Result<Written<SimulationView>, Failure<Cancelling>> {
        let report = on.0.cancel(id.0).await?;
        let by = origin(admin.actor(), request);
        let campaign = report.plan.campaign;
        let note = AuditNote::about(by, AuditAction::SimulationCancel, campaign)
            .of(&report.id)
            .to(json!({ "done": report.figures.done }));
        app.store.note(&note).await?;
        Ok(Written(report.into()))
    }
}

fn planned(kind: Kind, load: Load) -> Plan {
    let Load {
        campaign,
        requests,
        concurrency,
        quantity,
        first_user,
    } = load;
    Plan {
        kind,
        campaign,
        requests,
        concurrency,
        quantity,
        first_user: first_user.unwrap_or_else(|| simulate::made_up(requests)),
    }
}

/// Starts a job in a campaign that is there. Who did it is written down, or it does not go on.
async fn begin(app: &App, simulator: &Simulator, plan: Plan, by: Origin) -> Result<Begun, Problem> {
    if app.store.campaign(plan.campaign).await?.is_none() {
        return Err(Problem::not_found("There is no such campaign."));
    }
    let report = simulator.start(plan)?;
    let view = SimulationView::from(report);
    let after = json!({
        "kind": view.kind,
        "requests": plan.requests,
        "concurrency": plan.concurrency,
        "quantity": plan.quantity,
        "firstUserId": plan.first_user,
    });
    let note = AuditNote::about(by, AuditAction::SimulationStart, plan.campaign)
        .of(&view.job_id)
        .to(after);
    if let Err(error) = app.store.note(&note).await {
        simulator.cancel(view.job_id).await.ok();
        return Err(error.into());
    }
    tracing::info!(job.id = %view.job_id, campaign.id = %plan.campaign, "simulation started");
    Ok(Begun(view))
}

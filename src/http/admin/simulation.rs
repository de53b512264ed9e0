//! Simulated participants for admins. Without `test.endpoints` every operation gets 404.

use std::sync::Arc;

use poem::{FromRequest, RequestBody};
use serde_json::json;
use uuid::Uuid;

use super::simulation_requests::{Bulk, Load};
use crate::access::identity::TestRun;
use crate::domain::{AuditAction, AuditNote, Origin};
use crate::http::App;
use crate::http::operation::{
    Admin, AppRef, Created, Failure, Json, JsonRequest, OpenApi, Path, Problem, Request, Section,
    documented, kind,
};
use crate::http::problem::wrong_state;
use crate::http::views::SimulationView;
use crate::operate::simulate::{self, Kind, Plan, SimulateError, Simulator};

documented! {
    Starting: [BODY, ADMIN] {
        404 => "Simulations are disabled, or there is no such campaign (NOT_FOUND).",
        409 => "The maximum number of simulations is running (TOO_MANY_JOBS).",
    }
    Reading: [ADMIN, PARAMETERS] {
        404 => "Simulations are disabled, or this replica has no such job (NOT_FOUND).",
    }
    Cancelling: [ADMIN, PARAMETERS] {
        404 => "Simulations are disabled, or this replica has no such job (NOT_FOUND).",
        409 => "It has ended (WRONG_STATE).",
    }
}

/// The simulator, if simulations are enabled.
struct Enabled(Simulator);

impl<'a> FromRequest<'a> for Enabled {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let app = request.data::<Arc<App>>().ok_or_else(Problem::internal)?;
        let simulator = app.simulator.clone();
        let disabled = || Problem::not_found("Simulations are disabled (test.endpoints).");
        Ok(Self(simulator.ok_or_else(disabled)?))
    }
}

impl From<SimulateError> for Problem {
    fn from(error: SimulateError) -> Self {
        match error {
            SimulateError::TooMany(bound) => kind::TOO_MANY_JOBS
                .because(format!(
                    "At most {bound} simulations run at the same time (test.jobs_max)."
                ))
                .with_member("jobsMax", bound),
            SimulateError::Unknown => {
                Self::not_found("There is no such simulation in this replica.")
            }
            SimulateError::Over => wrong_state("The simulation has ended."),
        }
    }
}

type Started = Result<Created<SimulationView>, Failure<Starting>>;

/// Simulated participants.
pub struct AdminSimulationApi;

#[OpenApi(prefix_path = "/api/admin/test", tag = "Section::Simulations")]
impl AdminSimulationApi {
    /// Let many users participate.
    ///
    /// For tests: 404 unless `test.endpoints` is set. Each participation has its own invented user, with an id between
    /// 9000000000000000 and 9007199254740991. The participations are real and use up the stock. Each waits until there
    /// is room for it.
    #[oai(
        path = "/participate-bulk",
        method = "post",
        operation_id = "simulateBulk"
    )]
    async fn bulk(
        &self,
        app: AppRef<'_>,
        admin: Admin<TestRun>,
        simulator: Enabled,
        body: JsonRequest<Bulk>,
    ) -> Started {
        let Bulk { campaign, count } = body.0;
        let plan = Plan::bulk(campaign, count);
        Ok(start(&app, &simulator.0, plan, admin.origin()).await?)
    }

    /// Measure `/participation` from within.
    ///
    /// For tests: 404 unless `test.endpoints` is set. Each request has its own user: those from `firstUserId` on, or
    /// invented ones with ids between 9000000000000000 and 9007199254740991. The participations are real and use up the
    /// stock.
    #[oai(path = "/load/async", method = "post", operation_id = "simulateLoad")]
    async fn load(
        &self,
        app: AppRef<'_>,
        admin: Admin<TestRun>,
        simulator: Enabled,
        body: JsonRequest<Load>,
    ) -> Started {
        let plan = planned(Kind::Async, body.0);
        Ok(start(&app, &simulator.0, plan, admin.origin()).await?)
    }

    /// Measure `/participation-sync` from within.
    ///
    /// Like `load/async`, on the other path.
    #[oai(
        path = "/load/sync",
        method = "post",
        operation_id = "simulateLoadSync"
    )]
    async fn load_sync(
        &self,
        app: AppRef<'_>,
        admin: Admin<TestRun>,
        simulator: Enabled,
        body: JsonRequest<Load>,
    ) -> Started {
        let plan = planned(Kind::Sync, body.0);
        Ok(start(&app, &simulator.0, plan, admin.origin()).await?)
    }

    /// Get a simulation.
    ///
    /// Only the replica that started it knows it, by default for an hour after its end.
    #[allow(clippy::unused_async, reason = "the framework awaits every operation")]
    #[oai(path = "/load/:jobId", method = "get", operation_id = "getSimulation")]
    async fn job(
        &self,
        _admin: Admin<TestRun>,
        simulator: Enabled,
        /// Id of the job.
        #[oai(name = "jobId")]
        id: Path<Uuid>,
    ) -> Result<Json<SimulationView>, Failure<Reading>> {
        Ok(Json(simulator.0.report(id.0)?.into()))
    }

    /// Cancel a simulation.
    ///
    /// No further requests begin, and those in flight complete. Safe to repeat.
    #[oai(
        path = "/load/:jobId/cancel",
        method = "post",
        operation_id = "cancelSimulation"
    )]
    async fn cancel(
        &self,
        app: AppRef<'_>,
        admin: Admin<TestRun>,
        simulator: Enabled,
        /// Id of the job.
        #[oai(name = "jobId")]
        id: Path<Uuid>,
    ) -> Result<Json<SimulationView>, Failure<Cancelling>> {
        let report = simulator.0.cancel(id.0).await?;
        let by = admin.origin();
        let campaign = report.plan.campaign;
        let note = AuditNote::about(by, AuditAction::SimulationCancel, campaign)
            .of(&report.id)
            .to(json!({ "done": report.figures.done }));
        app.store.note(&note).await?;
        Ok(Json(report.into()))
    }
}

fn planned(kind: Kind, load: Load) -> Plan {
    let random = || simulate::random_users(load.requests);
    Plan {
        kind,
        campaign: load.campaign,
        requests: load.requests,
        concurrency: load.concurrency,
        quantity: load.quantity,
        first_user: load.first_user.unwrap_or_else(random),
    }
}

/// Starts a job in an existing campaign. If the audit entry cannot be written, the job is cancelled.
async fn start(
    app: &App,
    simulator: &Simulator,
    plan: Plan,
    by: Origin,
) -> Result<Created<SimulationView>, Problem> {
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
    Ok(Created(view))
}

//! Campaigns for admins: making, changing and moving them through their life.

use std::sync::Arc;

use poem::http::{HeaderValue, StatusCode, header};
use poem::web::Data;
use poem::{IntoResponse, Request, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use serde_json::json;

use crate::access::identity::{CampaignRead, CampaignWrite};
use crate::domain::{AuditAction, AuditNote, Campaign, CampaignId, Origin, State};
use crate::http::admin::requests::{ChangeCampaign, CreateCampaign};
use crate::http::auth::Admin;
use crate::http::campaigns::{Listing, page_of_campaigns};
use crate::http::json::{Checked, Written};
use crate::http::origin::origin;
use crate::http::page::page_cursor;
use crate::http::problem::{Failure, Problem, documented};
use crate::http::views::{CampaignList, CampaignView, KindWord, StateWord};
use crate::http::{App, Section};
use crate::operate::lifecycle::LifecycleError;

documented! {
    /// Problems of managing campaigns.
    Managing {
        400 => "The body is not JSON (MALFORMED).",
        401 => "No or no valid token (UNAUTHENTICATED, INVALID_TOKEN).",
        403 => "The token lacks the scope (MISSING_SCOPE), a user is asking (FORBIDDEN), or the admin API is closed (ADMIN_CLOSED).",
        404 => "There is no such campaign (NOT_FOUND).",
        409 => "Not possible in this state (WRONG_STATE), or it has a price and no payments are taken here (NO_PAYMENT_PROVIDER).",
        408 => "The body did not come in time (REQUEST_TIMEOUT).",
        413 => "The body is too large (TOO_LARGE).",
        415 => "The body is not JSON (UNSUPPORTED_MEDIA_TYPE).",
        422 => "A value cannot be accepted (INVALID).",
    }
}

/// A campaign that was created.
pub struct Created(CampaignView);

impl IntoResponse for Created {
    fn into_response(self) -> Response {
        let location = format!("/api/admin/campaigns/{}", self.0.id);
        let mut response = Written(self.0).into_response();
        response.set_status(StatusCode::CREATED);
        if let Ok(location) = HeaderValue::from_str(&location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

impl ApiResponse for Created {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "Created.",
                status: Some(201),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: Written::<CampaignView>::CONTENT_TYPE,
                    schema: Written::<CampaignView>::schema_ref(),
                }],
                headers: vec![MetaHeader {
                    name: "Location".to_owned(),
                    description: Some("Where the campaign is.".to_owned()),
                    required: false,
                    deprecated: false,
                    schema: String::schema_ref(),
                }],
            }],
        }
    }

    fn register(registry: &mut Registry) {
        CampaignView::register(registry);
    }
}

/// A rebuilt gate.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Rebuilt", rename_all = "camelCase")]
struct RebuiltView {
    /// Number of the campaign.
    campaign_id: i64,
    /// Generation of the gate's state from now on.
    epoch: u64,
}

type Answer = Result<Written<CampaignView>, Failure<Managing>>;

/// Campaigns for admins.
pub struct AdminCampaignsApi;

#[OpenApi(tag = "Section::Admin")]
impl AdminCampaignsApi {
    /// Create a campaign.
    ///
    /// Without `opensAt` it is open at once, with one in the future it is scheduled; with
    /// `"state": "draft"` it waits to be opened.
    #[oai(
        path = "/api/admin/campaigns",
        method = "post",
        operation_id = "createCampaign"
    )]
    async fn create(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<CampaignWrite>,
        request: &Request,
        body: Checked<CreateCampaign>,
    ) -> Result<Created, Failure<Managing>> {
        let new = body.0.campaign(app.store.time().await?)?;
        let by = origin(admin.actor(), request);
        let campaign = app.lifecycle.create(new, Some(&by)).await?;
        tracing::info!(campaign.id = campaign.id.0, "campaign created");
        Ok(Created(CampaignView::at(&campaign, app.clock.now())))
    }

    /// List campaigns in all states, newest first.
    #[oai(
        path = "/api/admin/campaigns",
        method = "get",
        operation_id = "adminListCampaigns"
    )]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<CampaignRead>,
        /// Only those in this state.
        state: Query<Option<StateWord>>,
        /// Only those of this kind.
        kind: Query<Option<KindWord>>,
        /// Campaigns on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Written<CampaignList>, Failure<Managing>> {
        let listing = Listing {
            kind: kind.0,
            limit: limit.0,
            after: page_cursor(cursor.0.as_deref())?.map(CampaignId),
        };
        let states = state.0.map(State::from).into_iter().collect();
        Ok(page_of_campaigns(&app, states, listing).await?)
    }

    /// Look at a campaign in any state.
    #[oai(
        path = "/api/admin/campaigns/:id",
        method = "get",
        operation_id = "adminGetCampaign"
    )]
    async fn campaign(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<CampaignRead>,
        /// Number of the campaign.
        id: Path<i64>,
    ) -> Answer {
        let campaign = app.store.campaign(CampaignId(id.0)).await?;
        let campaign = campaign.ok_or_else(|| Problem::not_found("There is no such campaign."))?;
        Ok(view(&campaign, &app))
    }

    /// Change a campaign.
    ///
    /// Fields that are left out stay as they are; where null has a meaning, null sets it. The stock
    /// of a live campaign can be raised and lowered, but not below what is committed.
    #[oai(
        path = "/api/admin/campaigns/:id",
        method = "patch",
        operation_id = "changeCampaign"
    )]
    async fn change(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<CampaignWrite>,
        request: &Request,
        /// Number of the campaign.
        id: Path<i64>,
        body: Checked<ChangeCampaign>,
    ) -> Answer {
        let by = origin(admin.actor(), request);
        let id = CampaignId(id.0);
        let campaign = app.lifecycle.change(id, body.0.0, &by).await?;
        tracing::info!(campaign.id = %id, "campaign changed");
        Ok(view(&campaign, &app))
    }

    /// Open a campaign.
    #[oai(
        path = "/api/admin/campaigns/:id/open",
        method = "post",
        operation_id = "openCampaign"
    )]
    async fn open(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<CampaignWrite>,
        request: &Request,
        /// Number of the campaign.
        id: Path<i64>,
    ) -> Answer {
        move_to(&app, id.0, State::Open, origin(admin.actor(), request)).await
    }

    /// Pause a campaign; it can be opened again.
    #[oai(
        path = "/api/admin/campaigns/:id/pause",
        method = "post",
        operation_id = "pauseCampaign"
    )]
    async fn pause(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<CampaignWrite>,
        request: &Request,
        /// Number of the campaign.
        id: Path<i64>,
    ) -> Answer {
        move_to(&app, id.0, State::Paused, origin(admin.actor(), request)).await
    }

    /// Close a campaign for good.
    #[oai(
        path = "/api/admin/campaigns/:id/close",
        method = "post",
        operation_id = "closeCampaign"
    )]
    async fn close(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<CampaignWrite>,
        request: &Request,
        /// Number of the campaign.
        id: Path<i64>,
    ) -> Answer {
        move_to(&app, id.0, State::Closed, origin(admin.actor(), request)).await
    }

    /// Take a closed campaign, or a draft, out of the catalogue.
    ///
    /// It is no longer listed and cannot be changed any more. By its number it is still found, and its
    /// participations can be looked at and exported; those not paid for yet still can be, in their time.
    #[oai(
        path = "/api/admin/campaigns/:id/archive",
        method = "post",
        operation_id = "archiveCampaign"
    )]
    async fn archive(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<CampaignWrite>,
        request: &Request,
        /// Number of the campaign.
        id: Path<i64>,
    ) -> Answer {
        move_to(&app, id.0, State::Archived, origin(admin.actor(), request)).await
    }

    /// Rebuild the gate's state of a campaign from the database.
    ///
    /// Works under full traffic.
    #[oai(
        path = "/api/admin/campaigns/:id/rebuild-gate",
        method = "post",
        operation_id = "rebuildGate"
    )]
    async fn rebuild_gate(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<CampaignWrite>,
        request: &Request,
        /// Number of the campaign.
        id: Path<i64>,
    ) -> Result<Written<RebuiltView>, Failure<Managing>> {
        let unknown = || Problem::not_found("There is no such campaign.");
        let stands = app.store.campaign(CampaignId(id.0)).await?;
        let stands = stands.ok_or_else(unknown)?;
        if stands.state == State::Archived {
            return Err(LifecycleError::Archived.into());
        }
        let epoch = app.reconciler.rebuild(stands.id).await?;
        let epoch = epoch.ok_or_else(unknown)?;
        tracing::info!(campaign.id = id.0, epoch, "gate rebuilt");
        let by = origin(admin.actor(), request);
        let note = AuditNote::about(by, AuditAction::GateRebuild, stands.id)
            .from(json!({ "gateEpoch": stands.gate_epoch }))
            .to(json!({ "gateEpoch": epoch }));
        app.store.note(&note).await?;
        Ok(Written(RebuiltView {
            campaign_id: id.0,
            epoch,
        }))
    }
}

async fn move_to(app: &App, id: i64, next: State, by: Origin) -> Answer {
    let campaign = app.lifecycle.move_to(CampaignId(id), next, &by).await?;
    tracing::info!(campaign.id = id, state = next.as_str(), "campaign moved");
    Ok(view(&campaign, app))
}

fn view(campaign: &Campaign, app: &App) -> Written<CampaignView> {
    Written(CampaignView::at(campaign, app.clock.now()))
}

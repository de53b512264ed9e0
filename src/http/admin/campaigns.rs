//! Campaigns for admins: creating and changing them, and changing their state.

use serde_json::json;

use crate::access::identity::{CampaignRead, CampaignWrite};
use crate::domain::{AuditAction, AuditNote, Campaign, CampaignId, Kind, Origin, State};
use crate::http::App;
use crate::http::admin::campaign_requests::{Change, Draft};
use crate::http::campaigns::{Listing, page_of_campaigns};
use crate::http::operation::{
    Admin, AppRef, Created, Failure, Json, JsonRequest, OpenApi, Path, Problem, Query, Resource,
    Section, Word, documented, page_cursor, view,
};
use crate::http::views::{CampaignList, CampaignView};
use crate::operate::lifecycle::LifecycleError;

documented! {
    Managing: [BODY, ADMIN] {
        404 => "There is no such campaign (NOT_FOUND).",
        409 => "Not possible in this state (WRONG_STATE), or the campaign has a price and the service takes no payments (NO_PAYMENT_PROVIDER).",
    }
}

impl Resource for CampaignView {
    const LOCATION: &'static str = "Path of the campaign.";

    fn path(&self) -> String {
        format!("/api/admin/campaigns/{}", self.id)
    }
}

view! {
    /// A rebuilt gate.
    struct RebuiltView as "Rebuilt" {
        /// Id of the campaign.
        campaign_id: i64,
        /// New epoch of the gate's state.
        epoch: u64,
    }
}

type Answer = Result<Json<CampaignView>, Failure<Managing>>;

pub struct AdminCampaignsApi;

#[OpenApi(prefix_path = "/api/admin/campaigns", tag = "Section::AdminCampaigns")]
impl AdminCampaignsApi {
    /// Create a campaign.
    ///
    /// Without `opensAt` it is open at once, with one in the future it is scheduled; with `"state": "draft"` it waits
    /// to be opened.
    #[oai(path = "/", method = "post", operation_id = "createCampaign")]
    async fn create(
        &self,
        app: AppRef<'_>,
        admin: Admin<CampaignWrite>,
        body: JsonRequest<Draft>,
    ) -> Result<Created<CampaignView>, Failure<Managing>> {
        let new = body.0.campaign(app.store.time().await?)?;
        let by = admin.origin();
        let campaign = app.lifecycle.create(new, Some(&by)).await?;
        tracing::info!(campaign.id = campaign.id.0, "campaign created");
        Ok(Created(CampaignView::of(&campaign, app.clock.now())))
    }

    /// List campaigns in all states, newest first.
    ///
    /// Includes drafts and archived campaigns, which the public list leaves out.
    #[oai(path = "/", method = "get", operation_id = "listCampaignsAsAdmin")]
    async fn list(
        &self,
        app: AppRef<'_>,
        _admin: Admin<CampaignRead>,
        /// Only campaigns in this state.
        state: Query<Option<Word<State>>>,
        /// Only campaigns of this kind.
        kind: Query<Option<Word<Kind>>>,
        /// Campaigns on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the previous page.
        cursor: Query<Option<String>>,
    ) -> Result<Json<CampaignList>, Failure<Managing>> {
        let listing = Listing {
            kind: kind.0,
            limit: limit.0,
            after: page_cursor(cursor.0.as_deref())?.map(CampaignId),
        };
        let states = state.0.map(|state| state.0).into_iter().collect();
        Ok(page_of_campaigns(&app, states, listing).await?)
    }

    /// Get a campaign in any state.
    ///
    /// Also a draft, which the public operation does not find.
    #[oai(path = "/:id", method = "get", operation_id = "getCampaignAsAdmin")]
    async fn campaign(
        &self,
        app: AppRef<'_>,
        _admin: Admin<CampaignRead>,
        /// Id of the campaign.
        id: Path<i64>,
    ) -> Answer {
        let campaign = app.store.campaign(CampaignId(id.0)).await?;
        let campaign = campaign.ok_or_else(|| Problem::not_found("There is no such campaign."))?;
        Ok(view(&campaign, &app))
    }

    /// Change a campaign.
    ///
    /// A field that is left out stays unchanged; null clears a field that can be null. The stock of a live campaign can
    /// be raised, and lowered to no less than the committed units.
    #[oai(path = "/:id", method = "patch", operation_id = "changeCampaign")]
    async fn change(
        &self,
        app: AppRef<'_>,
        admin: Admin<CampaignWrite>,
        /// Id of the campaign.
        id: Path<i64>,
        body: JsonRequest<Change>,
    ) -> Answer {
        let by = admin.origin();
        let id = CampaignId(id.0);
        let campaign = app.lifecycle.change(id, body.0.into(), &by).await?;
        tracing::info!(campaign.id = %id, "campaign changed");
        Ok(view(&campaign, &app))
    }

    /// Open a campaign.
    ///
    /// A draft that starts later becomes scheduled. A scheduled or paused campaign is open at once.
    #[oai(path = "/:id/open", method = "post", operation_id = "openCampaign")]
    async fn open(
        &self,
        app: AppRef<'_>,
        admin: Admin<CampaignWrite>,
        /// Id of the campaign.
        id: Path<i64>,
    ) -> Answer {
        move_to(&app, id.0, State::Open, admin.origin()).await
    }

    /// Pause a campaign; it can be opened again.
    ///
    /// Participations get 409 `PAUSED` until it is open again.
    #[oai(path = "/:id/pause", method = "post", operation_id = "pauseCampaign")]
    async fn pause(
        &self,
        app: AppRef<'_>,
        admin: Admin<CampaignWrite>,
        /// Id of the campaign.
        id: Path<i64>,
    ) -> Answer {
        move_to(&app, id.0, State::Paused, admin.origin()).await
    }

    /// Close a campaign permanently.
    ///
    /// Participations get 409 `ENDED`. Open reservations can still be paid in time.
    #[oai(path = "/:id/close", method = "post", operation_id = "closeCampaign")]
    async fn close(
        &self,
        app: AppRef<'_>,
        admin: Admin<CampaignWrite>,
        /// Id of the campaign.
        id: Path<i64>,
    ) -> Answer {
        move_to(&app, id.0, State::Closed, admin.origin()).await
    }

    /// Take a closed campaign, or a draft, out of the catalogue.
    ///
    /// It is no longer listed and cannot be changed. It remains accessible by id, and its participations can be read
    /// and exported; open reservations can still be paid in time.
    #[oai(
        path = "/:id/archive",
        method = "post",
        operation_id = "archiveCampaign"
    )]
    async fn archive(
        &self,
        app: AppRef<'_>,
        admin: Admin<CampaignWrite>,
        /// Id of the campaign.
        id: Path<i64>,
    ) -> Answer {
        move_to(&app, id.0, State::Archived, admin.origin()).await
    }

    /// Rebuild the gate's state of a campaign from the database.
    ///
    /// Works under full traffic.
    #[oai(
        path = "/:id/rebuild-gate",
        method = "post",
        operation_id = "rebuildGate"
    )]
    async fn rebuild_gate(
        &self,
        app: AppRef<'_>,
        admin: Admin<CampaignWrite>,
        /// Id of the campaign.
        id: Path<i64>,
    ) -> Result<Json<RebuiltView>, Failure<Managing>> {
        let unknown = || Problem::not_found("There is no such campaign.");
        let campaign = app.store.campaign(CampaignId(id.0)).await?;
        let campaign = campaign.ok_or_else(unknown)?;
        if campaign.state == State::Archived {
            return Err(LifecycleError::Archived.into());
        }
        let epoch = app.reconciler.rebuild(campaign.id).await?;
        let epoch = epoch.ok_or_else(unknown)?;
        tracing::info!(campaign.id = id.0, epoch, "gate rebuilt");
        let by = admin.origin();
        let note = AuditNote::about(by, AuditAction::GateRebuild, campaign.id)
            .from(json!({ "gateEpoch": campaign.gate_epoch }))
            .to(json!({ "gateEpoch": epoch }));
        app.store.note(&note).await?;
        Ok(Json(RebuiltView {
            campaign_id: id.0,
            epoch,
        }))
    }
}

async fn move_to(app: &App, id: i64, next: State, by: Origin) -> Answer {
    let campaign = app.lifecycle.move_to(CampaignId(id), next, &by).await?;
    tracing::info!(
        campaign.id = id,
        state = next.as_str(),
        "campaign state changed"
    );
    Ok(view(&campaign, app))
}

fn view(campaign: &Campaign, app: &App) -> Json<CampaignView> {
    Json(CampaignView::of(campaign, app.clock.now()))
}

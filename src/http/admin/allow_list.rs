//! The allow list of a campaign, for admins.

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};

use super::csv_upload::CsvUpload;

use crate::access::identity::{CampaignRead, CampaignWrite, PiiRead, Scope};
use crate::domain::{CampaignId, Timestamp};
use crate::http::auth::{USER_ID_RANGE, user_id};
use crate::http::json::{no_content, responses};
use crate::http::operation::{
    Admin, AppRef, Failure, Json, OpenApi, Path, Problem, Read, Request, Section, documented,
    reads, view,
};
use crate::parts::store::AllowList;
use crate::sale::allow_list::AllowListError;

documented! {
    Listing: [ADMIN] {
        400 => "The body ended before it was complete (MALFORMED).",
        404 => "There is no such campaign, or it has no allow list (NOT_FOUND).",
        408 => "The body is not complete in time (REQUEST_TIMEOUT).",
        409 => "The campaign is archived (WRONG_STATE), or another import for it began meanwhile (SUPERSEDED).",
        413 => "The body has too many lines (TOO_LARGE).",
        415 => "The body is not declared as CSV (UNSUPPORTED_MEDIA_TYPE).",
        422 => "A value is not acceptable, see `line` (INVALID).",
    }
}

view! {
    /// The current allow list of a campaign.
    struct AllowListView as "AllowList"
    of(list: &AllowList, campaign: CampaignId, actor: Option<String>) {
        /// Id of the campaign.
        campaign_id: i64 = campaign.0,
        /// Number of users.
        users: u64,
        /// When it took effect.
        since: Timestamp,
        /// The admin who imported it; null without the scope `audit:read`.
        #[oai(nullable)]
        actor: Option<String> = actor,
    }
}

view! {
    /// Whether a user is on an allow list.
    struct ListedView as "AllowListUser" {
        /// Id of the campaign.
        campaign_id: i64,
        /// Id of the user.
        user_id: u64,
        /// Whether the user is on it.
        listed: bool,
    }
}

/// The response to a removal.
struct Removed;

impl IntoResponse for Removed {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

responses!(Removed: [no_content("Done.", Vec::new())]);

pub struct AdminAllowListApi;

#[OpenApi(tag = "Section::AdminCampaigns")]
impl AdminAllowListApi {
    /// Replace the allow list of a campaign.
    ///
    /// The previous list stays in effect until the new one is complete, and if a line of the new one is not acceptable.
    /// A user who is not on the list gets 403 `NOT_ALLOWED`.
    #[oai(
        path = "/api/admin/campaigns/:id/allow-list",
        method = "put",
        operation_id = "replaceAllowList"
    )]
    async fn replace(
        &self,
        app: AppRef<'_>,
        admin: Admin<CampaignWrite>,
        /// Id of the campaign.
        id: Path<i64>,
        mut file: CsvUpload,
    ) -> Result<Json<AllowListView>, Failure<Listing>> {
        let campaign = CampaignId(id.0);
        let by = admin.origin();
        match app.allow_lists.replace(campaign, by, &mut file).await {
            Ok(list) => {
                tracing::info!(campaign.id = %campaign, users = list.users, "allow list replaced");
                let actor = Some(list.actor.clone());
                Ok(Json(AllowListView::of(&list, campaign, actor)))
            }
            Err(error) => Err(failed(error, &mut file).await.into()),
        }
    }

    /// Get the allow list of a campaign.
    ///
    /// Its size, and who imported it when. It does not contain the users.
    #[oai(
        path = "/api/admin/campaigns/:id/allow-list",
        method = "get",
        operation_id = "getAllowList"
    )]
    async fn list(
        &self,
        app: AppRef<'_>,
        admin: Admin<CampaignRead>,
        /// Id of the campaign.
        id: Path<i64>,
    ) -> Result<Json<AllowListView>, Failure<Listing>> {
        let campaign = CampaignId(id.0);
        let list = app.allow_lists.enforced(campaign).await?;
        let may_see_actor = admin.scopes().has(Scope::AuditRead);
        let actor = may_see_actor.then(|| list.actor.clone());
        Ok(Json(AllowListView::of(&list, campaign, actor)))
    }

    /// Get whether a user is on the allow list of a campaign.
    ///
    /// Needs `pii:read` and `campaign:read`, and leaves an entry in the audit log.
    #[oai(
        path = "/api/admin/campaigns/:id/allow-list/:userId",
        method = "get",
        operation_id = "getAllowListUser"
    )]
    async fn user(
        &self,
        app: AppRef<'_>,
        admin: Admin<(CampaignRead, PiiRead)>,
        request: &Request,
        /// Id of the campaign.
        id: Path<i64>,
        /// Id of the user.
        #[oai(name = "userId")]
        user: Path<u64>,
    ) -> Result<Json<ListedView>, Failure<Listing>> {
        let campaign = CampaignId(id.0);
        let known =
            user_id(user.0).ok_or_else(|| Problem::invalid_field("userId", USER_ID_RANGE))?;
        let list = app.allow_lists.enforced(campaign).await?;
        let found = app.store.allowed(list.id, &[known]).await?;
        reads::record(
            &app,
            request,
            admin.origin(),
            Read::AllowList(campaign, known),
        )
        .await?;
        Ok(Json(ListedView {
            campaign_id: campaign.0,
            user_id: user.0,
            listed: !found.is_empty(),
        }))
    }

    /// Remove the allow list of a campaign: everybody may participate again.
    ///
    /// Ends an import that is in progress.
    #[oai(
        path = "/api/admin/campaigns/:id/allow-list",
        method = "delete",
        operation_id = "removeAllowList"
    )]
    async fn remove(
        &self,
        app: AppRef<'_>,
        admin: Admin<CampaignWrite>,
        /// Id of the campaign.
        id: Path<i64>,
    ) -> Result<Removed, Failure<Listing>> {
        let campaign = CampaignId(id.0);
        let by = admin.origin();
        app.allow_lists.remove(campaign, &by).await?;
        tracing::info!(campaign.id = %campaign, "allow list removed");
        Ok(Removed)
    }
}

/// The problem of a failed import. A connection with unread bytes cannot be used again.
async fn failed(error: AllowListError, file: &mut CsvUpload) -> Problem {
    let is_broken = matches!(error, AllowListError::Cut(_) | AllowListError::Slow);
    let is_read = !is_broken && file.discard().await;
    let problem = Problem::from(error);
    if is_read {
        problem
    } else {
        problem.with_header(header::CONNECTION, HeaderValue::from_static("close"))
    }
}

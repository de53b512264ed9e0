//! A campaign's list of those who may take part, for admins. A file is handed on as it comes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use hyper::body::Bytes;
use poem::http::{HeaderValue, StatusCode, header};
use poem::web::Data;
use poem::{IntoResponse, Request, RequestBody, Response};
use poem_openapi::param::Path;
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions, Object, OpenApi,
};
use serde::Serialize;

use crate::access::identity::{CampaignRead, CampaignWrite, PiiRead, Scope};
use crate::domain::{CampaignId, Instant};
use crate::http::auth::{Admin, USER_ID_RANGE, user_id};
use crate::http::json::Written;
use crate::http::origin::origin;
use crate::http::problem::{Failure, Problem, documented, no_csv, unreadable_body};
use crate::http::reads::{self, Read};
use crate::http::{App, Section};
use crate::parts::store::AllowList;
use crate::sale::allow_list::AllowListError;

/// What is left of a file that is refused is read up to here, so that whoever is still sending it can
/// hear why, and for so long.
const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;
const DISCARDING_MAX: Duration = Duration::from_secs(10);

documented! {
    /// Problems of lists.
    Listing {
        400 => "The body did not come whole (MALFORMED).",
        401 => "No or no valid token (UNAUTHENTICATED, INVALID_TOKEN).",
        403 => "The token lacks the scope (MISSING_SCOPE), a user is asking (FORBIDDEN), or the admin API is closed (ADMIN_CLOSED).",
        404 => "There is no such campaign, or it has no list (NOT_FOUND).",
        408 => "The body did not come in time (REQUEST_TIMEOUT).",
        409 => "The campaign is archived (WRONG_STATE), or another import of its list began meanwhile (SUPERSEDED).",
        413 => "The body has too many lines (TOO_LARGE).",
        415 => "The body is not CSV (UNSUPPORTED_MEDIA_TYPE).",
        422 => "A value cannot be accepted, see `line` (INVALID).",
    }
}

/// A list that is in force.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "AllowList", rename_all = "camelCase")]
struct AllowListView {
    /// Number of the campaign.
    campaign_id: i64,
    /// How many users are in it.
    users: u64,
    /// Since when it is in force.
    since: Instant,
    /// Who put it there; null without the scope `audit:read`.
    #[oai(nullable)]
    actor: Option<String>,
}

impl AllowListView {
    /// A list as somebody sees it who put it there, or may know who did.
    fn with_actor(campaign: CampaignId, list: &AllowList) -> Written<Self> {
        let actor = Some(list.actor.clone());
        let Written(view) = Self::without_actor(campaign, list);
        Written(Self { actor, ..view })
    }

    fn without_actor(campaign: CampaignId, list: &AllowList) -> Written<Self> {
        Written(Self {
            campaign_id: campaign.0,
            users: list.users,
            since: list.since,
            actor: None,
        })
    }
}

/// Whether a user is in a list.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "AllowListUser", rename_all = "camelCase")]
struct ListedView {
    /// Number of the campaign.
    campaign_id: i64,
    /// Number of the user.
    user_id: u64,
    /// Whether they may take part.
    listed: bool,
}

/// Nothing more to say.
struct Removed;

impl IntoResponse for Removed {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl ApiResponse for Removed {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "Done.",
                status: Some(204),
                status_range: None,
                content: Vec::new(),
                headers: Vec::new(),
            }],
        }
    }

    fn register(_registry: &mut Registry) {}
}

/// A file as it comes.
struct CsvUpload {
    pieces: Pin<Box<dyn Stream<Item = Result<Bytes, io::Error>> + Send>>,
    is_over: bool,
}

impl Stream for CsvUpload {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        self.pieces.as_mut().poll_next(cx).map(|piece| {
            self.is_over = !matches!(piece, Some(Ok(_)));
            piece
        })
    }
}

impl CsvUpload {
    /// Reads what is left of it; whether that was all.
    async fn discard(&mut self) -> bool {
        let read = async {
            let mut bytes = 0;
            while let Some(Ok(piece)) = self.next().await {
                bytes += piece.len();
                if bytes > DISCARDED_BYTES_MAX {
                    return false;
                }
            }
            true
        };
        let read = tokio::time::timeout(DISCARDING_MAX, read).await;
        read.unwrap_or(false)
    }
}

impl<'a> ApiExtractor<'a> for CsvUpload {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: Some("User ids, one a line, below a first line `userId` or without it."),
            content: vec![MetaMediaType {
                content_type: "text/csv",
                schema: String::schema_ref(),
            }],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        let essence = request.content_type().and_then(|ty| ty.split(';').next());
        if !essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/csv")) {
            return Err(no_csv().into());
        }
        let body = body.take().map_err(|error| unreadable_body(&error))?;
        Ok(Self {
            pieces: Box::pin(body.into_bytes_stream()),
            is_over: false,
        })
    }
}

/// Lists of those who may take part.
pub struct AdminAllowListApi;

#[OpenApi(tag = "Section::Admin")]
impl AdminAllowListApi {
    /// Replace the list of those who may take part in a campaign.
    ///
    /// The list before stays in force until the new one is there whole; if a line cannot be read, it stays.
    /// Who is not in the list is refused: 403 `NOT_ALLOWED`.
    #[oai(
        path = "/api/admin/campaigns/:id/allow-list",
        method = "put",
        operation_id = "replaceAllowList"
    )]
    async fn replace(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<CampaignWrite>,
        request: &Request,
        /// Number of the campaign.
        id: Path<i64>,
        mut file: CsvUpload,
    ) -> Result<Written<AllowListView>, Failure<Listing>> {
        let campaign = CampaignId(id.0);
        let by = origin(admin.actor(), request);
        match app.allow_lists.replace(campaign, by, &mut file).await {
            Ok(list) => {
                tracing::info!(campaign.id = %campaign, users = list.users, "list replaced");
                Ok(AllowListView::with_actor(campaign, &list))
            }
            Err(error) => Err(refused(error, &mut file).await.into()),
        }
    }

    /// Look at what a campaign's list is.
    #[oai(
        path = "/api/admin/campaigns/:id/allow-list",
        method = "get",
        operation_id = "getAllowList"
    )]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<CampaignRead>,
        /// Number of the campaign.
        id: Path<i64>,
    ) -> Result<Written<AllowListView>, Failure<Listing>> {
        let campaign = CampaignId(id.0);
        let list = app.allow_lists.of(campaign).await?;
        Ok(if admin.scopes().has(Scope::AuditRead) {
            AllowListView::with_actor(campaign, &list)
        } else {
            AllowListView::without_actor(campaign, &list)
        })
    }

    /// Ask whether a user is in a campaign's list.
    ///
    /// Takes `pii:read` beside `campaign:read`, and leaves an entry in the audit log.
    #[oai(
        path = "/api/admin/campaigns/:id/allow-list/:userId",
        method = "get",
        operation_id = "getAllowListUser"
    )]
    async fn user(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<(CampaignRead, PiiRead)>,
        request: &Request,
        /// Number of the campaign.
        id: Path<i64>,
        /// Number of the user.
        #[oai(name = "userId")]
        user: Path<u64>,
    ) -> Result<Written<ListedView>, Failure<Listing>> {
        let campaign = CampaignId(id.0);
        let known =
            user_id(user.0).ok_or_else(|| Problem::invalid_field("userId", USER_ID_RANGE))?;
        let list = app.allow_lists.of(campaign).await?;
        let found = app.store.allowed(list.id, &[known]).await?;
        let by = origin(admin.actor(), request);
        reads::record(&app, request, by, Read::AllowList(campaign, known)).await?;
        Ok(Written(ListedView {
            campaign_id: campaign.0,
            user_id: user.0,
            listed: !found.is_empty(),
        }))
    }

    /// Remove a campaign's list: it is open to everybody again.
    #[oai(
        path = "/api/admin/campaigns/:id/allow-list",
        method = "delete",
        operation_id = "removeAllowList"
    )]
    async fn remove(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<CampaignWrite>,
        request: &Request,
        /// Number of the campaign.
        id: Path<i64>,
    ) -> Result<Removed, Failure<Listing>> {
        let campaign = CampaignId(id.0);
        let by = origin(admin.actor(), request);
        app.allow_lists.remove(campaign, &by).await?;
        tracing::info!(campaign.id = %campaign, "list removed");
        Ok(Removed)
    }
}

/// What is told of an import that failed. A connection with something unread in it is of no more use.
async fn refused(error: AllowListError, file: &mut CsvUpload) -> Problem {
    let gone = matches!(error, AllowListError::Cut(_) | AllowListError::Slow);
    let is_read = !gone && file.discard().await;
    let problem = Problem::from(error);
    if is_read {
        problem
    } else {
        problem.with_header(header::CONNECTION, HeaderValue::from_static("close"))
    }
}

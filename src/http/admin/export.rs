//! A campaign's participations as a file, for admins.

use std::sync::Arc;

use poem::http::{HeaderValue, header};
use poem::web::Data;
use poem::{Body, IntoResponse, Request, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, OpenApi};

use crate::access::identity::{CampaignRead, PiiRead};
use crate::domain::CampaignId;
use crate::http::auth::Admin;
use crate::http::origin::origin;
use crate::http::problem::{Failure, documented};
use crate::http::reads::{self, Read};
use crate::http::views::StatusWord;
use crate::http::{App, Section};
use crate::operate::export::Pieces;

documented! {
    /// Problems of exporting.
    Exporting {
        401 => "No or no valid admin token (UNAUTHENTICATED).",
        403 => "The token lacks a scope (MISSING_SCOPE), a user is asking (FORBIDDEN), or the admin API is closed (ADMIN_CLOSED).",
        404 => "There is no such campaign (NOT_FOUND).",
        422 => "A value cannot be accepted (INVALID).",
    }
}

/// A CSV file, sent as it is made.
pub struct CsvFile {
    campaign: CampaignId,
    pieces: Pieces,
}

impl IntoResponse for CsvFile {
    fn into_response(self) -> Response {
        let name = format!(
            "attachment; filename=\"campaign-{}-participations.csv\"",
            self.campaign
        );
        let mut response = Response::builder()
            .content_type("text/csv; charset=utf-8; header=present")
            // It may be long, and nobody else is to have it.
            .header(header::CACHE_CONTROL, "no-store")
            .body(Body::from_bytes_stream(self.pieces));
        if let Ok(name) = HeaderValue::from_str(&name) {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_DISPOSITION, name);
        }
        response
    }
}

impl ApiResponse for CsvFile {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "RFC 4180, in UTF-8, with a first line of names: participationId, campaignId, \
                     userId, rank, quantity, status, remaining, amount, paymentReference, createdAt, expiresAt, \
                     rewardedAt. Times are RFC 3339, UTC. An apostrophe stands in paymentReference before what \
                     a spreadsheet could take for the beginning of a formula.",
                status: Some(200),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: "text/csv",
                    schema: String::schema_ref(),
                }],
                headers: vec![MetaHeader {
                    name: "Content-Disposition".to_owned(),
                    description: Some("A name for the file.".to_owned()),
                    required: false,
                    deprecated: false,
                    schema: String::schema_ref(),
                }],
            }],
        }
    }

    fn register(_registry: &mut Registry) {}
}

/// Exports.
pub struct AdminExportApi;

#[OpenApi(tag = "Section::Admin")]
impl AdminExportApi {
    /// Export the participations of a campaign as CSV.
    ///
    /// Each that was committed when the export began, once, in order of rank, as it stands when it is
    /// read. It is sent as fast as it is taken. If it cannot be brought to its end, the transfer breaks off:
    /// what ends as HTTP says is whole.
    #[oai(
        path = "/api/admin/campaigns/:id/participations.csv",
        method = "get",
        operation_id = "exportParticipations"
    )]
    async fn participations(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<(CampaignRead, PiiRead)>,
        request: &Request,
        /// Number of the campaign.
        id: Path<i64>,
        /// Only those that stand so.
        status: Query<Option<StatusWord>>,
    ) -> Result<CsvFile, Failure<Exporting>> {
        let campaign = CampaignId(id.0);
        let status = status.0.map(Into::into);
        let pieces = app.exporter.participations(campaign, status).await?;
        let by = origin(admin.actor(), request);
        reads::record(&app, request, by, Read::Export(campaign)).await?;
        Ok(CsvFile { campaign, pieces })
    }
}

//! A campaign's participations as a file, for admins.

use poem::http::{HeaderValue, header};
use poem::{Body, IntoResponse, Response};
use poem_openapi::registry::{MetaMediaType, MetaResponse};
use poem_openapi::types::Type;

use crate::access::identity::{CampaignRead, PiiRead};
use crate::domain::{CampaignId, Status};
use crate::http::json::{header_of, responses};
use crate::http::operation::{
    Admin, AppRef, Failure, OpenApi, Path, Query, Read, Request, Section, Word, documented, reads,
};
use crate::operate::export::Pieces;

documented! {
    Exporting: [ADMIN, PARAMETERS] {
        404 => "There is no such campaign (NOT_FOUND).",
    }
}

/// A CSV file, sent while it is made.
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
            // It may be large, and contains personal data.
            .header(header::CACHE_CONTROL, "no-store")
            .body(Body::from_bytes_stream(self.pieces));
        if let Ok(name) = HeaderValue::from_str(&name) {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_DISPOSITION, name);
        }
        response
    }
}

responses!(CsvFile: [MetaResponse {
    description: "RFC 4180, in UTF-8, with a first line of names: participationId, campaignId, userId, rank, \
         quantity, status, remaining, amount, paymentReference, createdAt, expiresAt, rewardedAt. Times are RFC 3339, \
         UTC. An apostrophe precedes a paymentReference that a spreadsheet could take for a formula.",
    status: Some(200),
    status_range: None,
    content: vec![MetaMediaType {
        content_type: "text/csv",
        schema: String::schema_ref(),
    }],
    headers: vec![header_of("Content-Disposition", "A name for the file.")],
}]);

pub struct AdminExportApi;

#[OpenApi(tag = "Section::AdminParticipations")]
impl AdminExportApi {
    /// Export the participations of a campaign as CSV.
    ///
    /// Each participation that was committed when the export began appears once, in order of rank, in its state when it
    /// is read. The file is sent as fast as the client reads it. If the export fails, the transfer breaks off: a transfer
    /// that HTTP completes is complete.
    #[oai(
        path = "/api/admin/campaigns/:id/participations.csv",
        method = "get",
        operation_id = "exportParticipations"
    )]
    async fn participations(
        &self,
        app: AppRef<'_>,
        admin: Admin<(CampaignRead, PiiRead)>,
        request: &Request,
        /// Id of the campaign.
        id: Path<i64>,
        /// Only participations with this status.
        status: Query<Option<Word<Status>>>,
    ) -> Result<CsvFile, Failure<Exporting>> {
        let campaign = CampaignId(id.0);
        let status = status.0.map(|status| status.0);
        let pieces = app.exporter.participations(campaign, status).await?;
        reads::record(&app, request, admin.origin(), Read::Export(campaign)).await?;
        Ok(CsvFile { campaign, pieces })
    }
}

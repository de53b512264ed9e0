//! The answer to a request that took part.

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;

use crate::http::json::Written;
use crate::http::limited::RateFields;
use crate::http::views::ParticipationView;
use crate::sale::participate::Replayed;

/// The yes to a participation.
pub struct Accepted {
    /// What was committed.
    pub view: ParticipationView,
    /// Whether it is the first answer again.
    pub replayed: Replayed,
    /// What the client is told of its rates.
    pub rates: Option<Box<RateFields>>,
}

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        let location = format!("/api/participations/{}", self.view.participation_id);
        let mut response = Written(self.view).into_response();
        response.set_status(StatusCode::CREATED);
        if let Ok(location) = HeaderValue::from_str(&location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        if matches!(self.replayed, Replayed::Again) {
            response
                .headers_mut()
                .insert("idempotency-replayed", HeaderValue::from_static("true"));
        }
        if let Some(rates) = self.rates {
            rates.add_to(response.headers_mut());
        }
        response
    }
}

impl ApiResponse for Accepted {
    fn meta() -> MetaResponses {
        let header = |name: &str, description: &str| MetaHeader {
            name: name.to_owned(),
            description: Some(description.to_owned()),
            required: false,
            deprecated: false,
            schema: String::schema_ref(),
        };
        MetaResponses {
            responses: vec![MetaResponse {
                description: "Committed.",
                status: Some(201),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: Written::<ParticipationView>::CONTENT_TYPE,
                    schema: Written::<ParticipationView>::schema_ref(),
                }],
                headers: vec![
                    header("Location", "Where the participation is."),
                    header(
                        "Idempotency-Replayed",
                        "`true` when this is the first answer to the same key again.",
                    ),
                    header(
                        "RateLimit",
                        "Requests left, where rates are limited; the rates are in `RateLimit-Policy`.",
                    ),
                ],
            }],
        }
    }

    fn register(registry: &mut Registry) {
        ParticipationView::register(registry);
    }
}

//! The response to an accepted participation or order.

use poem::http::HeaderValue;
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaResponses, Registry};

use crate::http::created::{Created, Resource};
use crate::http::json::header_of;
use crate::http::rate_fields::RateFields;
use crate::sale::participate::Replayed;

/// An accepted participation or order.
pub struct Accepted<V> {
    /// What was committed.
    pub view: V,
    /// Whether this is the first response again.
    pub replayed: Replayed,
    /// The client's rates.
    pub rates: Option<Box<RateFields>>,
}

impl<V: Resource> IntoResponse for Accepted<V> {
    fn into_response(self) -> Response {
        let mut response = Created(self.view).into_response();
        let headers = response.headers_mut();
        if matches!(self.replayed, Replayed::Again) {
            headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
        }
        if let Some(rates) = self.rates {
            rates.add_to(headers);
        }
        response
    }
}

impl<V: Resource> ApiResponse for Accepted<V> {
    fn meta() -> MetaResponses {
        let mut meta = Created::<V>::meta();
        for response in &mut meta.responses {
            response.headers.extend([
                header_of(
                    "Idempotency-Replayed",
                    "`true` if this is the first response to the key again.",
                ),
                header_of(
                    "RateLimit",
                    "Requests left, where rates are limited; the rates are in `RateLimit-Policy`.",
                ),
            ]);
        }
        meta
    }

    fn register(registry: &mut Registry) {
        Created::<V>::register(registry);
    }
}

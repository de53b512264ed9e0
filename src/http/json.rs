//! JSON bodies: a request's is bounded and checked field by field, a response's is written straight to bytes.
//!
//! The framework's own JSON payload reads bodies without a bound, names no field at fault and builds a tree of every
//! response before it writes it, which is too slow for the hot path.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use poem::error::ReadBodyError;
use poem::http::StatusCode;
use poem::{Body, IntoResponse, Request, RequestBody, Response};
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaRequest, MetaResponse, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde::Serialize;
use serde_json::Value;

use super::document::Document;
use super::fields::{self, RequestObject, read, read_document};
use super::problem::{
    Problem, malformed, too_large, too_slow, unreadable_body, unsupported_media_type,
};
use super::request_context::RequestContext;

const JSON: &str = "application/json";

/// A JSON body, written straight to bytes.
pub struct Json<T>(pub T);

impl<T: Serialize + Send> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => Response::builder()
                .content_type(JSON)
                .body(Body::from_vec(bytes)),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// Documents the responses of a type, and registers the type of their bodies.
macro_rules! responses {
    ($(where [$($generics:tt)+])? $type:ty: [$($response:expr),+ $(,)?] $(, $body:ty)?) => {
        impl $(<$($generics)+>)? poem_openapi::ApiResponse for $type {
            fn meta() -> poem_openapi::registry::MetaResponses {
                poem_openapi::registry::MetaResponses { responses: vec![$($response),+] }
            }

            #[allow(unused_variables, reason = "a response without a body registers nothing")]
            fn register(registry: &mut poem_openapi::registry::Registry) {
                $(<$body as poem_openapi::types::Type>::register(registry);)?
            }
        }
    };
}
pub(super) use responses;

responses!(where [T: Type + Send] Json<T>: [json_response::<T>(200, "Done.", Vec::new())], T);

/// Documents a response with a JSON body.
pub fn json_response<T: Type>(
    status: u16,
    description: &'static str,
    headers: Vec<MetaHeader>,
) -> MetaResponse {
    MetaResponse {
        description,
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType {
            content_type: JSON,
            schema: T::schema_ref(),
        }],
        headers,
    }
}

/// Documents a 204 response.
pub fn no_content(description: &'static str, headers: Vec<MetaHeader>) -> MetaResponse {
    MetaResponse {
        description,
        status: Some(204),
        status_range: None,
        content: Vec::new(),
        headers,
    }
}

/// Documents a header of a response.
pub fn header_of(name: &str, description: &str) -> MetaHeader {
    MetaHeader {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required: false,
        deprecated: false,
        schema: String::schema_ref(),
    }
}

/// A JSON body of a request, read within its bound and checked field by field. An absent body counts as `{}`.
pub struct JsonRequest<T>(pub T);

impl<'a, T: RequestObject + Send> ApiExtractor<'a> for JsonRequest<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        fields::register::<T>(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType {
                content_type: JSON,
                schema: fields::schema_ref::<T>(),
            }],
            // Without a body, an operation that needs a field names it as missing.
            required: read::<T>(empty()).is_err(),
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        Ok(Self(read_body(request, body).await?))
    }
}

/// Reads and checks the body of a request.
pub async fn read_body<T: RequestObject>(
    request: &Request,
    body: &mut RequestBody,
) -> Result<T, Problem> {
    let bytes = bounded(request, body).await?;
    if bytes.is_empty() {
        return read(empty());
    }
    if !is_json(request.content_type()) {
        return Err(unsupported_media_type());
    }
    let document = Document::parse(&bytes).map_err(|error| {
        malformed(format!(
            "The body is not JSON: line {}, column {}.",
            error.line(),
            error.column()
        ))
    })?;
    read_document(document)
}

/// What an absent body counts as.
fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

/// Reads a body within its bounds, whether or not its length was announced.
async fn bounded(request: &Request, body: &mut RequestBody) -> Result<Bytes, Problem> {
    let policy = RequestContext::policy(request)?;
    let max = policy.body_bytes_max;
    let announced = request
        .header("content-length")
        .and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|length| length > max) {
        return Err(too_large());
    }
    let body = body.take().map_err(|error| unreadable_body(&error))?;
    let mut whole = pin!(whole(body, max));
    // Most bodies arrive with their head; each of the others takes a permit while it is pending.
    if let Poll::Ready(whole) = poll_fn(|cx| Poll::Ready(whole.as_mut().poll(cx))).await {
        return whole.map_err(|error| unreadable_body(&error));
    }
    let _permit = policy.bodies.acquire_for(request)?;
    match tokio::time::timeout(policy.body_timeout, whole).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(unreadable_body(&error)),
        Err(_) => Err(too_slow()),
    }
}

/// Joins the pieces of a body. Usually there is one, which is not copied; the framework's own function reserves
/// four kilobytes for every request.
async fn whole(body: Body, max: usize) -> Result<Bytes, ReadBodyError> {
    let mut pieces = pin!(body.into_bytes_stream());
    let mut whole = Bytes::new();
    while let Some(piece) = pieces.try_next().await.map_err(ReadBodyError::Io)? {
        if whole.len() + piece.len() > max {
            return Err(ReadBodyError::PayloadTooLarge);
        }
        if whole.is_empty() {
            whole = piece;
        } else {
            let mut longer = BytesMut::from(whole);
            longer.extend_from_slice(&piece);
            whole = longer.freeze();
        }
    }
    Ok(whole)
}

/// `application/json` or `application/anything+json`, with or without parameters.
fn is_json(content_type: Option<&str>) -> bool {
    let essence = content_type
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    essence.is_some_and(|essence| {
        essence == JSON || (essence.starts_with("application/") && essence.ends_with("+json"))
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures_util::stream;

    use super::*;

    async fn read(pieces: &[Result<&'static str, io::ErrorKind>]) -> Result<String, Problem> {
        let pieces = pieces.iter().copied().map(|piece| match piece {
            Ok(text) => Ok(Bytes::from_static(text.as_bytes())),
            Err(kind) => Err(io::Error::from(kind)),
        });
        let body = Body::from_bytes_stream(stream::iter(pieces.collect::<Vec<_>>()));
        let bytes = whole(body, 8)
            .await
            .map_err(|error| unreadable_body(&error))?;
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_body_in_any_number_of_pieces_is_read_up_to_its_bound() {
        for pieces in [
            &[Ok("12345678")][..],
            &[Ok("1234"), Ok("5678")],
            &[Ok(""), Ok("1"), Ok(""), Ok("234567"), Ok("8"), Ok("")],
        ] {
            assert_eq!(read(pieces).await.unwrap(), "12345678", "{pieces:?}");
        }
        assert_eq!(read(&[]).await.unwrap(), "");
        for pieces in [&[Ok("123456789")][..], &[Ok("12345678"), Ok("9")]] {
            assert_eq!(read(pieces).await.unwrap_err().code, "TOO_LARGE");
        }
        let broken = read(&[Ok("1234"), Err(io::ErrorKind::ConnectionReset)]).await;
        assert_eq!(broken.unwrap_err().code, "MALFORMED");
    }

    #[test]
    fn json_is_recognised_by_its_media_type() {
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/merge-patch+json",
        ] {
            assert!(is_json(Some(good)), "{good}");
        }
        for bad in ["text/plain", "application/jsonx", "text/x+json", ""] {
            assert!(!is_json(Some(bad)), "{bad}");
        }
        assert!(!is_json(None));
    }
}

//! Problems: the error responses of the API, RFC 9457 documents with a stable `code`. Every response that is not a
//! success is made here, so that none carries the text of a database, a driver or a panic.

mod accounts;
mod campaigns;
mod changes;
mod documented;
mod examples;
mod framework;
pub(in crate::http) mod kind;
mod orders;
mod participations;
mod parts;
mod unavailable;

use std::borrow::Cow;

use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::{Body, Response};
use poem_openapi::Object;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::rate_fields::RateFields;

pub(super) use self::campaigns::wrong_state;
pub(super) use self::documented::{
    ADMIN, BODY, CALLER, COUPON, CROSS_SITE, Documented, Failure, Group, OWN_SESSION, PARAMETERS,
    PAYMENT, READINESS, SESSIONS, documented,
};
pub(super) use self::examples::example;
pub(super) use self::framework::{
    from_framework, head_too_large, host_not_allowed, malformed, no_csv, too_large, too_slow,
    unclear_host, unreadable_body, unsupported_media_type,
};
pub(super) use self::unavailable::{busy, part_unavailable, rate_limited};

/// Media type of every problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Capacity for most documents.
const DOCUMENT_BYTES: usize = 320;

/// The beginning of `type`; the rest is the code in lower case with hyphens.
const TYPE_PREFIX: &str = "urn:firstcome:problem:";

/// A field of a request and its fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
pub struct FieldProblem {
    /// Name of the field, parameter or header; fields of an inner object after a dot. A name that the service does
    /// not know is cut after 64 characters.
    pub field: String,
    /// Its fault.
    pub problem: String,
}

impl FieldProblem {
    /// The fault of a field.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

/// A problem before it becomes a response.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Problem {
    /// Status of the response.
    pub status: StatusCode,
    /// Stable code, for programs.
    pub code: &'static str,
    /// The kind of problem, for people: one title for each code.
    pub title: &'static str,
    /// What happened this time.
    pub detail: Cow<'static, str>,
    /// Fields at fault.
    pub errors: Vec<FieldProblem>,
    /// Members that only some codes have.
    pub members: Vec<(&'static str, Value)>,
    /// Headers of the response: `Retry-After`, `WWW-Authenticate` or `Allow` where the status has one, and the
    /// client's rates. Boxed, because problems are part of results and most have no headers.
    pub headers: Option<Box<HeaderMap>>,
}

impl Problem {
    /// The resource does not exist, or this caller may not know of it.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        kind::NOT_FOUND.because(detail)
    }

    /// 401: no valid credentials.
    pub fn unauthenticated(detail: impl Into<Cow<'static, str>>) -> Self {
        kind::UNAUTHENTICATED
            .because(detail)
            .with_challenge("Bearer realm=\"firstcome\"")
    }

    /// 403: the caller is known, but not allowed to do this.
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        kind::FORBIDDEN.because(detail)
    }

    /// Fields that are not acceptable.
    #[must_use]
    pub fn invalid(errors: Vec<FieldProblem>) -> Self {
        let detail = errors.first().map_or_else(
            || Cow::Borrowed("The request has a value that is not acceptable."),
            |first| format!("{}: {}.", first.field, first.problem).into(),
        );
        Self {
            errors,
            ..kind::INVALID.because(detail)
        }
    }

    /// One field that is not acceptable.
    pub fn invalid_field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::invalid(vec![FieldProblem::new(field, problem)])
    }

    /// A fault of the service. The cause is logged under the request id and never sent to the client.
    #[must_use]
    pub fn internal() -> Self {
        kind::INTERNAL.because("The service failed to answer the request.")
    }

    /// Adds a member that only this code has.
    #[must_use]
    pub fn with_member(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.members.push((name, value.into()));
        self
    }

    /// Sets a header.
    #[must_use]
    pub fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.get_or_insert_default().insert(name, value);
        self
    }

    /// Sets `WWW-Authenticate`, which every 401 has.
    #[must_use]
    pub fn with_challenge(self, challenge: &'static str) -> Self {
        self.with_header(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(challenge),
        )
    }

    /// Adds the client's rates.
    #[must_use]
    pub fn with_rates(mut self, rates: Option<Box<RateFields>>) -> Self {
        if let Some(rates) = rates {
            rates.add_to(self.headers.get_or_insert_default());
        }
        self
    }

    /// Adds a field at fault.
    #[must_use]
    pub fn with_error(mut self, error: FieldProblem) -> Self {
        self.errors.push(error);
        self
    }

    /// The problem as JSON, with the request id as `instance`.
    pub(super) fn document<'a>(&'a self, request_id: &'a str) -> impl Serialize + 'a {
        Document {
            problem: self,
            request_id,
        }
    }

    /// The response, with the request id as `instance`.
    #[must_use]
    pub fn into_answer(self, request_id: &str) -> Response {
        let mut body = Vec::with_capacity(DOCUMENT_BYTES);
        // A document of strings and numbers always serialises; a response without a body still has its status.
        if serde_json::to_writer(&mut body, &self.document(request_id)).is_err() {
            body.clear();
        }
        let mut response = Response::builder()
            .status(self.status)
            .content_type(PROBLEM_JSON)
            .body(Body::from_vec(body));
        if let Some(headers) = self.headers {
            response.headers_mut().extend(*headers);
        }
        response
    }
}

/// A problem as JSON.
struct Document<'a> {
    problem: &'a Problem,
    request_id: &'a str,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let problem = self.problem;
        let mut kind = String::with_capacity(TYPE_PREFIX.len() + problem.code.len());
        kind.push_str(TYPE_PREFIX);
        kind.extend(problem.code.chars().map(|letter| match letter {
            '_' => '-',
            _ => letter.to_ascii_lowercase(),
        }));
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &kind)?;
        map.serialize_entry("title", problem.title)?;
        map.serialize_entry("status", &problem.status.as_u16())?;
        map.serialize_entry("detail", &problem.detail)?;
        map.serialize_entry("instance", self.request_id)?;
        map.serialize_entry("code", problem.code)?;
        if !problem.errors.is_empty() {
            map.serialize_entry("errors", &problem.errors)?;
        }
        for (name, value) in &problem.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The edge makes the response of every problem, because it alone knows the request id. This is the response of a
/// problem that does not pass the edge.
impl poem::error::ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.status
    }

    fn as_response(&self) -> Response {
        self.clone().into_answer("")
    }
}

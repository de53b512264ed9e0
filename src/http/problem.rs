//! What a client is told when a request cannot be answered as asked: an RFC 9457 problem document
//! with a stable `code`. Every answer that is not a success is made here, so that none carries the
//! text of a database, a driver or a panic.

mod accounts;
mod entry;
mod failures;
mod framework;

use std::borrow::Cow;
use std::marker::PhantomData;

use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::{Body, Response};
use poem_openapi::payload::Payload as _;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type as _;
use poem_openapi::{ApiResponse, Object};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::json::Written;
use super::limited::RateFields;

pub use failures::Asked;
pub(super) use failures::busy;
pub use framework::Place;
pub(super) use framework::{
    from_framework, head_too_large, host_not_allowed, malformed, no_csv, too_large, too_slow,
    unauthenticated, unclear_host, unreadable_body, unsupported_media_type,
};

/// Media type of every problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Room for most documents.
const DOCUMENT_BYTES: usize = 320;

/// What `type` begins with; the rest is the code in lower case with hyphens.
const TYPE_PREFIX: &str = "urn:firstcome:problem:";

/// One field of a request and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
pub struct FieldProblem {
    /// Name of the field, parameter or header; fields of an inner object after a dot. A name that is not one
    /// of the service's is cut after 64 characters.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl FieldProblem {
    /// What is wrong with a field.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

/// A problem on its way to the client.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Problem {
    /// Status of the answer.
    pub status: StatusCode,
    /// Stable word that programs decide by.
    pub code: &'static str,
    /// The same for people; the same for every problem of this code.
    pub title: &'static str,
    /// What happened this time.
    pub detail: Cow<'static, str>,
    /// Fields at fault.
    pub errors: Vec<FieldProblem>,
    /// Members that only some codes have.
    pub members: Vec<(&'static str, Value)>,
    /// Headers of the answer: `Retry-After`, `WWW-Authenticate` or `Allow` where the status has one, and
    /// the client's rates. Boxed, because problems travel in results and most have none.
    pub headers: Option<Box<HeaderMap>>,
}

impl Problem {
    /// A problem without more to say about it than its detail.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            title,
            detail: detail.into(),
            errors: Vec::new(),
            members: Vec::new(),
            headers: None,
        }
    }

    /// Something the address names does not exist, or not for this caller.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "Not found", detail)
    }

    /// Fields that cannot be accepted.
    #[must_use]
    pub fn invalid(errors: Vec<FieldProblem>) -> Self {
        let detail = errors.first().map_or_else(
            || Cow::Borrowed("The request has a value that cannot be accepted."),
            |first| format!("{}: {}.", first.field, first.problem).into(),
        );
        Self {
            errors,
            ..Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "INVALID",
                "The request has values that cannot be accepted",
                detail,
            )
        }
    }

    /// One field that cannot be accepted.
    pub fn invalid_field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::invalid(vec![FieldProblem::new(field, problem)])
    }

    /// Our fault. What happened goes to the log under the request id, never to the client.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL",
            "Internal error",
            "The request could not be answered; the fault is on our side.",
        )
    }

    /// Come back later: the answer says when.
    pub fn unavailable(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            code,
            "Not available for the moment",
            detail,
        )
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// Adds a member that only this code has.
    #[must_use]
    pub fn with_member(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.members.push((name, value.into()));
        self
    }

    /// Sets the header that belongs to the status.
    #[must_use]
    pub fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.get_or_insert_default().insert(name, value);
        self
    }

    /// Tells of the client's rates.
    #[must_use]
    pub fn with_rates(mut self, rates: Option<Box<RateFields>>) -> Self {
        if let Some(rates) = rates {
            rates.add_to(self.headers.get_or_insert_default());
        }
        self
    }

    /// Names a field at fault.
    #[must_use]
    pub fn with_error(mut self, error: FieldProblem) -> Self {
        self.errors.push(error);
        self
    }

    /// The answer, with the request id as `instance`.
    #[must_use]
    pub fn into_answer(self, request_id: &str) -> Response {
        let document = Document {
            problem: &self,
            request_id,
        };
        let mut body = Vec::with_capacity(DOCUMENT_BYTES);
        // A document of strings and numbers always serialises; an empty body would still carry
        // the status.
        if serde_json::to_writer(&mut body, &document).is_err() {
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

/// A problem as it is written.
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

/// An RFC 9457 problem document.
#[derive(Serialize, Object)]
#[oai(rename = "Problem")]
struct ProblemSchema {
    /// Identifies the kind of problem.
    #[oai(rename = "type")]
    kind: String,
    /// The kind of problem for people.
    title: String,
    /// The status of the answer.
    status: u16,
    /// What happened this time.
    detail: String,
    /// The request id, to be quoted when asking about it.
    instance: String,
    /// The kind of problem for programs.
    code: String,
    /// Fields at fault: 20 at most, and `detail` says where there are more.
    errors: Option<Vec<FieldProblem>>,
    /// With `ALREADY_PARTICIPATED`: the participation that stands.
    #[oai(rename = "participationId")]
    participation_id: Option<String>,
    /// With `NOT_OPEN_YET`: when the window begins, if that is known.
    #[oai(rename = "opensAt")]
    opens_at: Option<String>,
    /// With refusals: units left, if that is known.
    remaining: Option<u64>,
}

/// The problems an operation can answer with, for its documentation.
pub trait Documented: Send + Sync + 'static {
    /// Status and when it is answered.
    const PROBLEMS: &'static [(u16, &'static str)];
}

/// A problem from an operation whose problems are documented by `D`.
#[derive(Debug)]
pub struct Failure<D>(Problem, PhantomData<D>);

impl<D, E: Into<Problem>> From<E> for Failure<D> {
    fn from(error: E) -> Self {
        Self(error.into(), PhantomData)
    }
}

impl<D> Failure<D> {
    /// Tells of the client's rates.
    #[must_use]
    pub fn with_rates(self, rates: Option<Box<RateFields>>) -> Self {
        Self(self.0.with_rates(rates), PhantomData)
    }
}

impl<D> From<Failure<D>> for poem::Error {
    fn from(failure: Failure<D>) -> Self {
        failure.0.into()
    }
}

/// The edge turns every problem into its answer, because it alone knows the request id; this is
/// what a problem looks like that never passed the edge.
impl poem::error::ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.status
    }

    fn as_response(&self) -> Response {
        self.clone().into_answer("")
    }
}

impl<D: Documented> ApiResponse for Failure<D> {
    fn meta() -> MetaResponses {
        let is_own = |status| D::PROBLEMS.iter().any(|(own, _)| *own == status);
        let response = |(status, description): &(u16, &'static str)| MetaResponse {
            description,
            status: Some(*status),
            status_range: None,
            content: vec![MetaMediaType {
                content_type: PROBLEM_JSON,
                schema: Written::<ProblemSchema>::schema_ref(),
            }],
            headers: Vec::new(),
        };
        MetaResponses {
            responses: D::PROBLEMS
                .iter()
                .chain(EVERYWHERE.iter().filter(|(status, _)| !is_own(*status)))
                .map(response)
                .collect(),
        }
    }

    fn register(registry: &mut Registry) {
        ProblemSchema::register(registry);
    }
}

/// Problems any operation can answer with.
const EVERYWHERE: [(u16, &str); 5] = [
    (
        421,
        "The service believes its callers and is not asked by this Host (HOST_NOT_ALLOWED).",
    ),
    (
        429,
        "The address has reached its limit of pending bodies or live streams (ADDRESS_LIMIT).",
    ),
    (431, "The head is too large (HEADERS_TOO_LARGE)."),
    (500, "Our fault (INTERNAL)."),
    (
        503,
        "Not available for the moment, see Retry-After (BUSY, TIMEOUT, STORE_UNAVAILABLE, GATE_UNAVAILABLE, BROKER_UNAVAILABLE, REWARDS_UNAVAILABLE, REQUEST_OUTSTANDING).",
    ),
];

/// Names a set of documented problems.
macro_rules! documented {
    ($($(#[$doc:meta])* $name:ident { $($status:literal => $when:literal),* $(,)? })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub struct $name;
            impl $crate::http::problem::Documented for $name {
                const PROBLEMS: &'static [(u16, &'static str)] = &[$(($status, $when)),*];
            }
        )+
    };
}
pub(super) use documented;

//! The problems of each operation, for the OpenAPI document. A set is composed of shared groups and of the problems that
//! only its operations have.

use std::marker::PhantomData;

use chrono::NaiveDate;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type as _;
use poem_openapi::{ApiResponse, Object};
use uuid::Uuid;

use super::{FieldProblem, PROBLEM_JSON, Problem};
use crate::domain::{State, Timestamp};
use crate::http::json::header_of;
use crate::http::rate_fields::RateFields;
use crate::http::views::PartView;
use crate::http::words::Word;

/// Statuses, and when an operation answers with them.
pub type Group = &'static [(u16, &'static str)];

/// Problems of an operation that reads a JSON body.
pub const BODY: Group = &[
    (400, "The body is not JSON (MALFORMED)."),
    (408, "The body is not complete in time (REQUEST_TIMEOUT)."),
    (413, "The body is too large (TOO_LARGE)."),
    (
        415,
        "The body is not declared as JSON (UNSUPPORTED_MEDIA_TYPE).",
    ),
    (422, INVALID),
];

/// Problems of an operation with parameters.
pub const PARAMETERS: Group = &[(422, INVALID)];

const INVALID: &str = "A value is not acceptable (INVALID).";

/// Problems of an operation of the admin API.
pub const ADMIN: Group = &[
    (
        401,
        "No valid credentials (UNAUTHENTICATED, INVALID_TOKEN).",
    ),
    (
        403,
        "The credentials lack the scope (MISSING_SCOPE), they are a user's (FORBIDDEN), the admin API is closed \
         (ADMIN_CLOSED), or a session request lacks its CSRF token (CSRF).",
    ),
];

/// Problems of an operation that a user or an admin may call.
pub const CALLER: Group = &[(
    401,
    "No credentials (UNAUTHENTICATED), or the token is not accepted (INVALID_TOKEN).",
)];

/// Problems of an operation that a user may call with the cookie of a session, and that changes something.
pub const CROSS_SITE: Group = &[(403, "A session request lacks its CSRF token (CSRF).")];

/// Problems of an operation that changes something with the cookie of a session.
pub const OWN_SESSION: Group = &[
    (401, "Not logged in (UNAUTHENTICATED)."),
    (
        403,
        "X-CSRF-Token is not the csrfToken of the session, or the request comes from another site (CSRF).",
    ),
    (404, NO_SESSIONS),
];

/// Problems of an operation that needs sessions.
pub const SESSIONS: Group = &[(404, NO_SESSIONS)];

const NO_SESSIONS: &str = "The service has no sessions: auth.mode is another (NOT_FOUND).";

/// The text for 503, with the further codes of an operation.
macro_rules! unavailable {
    ($codes:literal) => {
        concat!(
            "Temporarily unavailable, see Retry-After (BUSY, TIMEOUT, STORE_UNAVAILABLE, GATE_UNAVAILABLE, \
             BROKER_UNAVAILABLE, REWARDS_UNAVAILABLE, REQUEST_OUTSTANDING",
            $codes,
            ")."
        )
    };
}

/// Problems of an operation that calls the payment provider.
pub const PAYMENT: Group = &[(503, unavailable!(", PAYMENT_UNAVAILABLE"))];

/// Problems of an operation that redeems a coupon.
pub const COUPON: Group = &[(503, unavailable!(", COUPON_SUSPENDED"))];

/// Problems of the probe of readiness.
pub const READINESS: Group = &[(503, unavailable!(", NOT_READY"))];

/// Problems that every operation can answer with.
const EVERYWHERE: Group = &[
    (
        421,
        "The service trusts its callers and does not accept this Host (HOST_NOT_ALLOWED).",
    ),
    (
        429,
        "The address has used up its rate of reads, see Retry-After (RATE_LIMITED); or it has reached its limit of \
         pending bodies or live streams (ADDRESS_LIMIT).",
    ),
    (431, "The request head is too large (HEADERS_TOO_LARGE)."),
    (500, "Internal error (INTERNAL)."),
    (503, unavailable!("")),
];

/// The problems that an operation can answer with.
pub trait Documented: Send + Sync + 'static {
    /// Groups of problems. The first one that has a status describes it.
    const GROUPS: &'static [Group];
}

/// Names a set of problems: its groups, and the problems of its own.
macro_rules! documented {
    ($($name:ident: [$($group:ident),*] { $($status:literal => $when:literal),* $(,)? })+) => {
        $(
            #[doc = concat!("Problems of ", stringify!($name), ".")]
            #[derive(Debug)]
            pub struct $name;

            impl $crate::http::problem::Documented for $name {
                const GROUPS: &'static [$crate::http::problem::Group] = &[
                    &[$(($status, $when)),*],
                    $($crate::http::problem::$group),*
                ];
            }
        )+
    };
}
pub(in crate::http) use documented;

/// A problem of an operation whose problems `D` documents.
#[derive(Debug)]
pub struct Failure<D>(Problem, PhantomData<D>);

impl<D, E: Into<Problem>> From<E> for Failure<D> {
    fn from(error: E) -> Self {
        Self(error.into(), PhantomData)
    }
}

impl<D> Failure<D> {
    /// Adds the client's rates.
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

impl<D: Documented> ApiResponse for Failure<D> {
    fn meta() -> MetaResponses {
        let mut responses: Vec<MetaResponse> = Vec::new();
        for (status, description) in D::GROUPS.iter().copied().chain([EVERYWHERE]).flatten() {
            if responses.iter().any(|known| known.status == Some(*status)) {
                continue;
            }
            responses.push(MetaResponse {
                description,
                status: Some(*status),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: PROBLEM_JSON,
                    schema: ProblemSchema::schema_ref(),
                }],
                headers: headers(*status),
            });
        }
        responses.sort_by_key(|response| response.status);
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        ProblemSchema::register(registry);
    }
}

/// The headers of problems with a status, beside those of all responses.
fn headers(status: u16) -> Vec<MetaHeader> {
    let retry_after = || MetaHeader {
        schema: u64::schema_ref(),
        ..header_of("Retry-After", "Seconds until the request may be repeated.")
    };
    match status {
        401 => vec![header_of(
            "WWW-Authenticate",
            "How to authenticate (RFC 9110).",
        )],
        429 => vec![
            retry_after(),
            header_of(
                "RateLimit",
                "What is left of the client's rates, if one is used up.",
            ),
            header_of("RateLimit-Policy", "The client's rates, if one is used up."),
        ],
        503 => vec![retry_after()],
        _ => Vec::new(),
    }
}

/// An RFC 9457 problem document. Some codes have further members.
#[derive(Object)]
#[oai(rename = "Problem", rename_all = "camelCase")]
struct ProblemSchema {
    /// Identifies the kind of problem.
    #[oai(rename = "type")]
    kind: String,
    /// The kind of problem, for people.
    title: String,
    /// The status of the response.
    status: u16,
    /// What happened this time.
    detail: String,
    /// The request id, for questions about the problem.
    instance: String,
    /// The kind of problem, for programs. Each response lists its codes as `x-codes`. Later versions may have more, so
    /// treat an unknown code by the status of the response.
    code: String,
    /// Fields at fault: at most 20, and `detail` says if there are more.
    errors: Option<Vec<FieldProblem>>,
    /// The participation of the user, or the one that is not changed.
    participation_id: Option<Uuid>,
    /// The order that is refused or not changed, or that the participation is part of.
    order_id: Option<Uuid>,
    /// With `NOT_OPEN_YET`: the start of the window; null: it is not known.
    #[oai(nullable)]
    opens_at: Option<Timestamp>,
    /// With `SOLD_OUT`: units left, if that is known.
    remaining: Option<u64>,
    /// With `WRONG_STATE`: the state of the campaign.
    state: Option<Word<State>>,
    /// With `RATE_LIMITED`: the name of the limit.
    limit: Option<String>,
    /// With `MISSING_SCOPE`: the missing scope.
    scope: Option<String>,
    /// With `INVALID`, for an allow list: the number of the line at fault.
    line: Option<u64>,
    /// With 503: the part that does not answer: `store`, `gate`, `broker` or `rewards`.
    part: Option<String>,
    /// With `NOT_READY`: the health of the parts.
    parts: Option<Vec<PartView>>,
    /// With `TOO_MANY_JOBS`: the maximum number of simulations.
    jobs_max: Option<u64>,
    /// With `AGGREGATION_RUNNING`: the run in progress.
    job_execution_id: Option<i64>,
    /// With `AGGREGATION_RUNNING`: the day of that run.
    date: Option<NaiveDate>,
    /// With `COUPON_USED`: when it was redeemed.
    #[oai(nullable)]
    used_at: Option<Timestamp>,
    /// With `COUPON_NOT_YET_VALID`: the first moment it can be used.
    #[oai(nullable)]
    valid_from: Option<Timestamp>,
    /// With `COUPON_EXPIRED`: the last moment it can be used.
    #[oai(nullable)]
    valid_until: Option<Timestamp>,
    /// With `ORDER_BELOW_MINIMUM`: the minimum amount of an order.
    minimum_order_amount: Option<u64>,
}

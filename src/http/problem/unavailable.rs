//! Problems that pass: 503 and 429, with the time to wait in `Retry-After`.

use std::borrow::Cow;
use std::time::Duration;

use poem::http::{HeaderValue, header};

use super::Problem;
use super::kind::{self, Kind};
use crate::http::rate_fields::seconds;

impl Problem {
    /// Temporarily unavailable; the response says when to retry.
    pub fn unavailable(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        let problem = kind.because(detail);
        problem.with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }
}

/// 503: more requests wait than can be answered in time. The time to wait is random, so that clients do not all retry
/// in the same second.
pub(in crate::http) fn busy() -> Problem {
    let seconds = rand::random_range(1_u16..=3);
    Problem::unavailable(
        kind::BUSY,
        "More requests are waiting than can be answered in time.",
    )
    .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

/// 503: a part that the request needs does not answer.
pub(in crate::http) fn part_unavailable(part: &'static str) -> Problem {
    let kind = match part {
        "store" => kind::STORE_UNAVAILABLE,
        "gate" => kind::GATE_UNAVAILABLE,
        "broker" => kind::BROKER_UNAVAILABLE,
        "rewards" => kind::REWARDS_UNAVAILABLE,
        _ => kind::UNAVAILABLE,
    };
    Problem::unavailable(kind, "A part that the request needs does not answer.")
        .with_member("part", part)
}

/// 429: the client has to wait because of the limit of this name.
pub(in crate::http) fn rate_limited(
    time: Duration,
    limit: &'static str,
    detail: impl Into<Cow<'static, str>>,
) -> Problem {
    kind::RATE_LIMITED
        .because(detail)
        .with_header(header::RETRY_AFTER, seconds(time).max(1).into())
        .with_member("limit", limit)
}

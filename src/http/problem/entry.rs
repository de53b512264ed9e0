//! What those are told who do not get in, because they did not pass a challenge, and those who make the lists
//! of who may.

use poem::http::StatusCode;

use super::{Problem, busy, malformed, too_large, too_slow};
use crate::access::challenge::ChallengeError;
use crate::operate::lifecycle::LifecycleError;
use crate::sale::allow_list::AllowListError;

impl From<ChallengeError> for Problem {
    fn from(error: ChallengeError) -> Self {
        let detail = match error {
            ChallengeError::Missing => {
                return Self::new(
                    StatusCode::FORBIDDEN,
                    "CHALLENGE_REQUIRED",
                    "A challenge is required",
                    "Taking part in this campaign takes a token in X-Challenge-Token.",
                );
            }
            ChallengeError::Malformed => "X-Challenge-Token is not in the form of a token.",
            ChallengeError::Signature => "The challenge token is not signed by whom it should be.",
            ChallengeError::Campaign => "The challenge token is for another campaign.",
            ChallengeError::User => "The challenge token is for another user.",
            ChallengeError::Expired => "The challenge token has expired.",
            ChallengeError::TooLong => "The challenge token is valid for longer than it may be.",
        };
        Self::new(
            StatusCode::FORBIDDEN,
            "CHALLENGE_FAILED",
            "The challenge was not passed",
            detail,
        )
    }
}

impl From<AllowListError> for Problem {
    fn from(error: AllowListError) -> Self {
        match error {
            AllowListError::Unknown => Self::not_found("There is no such campaign."),
            AllowListError::NoList => {
                Self::not_found("The campaign has no list: it is open to everybody.")
            }
            AllowListError::Archived => LifecycleError::Archived.into(),
            AllowListError::Busy | AllowListError::Stopped => busy(),
            AllowListError::Line(bad) => {
                let problem = format!("{}, in line {}", bad.problem, bad.line);
                Self::invalid_field(bad.field, problem).with_member("line", bad.line)
            }
            AllowListError::Empty => Self::invalid_field(
                "userId",
                "must be there at least once; to keep everybody out, pause the campaign",
            ),
            AllowListError::TooMany(max) => Self {
                detail: format!("The list has more than {max} lines.").into(),
                ..too_large()
            },
            AllowListError::Cut(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a list broke off");
                malformed("The body did not come whole.")
            }
            AllowListError::Slow => too_slow(),
            AllowListError::Superseded => Self::new(
                StatusCode::CONFLICT,
                "SUPERSEDED",
                "Superseded",
                "Another list of this campaign was begun, or its list removed, meanwhile.",
            ),
            AllowListError::Store(error) => error.into(),
        }
    }
}

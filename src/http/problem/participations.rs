//! The problems of a participation: rejected by the rules or by a challenge, or not possible at the moment.

use poem::http::StatusCode;
use serde_json::Value;
use uuid::Uuid;

use super::kind::Kind;
use super::{FieldProblem, Problem, busy, kind, part_unavailable};
use crate::access::challenge::ChallengeError;
use crate::domain::{ParticipationId, Refusal};
use crate::http::views::format_time;
use crate::sale::participate::ParticipateError;

impl Problem {
    /// A participation that is rejected by the rules. `quantity_max` is the campaign's limit on one request, if the
    /// request exceeds it.
    #[must_use]
    pub fn rejected(refusal: &Refusal, remaining: Option<u64>, quantity_max: Option<u32>) -> Self {
        let (kind, detail) = kind_of(refusal);
        let problem = kind.because(detail);
        match refusal {
            Refusal::AlreadyParticipated { first } => {
                problem.with_member("participationId", first.to_string())
            }
            Refusal::NotOpenYet { opens_at } => problem.with_member(
                "opensAt",
                opens_at.map_or(Value::Null, |at| format_time(at).into()),
            ),
            Refusal::SoldOut => match remaining {
                Some(remaining) => problem.with_member("remaining", remaining),
                None => problem,
            },
            Refusal::LimitExceeded => match quantity_max {
                Some(max) => problem.with_error(FieldProblem::new(
                    "quantity",
                    format!("must be at most {max} in one request"),
                )),
                None => problem,
            },
            Refusal::Ended | Refusal::Paused | Refusal::NotAllowed => problem,
        }
    }
}

/// The kind of a refusal, and its detail.
const fn kind_of(refusal: &Refusal) -> (Kind, &'static str) {
    let (title, detail) = wording(refusal);
    let kind = Kind {
        status: match refusal {
            Refusal::NotAllowed => StatusCode::FORBIDDEN,
            _ => StatusCode::CONFLICT,
        },
        code: refusal.code(),
        title,
    };
    (kind, detail)
}

/// The same, of the code of a refusal; none: it is no refusal's.
pub(super) fn wording_of(code: &str) -> Option<(Kind, &'static str)> {
    let refusals = [
        Refusal::AlreadyParticipated {
            first: ParticipationId(Uuid::nil()),
        },
        Refusal::SoldOut,
        Refusal::NotOpenYet { opens_at: None },
        Refusal::Ended,
        Refusal::Paused,
        Refusal::LimitExceeded,
        Refusal::NotAllowed,
    ];
    let refusal = refusals.iter().find(|refusal| refusal.code() == code);
    refusal.map(kind_of)
}

const fn wording(refusal: &Refusal) -> (&'static str, &'static str) {
    match refusal {
        Refusal::AlreadyParticipated { .. } => (
            "Already participated",
            "You already participate in this campaign.",
        ),
        Refusal::SoldOut => ("Sold out", "Fewer units are left than requested."),
        Refusal::NotOpenYet { .. } => ("Not open yet", "The campaign has not opened yet."),
        Refusal::Ended => ("Ended", "The campaign is over."),
        Refusal::Paused => ("Paused", "The campaign is paused."),
        Refusal::LimitExceeded => (
            "Limit exceeded",
            "You request more units than you may have in this campaign.",
        ),
        Refusal::NotAllowed => (
            "Not on the allow list",
            "The campaign is restricted to its allow list, and you are not on it.",
        ),
    }
}

impl From<ParticipateError> for Problem {
    fn from(error: ParticipateError) -> Self {
        match error {
            ParticipateError::UnknownCampaign => Self::not_found("There is no such campaign."),
            ParticipateError::KeyReused => key_reused(),
            ParticipateError::Outstanding => Self::unavailable(
                kind::REQUEST_OUTSTANDING,
                "An earlier request may still be committed; retry with the same key.",
            ),
            ParticipateError::NoPaymentProvider => no_payment_provider(),
            ParticipateError::Busy => busy(),
            ParticipateError::Unavailable { part } => part_unavailable(part),
        }
    }
}

impl From<ChallengeError> for Problem {
    fn from(error: ChallengeError) -> Self {
        let detail = match error {
            ChallengeError::Missing => {
                return kind::CHALLENGE_REQUIRED.because(
                    "A participation in this campaign needs a token in X-Challenge-Token.",
                );
            }
            ChallengeError::Malformed => "X-Challenge-Token is not well-formed.",
            ChallengeError::Signature => {
                "The challenge token is not signed by the expected issuer."
            }
            ChallengeError::Campaign => "The challenge token is for another campaign.",
            ChallengeError::User => "The challenge token is for another user.",
            ChallengeError::Expired => "The challenge token has expired.",
            ChallengeError::TooLong => "The challenge token is valid for longer than permitted.",
        };
        kind::CHALLENGE_FAILED.because(detail)
    }
}

/// The key belongs to another request.
pub(super) fn key_reused() -> Problem {
    kind::IDEMPOTENCY_KEY_REUSED
        .because("This Idempotency-Key belongs to another request.")
        .with_error(FieldProblem::new(
            "Idempotency-Key",
            "belongs to another request",
        ))
}

/// The service takes no payments.
pub(super) fn no_payment_provider() -> Problem {
    kind::NO_PAYMENT_PROVIDER.because(
        "No payment provider is configured. The simulated one moves no money and is used only with \
         payment.allow_simulated.",
    )
}

#[cfg(test)]
mod tests {
    use poem::http::header;

    use super::*;

    #[test]
    fn a_second_participation_names_the_first() {
        let first = ParticipationId::generate();
        let problem = Problem::rejected(&Refusal::AlreadyParticipated { first }, None, None);
        assert_eq!(problem.status, StatusCode::CONFLICT);
        assert_eq!(problem.code, "ALREADY_PARTICIPATED");
        assert_eq!(
            problem.members,
            [("participationId", Value::from(first.to_string()))]
        );
    }

    #[test]
    fn a_quantity_over_the_limit_of_one_request_is_named() {
        let over = Problem::rejected(&Refusal::LimitExceeded, None, Some(2));
        assert_eq!(over.errors.first().unwrap().field, "quantity");
        let held = Problem::rejected(&Refusal::LimitExceeded, None, None);
        assert!(held.errors.is_empty());
    }

    #[test]
    fn an_unavailable_part_sets_retry_after() {
        for (part, code) in [("store", "STORE_UNAVAILABLE"), ("gate", "GATE_UNAVAILABLE")] {
            let problem = Problem::from(ParticipateError::Unavailable { part });
            assert_eq!(problem.code, code);
            assert_eq!(problem.headers.unwrap()[header::RETRY_AFTER], "1");
        }
    }
}

//! An example of each kind of problem, for the OpenAPI document. A problem that a function of this folder makes is made
//! here by it; of the others the example repeats a usual detail.

use std::time::Duration;

use chrono::DateTime;
use serde_json::json;
use uuid::Uuid;

use super::changes::REFERENCE_USED;
use super::kind::{self, Kind};
use super::participations::{key_reused, no_payment_provider};
use super::{
    FieldProblem, Problem, busy, head_too_large, host_not_allowed, malformed, part_unavailable,
    rate_limited, too_large, too_slow, unsupported_media_type, wrong_state,
};
use crate::access::accounts::AccountError;
use crate::access::challenge::ChallengeError;
use crate::domain::{ParticipationId, Refusal};

const PARTICIPATION: Uuid = Uuid::from_u128(0x0197_f2a4_3c5e_7b1a_9d42_6f0e_8c2b_5a10);
const ORDER: Uuid = Uuid::from_u128(0x0197_f2a4_4d10_7c33_8e5f_1b9a_7d60_e4f2);

/// Kinds without members, each with a usual detail.
const PLAIN: [(Kind, &str); 25] = [
    (kind::INVALID_TOKEN, "The token has expired."),
    (
        kind::LOGIN_REFUSED,
        "The login or the password is wrong, or the account is disabled.",
    ),
    (
        kind::CODE_REFUSED,
        "The one-time code is not the current one, or is already used.",
    ),
    (
        kind::PAYMENT_DECLINED,
        "The payment provider declines this payment; the reservation remains until it expires.",
    ),
    (kind::ADMIN_CLOSED, "No admin token is configured."),
    (kind::CSRF, "The request comes from another site."),
    (kind::FORBIDDEN, "userId is not the caller."),
    (
        kind::SHOPS_ONLY,
        "Show the code of the coupon to the shop, which redeems it for the order.",
    ),
    (kind::NOT_AGGREGATED, "This day is not aggregated."),
    (kind::NOT_FOUND, "There is no such campaign."),
    (
        kind::REWARDS_OFF,
        "This process has no rewards database: enable consumers, or configure the rewards database.",
    ),
    (
        kind::METHOD_NOT_ALLOWED,
        "This path does not support the method.",
    ),
    (
        kind::ALREADY_REVIEWED,
        "The participation already has a review.",
    ),
    (
        kind::COUPON_REVOKED,
        "The participation that earned the coupon was cancelled.",
    ),
    (
        kind::NOT_CONFIRMED,
        "Only a confirmed participation can be reviewed.",
    ),
    (
        kind::NOT_DEAD,
        "This event is not a dead letter, or not any more.",
    ),
    (
        kind::SUPERSEDED,
        "Another import for this campaign began, or its allow list was removed, meanwhile.",
    ),
    (
        kind::ADDRESS_LIMIT,
        "One address may have 16 pending bodies at once.",
    ),
    (kind::INTERNAL, "The service failed to answer the request."),
    (
        kind::UNAUTHENTICATED,
        "Credentials are missing: send Authorization: Bearer TOKEN, or the cookie of a session.",
    ),
    (
        kind::COUPON_SUSPENDED,
        "The participation that earned the coupon is being cancelled.",
    ),
    (
        kind::PAYMENT_UNAVAILABLE,
        "The payment provider does not answer; retry with the same reference.",
    ),
    (
        kind::REQUEST_OUTSTANDING,
        "An earlier request may still be committed; retry with the same key.",
    ),
    (
        kind::TIMEOUT,
        "The response took too long; the request may still take effect.",
    ),
    (
        kind::UNAVAILABLE,
        "A part that the request needs does not answer.",
    ),
];

/// Kinds that name the participation, which is not changed.
const UNCHANGED: [(Kind, &str); 8] = [
    (kind::UNCHANGED, "The participation already has this state."),
    (kind::NOT_PAYABLE, "The participation is free."),
    (kind::ALREADY_PAID, "Another payment paid for it."),
    (kind::PAYMENT_REFERENCE_USED, REFERENCE_USED),
    (kind::CANCELLED, "The participation is cancelled."),
    (
        kind::EXPIRED,
        "The reservation was not paid in time; its units are available again.",
    ),
    (
        kind::NOT_CANCELLABLE,
        "The participation is confirmed, and its campaign permits no cancellation.",
    ),
    (
        kind::ALREADY_USED,
        "A coupon that the participation earned is already used.",
    ),
];

/// An example of a code; none: no kind of problem has it.
pub fn example(code: &str) -> Option<Problem> {
    let plain = PLAIN.into_iter().map(|(kind, detail)| kind.because(detail));
    let all = requests().into_iter().chain(callers()).chain(rejections());
    let all = all.chain(changes()).chain(coupons()).chain(operations());
    all.chain(unavailable())
        .chain(plain)
        .find(|problem| problem.code == code)
}

fn requests() -> Vec<Problem> {
    let day = |kind: Kind, problem: &'static str| {
        kind.because(format!("date: {problem}."))
            .with_error(FieldProblem::new("date", problem))
    };
    vec![
        malformed("The body is not JSON: line 1, column 9."),
        Problem::invalid_field("quantity", "must be between 1 and 1000000"),
        key_reused(),
        too_slow(),
        too_large(),
        unsupported_media_type(),
        host_not_allowed(),
        head_too_large(),
        rate_limited(
            Duration::from_secs(1),
            "address",
            "More than 20 requests in 1 s: the limit of each address.",
        ),
        day(kind::DATE_IN_FUTURE, "is in the future"),
        day(kind::DATE_TOO_OLD, "is more than a year ago"),
    ]
}

fn callers() -> Vec<Problem> {
    vec![
        kind::MISSING_SCOPE
            .because("The operation needs the scope campaign:write.")
            .with_member("scope", "campaign:write"),
        ChallengeError::Missing.into(),
        ChallengeError::Signature.into(),
        AccountError::CodeRequired.into(),
        AccountError::NotRemembered.into(),
        AccountError::JustUsed.into(),
        AccountError::LoginTaken.into(),
        AccountError::TotpEnabled.into(),
        AccountError::TotpNotEnabled.into(),
        AccountError::NoEnrolment.into(),
    ]
}

fn rejections() -> Vec<Problem> {
    let first = ParticipationId(PARTICIPATION);
    let opens_at = DateTime::from_timestamp(1_893_488_400, 0);
    let rejected = |refusal: &Refusal| Problem::rejected(refusal, Some(0), Some(2));
    vec![
        rejected(&Refusal::AlreadyParticipated { first }),
        rejected(&Refusal::SoldOut),
        rejected(&Refusal::NotOpenYet { opens_at }),
        rejected(&Refusal::Ended),
        rejected(&Refusal::Paused),
        rejected(&Refusal::LimitExceeded),
        rejected(&Refusal::NotAllowed),
        no_payment_provider(),
        Problem::cart_empty(),
    ]
}

fn changes() -> Vec<Problem> {
    let of_participation = |kind: Kind, detail: &'static str| {
        kind.because(detail)
            .with_member("participationId", PARTICIPATION.to_string())
    };
    let unchanged = UNCHANGED.into_iter();
    let mut problems: Vec<Problem> = unchanged
        .map(|(kind, detail)| of_participation(kind, detail))
        .collect();
    problems.extend([
        of_participation(
            kind::PART_OF_ORDER,
            "The participation is a line of an order, which is paid or cancelled as a whole.",
        )
        .with_member("orderId", ORDER.to_string()),
        kind::ORDER_REFUSED
            .because("The order was refused.")
            .with_member("orderId", ORDER.to_string()),
    ]);
    problems
}

fn coupons() -> Vec<Problem> {
    let at = "2030-01-01T09:00:00Z";
    vec![
        kind::COUPON_USED
            .because("The coupon is already redeemed.")
            .with_member("usedAt", at),
        kind::COUPON_NOT_YET_VALID
            .because("The coupon is not valid yet.")
            .with_member("validFrom", at),
        kind::COUPON_EXPIRED
            .because("The coupon is no longer valid.")
            .with_member("validUntil", at),
        kind::ORDER_BELOW_MINIMUM
            .because("The amount of the order is below the minimum of the coupon.")
            .with_member("minimumOrderAmount", 10_000),
    ]
}

fn operations() -> Vec<Problem> {
    vec![
        wrong_state("A campaign that is closed cannot become open.").with_member("state", "closed"),
        kind::TOO_MANY_JOBS
            .because("At most 2 simulations run at the same time (test.jobs_max).")
            .with_member("jobsMax", 2),
        kind::AGGREGATION_RUNNING
            .because("Another run is in progress, for this day or another one.")
            .with_member("jobExecutionId", 7)
            .with_member("date", "2030-01-01"),
    ]
}

fn unavailable() -> Vec<Problem> {
    vec![
        busy(),
        part_unavailable("store"),
        part_unavailable("gate"),
        part_unavailable("broker"),
        part_unavailable("rewards"),
        Problem::unavailable(
            kind::NOT_READY,
            "A part that the service needs does not answer.",
        )
        .with_member("parts", json!([{ "name": "store", "status": "down" }])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_an_example() {
        for kind in kind::ALL {
            let example = example(kind.code);
            let example = example.unwrap_or_else(|| panic!("{} has no example", kind.code));
            assert_eq!(example.status, kind.status, "{}", kind.code);
            assert_eq!(example.title, kind.title, "{}", kind.code);
        }
        assert!(example("NO_SUCH_CODE").is_none());
    }

    #[test]
    fn each_rejection_has_an_example() {
        for code in [
            "ALREADY_PARTICIPATED",
            "SOLD_OUT",
            "NOT_OPEN_YET",
            "ENDED",
            "PAUSED",
        ] {
            assert!(example(code).is_some(), "{code}");
        }
    }
}

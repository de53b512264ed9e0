//! What failures and refusals of the inner modules look like to a client.

use std::sync::Arc;

use poem::http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use super::{FieldProblem, Problem};
use crate::domain::{Obstacle, Participation, Refusal};
use crate::http::views::time;
use crate::operate::export::ExportError;
use crate::operate::lifecycle::LifecycleError;
use crate::operate::system::TopicsError;
use crate::parts::gate::GateError;
use crate::parts::store::StoreError;
use crate::sale::changes::ChangeError;
use crate::sale::participate::ParticipateError;
use crate::sale::payment::PaymentError;
use crate::sale::reconcile::ReconcileError;

/// Units asked for in a request, and the most that one request may ask for where that was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The campaign's bound on one request, if the request is over it.
    pub over_max: Option<u32>,
}

impl Problem {
    /// A participation refused by the rules.
    #[must_use]
    pub fn refused(refusal: &Refusal, remaining: Option<u64>, asked: Asked) -> Self {
        let (title, detail) = wording(refusal);
        let status = match refusal {
            Refusal::NotAllowed => StatusCode::FORBIDDEN,
            _ => StatusCode::CONFLICT,
        };
        let problem = Self::new(status, refusal.code(), title, detail);
        match refusal {
            Refusal::AlreadyParticipated { first } => {
                problem.with_member("participationId", first.to_string())
            }
            Refusal::NotOpenYet { opens_at } => problem.with_member(
                "opensAt",
                opens_at.map_or(Value::Null, |at| time(at).into()),
            ),
            Refusal::SoldOut => match remaining {
                Some(remaining) => problem.with_member("remaining", remaining),
                None => problem,
            },
            Refusal::LimitExceeded => match asked.over_max {
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

const fn wording(refusal: &Refusal) -> (&'static str, &'static str) {
    match refusal {
        Refusal::AlreadyParticipated { .. } => (
            "Already participated",
            "You already take part in this campaign.",
        ),
        Refusal::SoldOut => ("Sold out", "Fewer units are left than were asked for."),
        Refusal::NotOpenYet { .. } => ("Not open yet", "The campaign has not opened yet."),
        Refusal::Ended => ("Ended", "The campaign is over."),
        Refusal::Paused => ("Paused", "The campaign is paused for a while."),
        Refusal::LimitExceeded => (
            "Limit exceeded",
            "More units were asked for than you may take in this campaign.",
        ),
        Refusal::NotAllowed => (
            "Not on the list",
            "This campaign is for those on its list, and you are not on it.",
        ),
    }
}

impl From<ParticipateError> for Problem {
    fn from(error: ParticipateError) -> Self {
        match error {
            ParticipateError::UnknownCampaign => Self::not_found("There is no such campaign."),
            ParticipateError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "IDEMPOTENCY_KEY_REUSED",
                "Idempotency key reused",
                "This Idempotency-Key was used before for another request.",
            )
            .with_error(FieldProblem::new(
                "Idempotency-Key",
                "was used before for another request",
            )),
            ParticipateError::Outstanding => Self::unavailable(
                "REQUEST_OUTSTANDING",
                "An earlier request may still be committed; ask again, with the same key.",
            ),
            ParticipateError::NoPaymentProvider => no_provider(),
            ParticipateError::Busy => busy(),
            ParticipateError::Unavailable { part } => part_unavailable(part),
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Unknown => Self::not_found("There is no such participation."),
            ChangeError::Unchanged {
                participation,
                obstacle,
            } => stays(&participation, obstacle),
            ChangeError::WrongAmount { due } => {
                Self::invalid_field("amount", format!("must be {due}, which is due"))
            }
            ChangeError::ReferenceUsed => Self::new(
                StatusCode::CONFLICT,
                "PAYMENT_REFERENCE_USED",
                "Payment reference used",
                "This payment was recorded for another participation: it pays for one alone.",
            )
            .with_error(FieldProblem::new(
                "paymentReference",
                "was used before for another participation",
            )),
            ChangeError::NoProvider => no_provider(),
            ChangeError::Payment(PaymentError::Declined(why)) => {
                tracing::debug!(why, "payment declined");
                Self::new(
                    StatusCode::PAYMENT_REQUIRED,
                    "PAYMENT_DECLINED",
                    "Payment declined",
                    "The payment provider declines this payment; the reservation stands until it expires.",
                )
            }
            ChangeError::Payment(PaymentError::Unavailable(why)) => {
                tracing::warn!(why, "the payment provider does not answer");
                Self::unavailable(
                    "PAYMENT_UNAVAILABLE",
                    "The payment provider does not answer; ask again with the same reference.",
                )
            }
            ChangeError::Busy => busy(),
            ChangeError::Unavailable => part_unavailable("store"),
            ChangeError::RewardsUnavailable => part_unavailable("rewards"),
            ChangeError::RewardsOff => Self::unavailable(
                "REWARDS_UNAVAILABLE",
                "Whether its coupons were used is not known: this process has nothing to do with rewards. \
                 Tell it where the rewards database is (FIRSTCOME_REWARDS_DATABASE_URL).",
            )
            .with_member("part", "rewards"),
        }
    }
}

/// Why a participation stays as it is.
fn stays(participation: &Participation, obstacle: Obstacle) -> Problem {
    let (code, title, detail) = match obstacle {
        Obstacle::Already => ("UNCHANGED", "Unchanged", "It is so already."),
        Obstacle::NotPayable => ("NOT_PAYABLE", "Nothing to pay", "It costs nothing."),
        Obstacle::PaidOtherwise => (
            "ALREADY_PAID",
            "Already paid",
            "It was paid before, by another payment.",
        ),
        Obstacle::ReferenceUsed => (
            "PAYMENT_REFERENCE_USED",
            "Payment reference used",
            "This payment was recorded for another participation: it pays for one alone.",
        ),
        Obstacle::Cancelled => ("CANCELLED", "Cancelled", "It was cancelled."),
        Obstacle::Expired => (
            "EXPIRED",
            "Expired",
            "It was not paid for in time; its units are given to others.",
        ),
        Obstacle::NotCancellable => (
            "NOT_CANCELLABLE",
            "Not cancellable",
            "It is confirmed, and its campaign takes nothing back.",
        ),
        Obstacle::AlreadyUsed => (
            "ALREADY_USED",
            "Already used",
            "What it earned was used, so it cannot be given back.",
        ),
        // Never said: a suspension comes first, and one that was too short is tried again.
        Obstacle::NotSuspended | Obstacle::NotSuspendedAnyMore => {
            return part_unavailable("rewards");
        }
    };
    Problem::new(StatusCode::CONFLICT, code, title, detail)
        .with_member("participationId", participation.id.to_string())
}

/// Nothing that costs money is sold here.
fn no_provider() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "NO_PAYMENT_PROVIDER",
        "No payment provider",
        "No provider is configured that takes payments: the simulated one moves no money, and sells here only \
         with payment.allow_simulated.",
    )
}

/// More work is waiting than can be done in time. Those who are told so do not all come back in the same
/// second.
pub(in crate::http) fn busy() -> Problem {
    let seconds = rand::random_range(1_u16..=3);
    Problem::unavailable(
        "BUSY",
        "More requests are waiting than can be answered in time.",
    )
    .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

fn part_unavailable(part: &'static str) -> Problem {
    let code = match part {
        "store" => "STORE_UNAVAILABLE",
        "gate" => "GATE_UNAVAILABLE",
        "broker" => "BROKER_UNAVAILABLE",
        "rewards" => "REWARDS_UNAVAILABLE",
        _ => "UNAVAILABLE",
    };
    Problem::unavailable(code, "A part the request needs does not answer.")
        .with_member("part", part)
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl From<Arc<StoreError>> for Problem {
    fn from(error: Arc<StoreError>) -> Self {
        Self::from(&*error)
    }
}

impl From<&StoreError> for Problem {
    fn from(error: &StoreError) -> Self {
        tracing::warn!(
            error = error as &dyn std::error::Error,
            "read or write the store"
        );
        part_unavailable("store")
    }
}

impl From<Arc<TopicsError>> for Problem {
    fn from(error: Arc<TopicsError>) -> Self {
        tracing::warn!(
            error = &*error as &dyn std::error::Error,
            "ask the brokers about the topics"
        );
        part_unavailable("broker")
    }
}

impl From<ExportError> for Problem {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Unknown => Self::not_found("There is no such campaign."),
            ExportError::Busy => busy(),
            ExportError::Store(error) => error.into(),
            // Only what was begun can end so, and that is no answer any more.
            ExportError::CutOff => Self::internal(),
        }
    }
}

impl From<GateError> for Problem {
    fn from(error: GateError) -> Self {
        // That it is away was said once, when it went.
        if !matches!(error, GateError::Away) {
            tracing::warn!(error = &error as &dyn std::error::Error, "ask the gate");
        }
        part_unavailable("gate")
    }
}

impl From<ReconcileError> for Problem {
    fn from(error: ReconcileError) -> Self {
        match error {
            ReconcileError::Store(error) => error.into(),
            ReconcileError::Gate(error) => error.into(),
            ReconcileError::Closed => GateError::Away.into(),
        }
    }
}

impl From<LifecycleError> for Problem {
    fn from(error: LifecycleError) -> Self {
        match error {
            LifecycleError::Unknown => Self::not_found("There is no such campaign."),
            LifecycleError::WrongState { from, to } => Self::new(
                StatusCode::CONFLICT,
                "WRONG_STATE",
                "Not possible in this state",
                format!(
                    "A campaign that is {} cannot become {}.",
                    from.as_str(),
                    to.as_str()
                ),
            )
            .with_member("state", from.as_str()),
            LifecycleError::Archived => Self::new(
                StatusCode::CONFLICT,
                "WRONG_STATE",
                "Not possible in this state",
                "An archived campaign cannot be changed.",
            )
            .with_member("state", "archived"),
            LifecycleError::Invalid { field, problem } => {
                Self::invalid_field(wire_name(field), problem)
            }
            LifecycleError::NoProvider => {
                no_provider().with_error(FieldProblem::new("price", "cannot be paid here"))
            }
            LifecycleError::Store(error) => error.into(),
            LifecycleError::Gate(error) => error.into(),
        }
    }
}

/// The name of a field as clients know it: `opens_at` is `opensAt`.
fn wire_name(field: &str) -> String {
    let mut name = String::with_capacity(field.len());
    let mut raise = false;
    for letter in field.chars() {
        if letter == '_' {
            raise = true;
        } else if raise {
            name.push(letter.to_ascii_uppercase());
            raise = false;
        } else {
            name.push(letter);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ParticipationId, State};

    #[test]
    fn a_second_participation_is_told_the_first() {
        let first = ParticipationId::generate();
        let problem = Problem::refused(
            &Refusal::AlreadyParticipated { first },
            None,
            Asked { over_max: None },
        );
        assert_eq!(problem.status, StatusCode::CONFLICT);
        assert_eq!(problem.code, "ALREADY_PARTICIPATED");
        assert_eq!(
            problem.members,
            [("participationId", Value::from(first.to_string()))]
        );
    }

    #[test]
    fn asking_for_more_than_one_request_may_names_the_quantity() {
        let over = Problem::refused(&Refusal::LimitExceeded, None, Asked { over_max: Some(2) });
        assert_eq!(over.errors.first().unwrap().field, "quantity");
        let held = Problem::refused(&Refusal::LimitExceeded, None, Asked { over_max: None });
        assert!(held.errors.is_empty());
    }

    #[test]
    fn a_part_that_is_away_asks_to_come_back() {
        for (part, code) in [("store", "STORE_UNAVAILABLE"), ("gate", "GATE_UNAVAILABLE")] {
            let problem = Problem::from(ParticipateError::Unavailable { part });
            assert_eq!(problem.code, code);
            assert_eq!(problem.headers.unwrap()[header::RETRY_AFTER], "1");
        }
    }

    #[test]
    fn fields_are_named_as_clients_write_them() {
        let problem = Problem::from(LifecycleError::Invalid {
            field: "closes_at",
            problem: "must be after opensAt".to_owned(),
        });
        assert_eq!(problem.errors.first().unwrap().field, "closesAt");
    }

    #[test]
    fn a_move_that_is_not_possible_is_a_conflict() {
        let problem = Problem::from(LifecycleError::WrongState {
            from: State::Closed,
            to: State::Open,
        });
        assert_eq!(problem.status, StatusCode::CONFLICT);
        assert_eq!(
            problem.detail,
            "A campaign that is closed cannot become open."
        );
    }
}

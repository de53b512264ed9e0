//! The problems of confirming and cancelling a participation.

use super::participations::no_payment_provider;
use super::{FieldProblem, Problem, busy, kind, part_unavailable};
use crate::domain::{Obstacle, Participation};
use crate::sale::changes::ChangeError;
use crate::sale::payment::PaymentError;

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Unknown => Self::not_found("There is no such participation."),
            ChangeError::Unchanged {
                participation,
                obstacle,
            } => obstructed(&participation, obstacle),
            ChangeError::WrongAmount { due } => {
                Self::invalid_field("amount", format!("must be {due}, which is due"))
            }
            ChangeError::ReferenceUsed => kind::PAYMENT_REFERENCE_USED
                .because(REFERENCE_USED)
                .with_error(FieldProblem::new(
                    "paymentReference",
                    "belongs to another participation",
                )),
            ChangeError::NoProvider => no_payment_provider(),
            ChangeError::Payment(PaymentError::Declined(why)) => {
                tracing::debug!(why, "payment declined");
                kind::PAYMENT_DECLINED.because(
                    "The payment provider declines this payment; the reservation remains until it \
                     expires.",
                )
            }
            ChangeError::Payment(PaymentError::Unavailable(why)) => {
                tracing::warn!(why, "the payment provider does not answer");
                Self::unavailable(
                    kind::PAYMENT_UNAVAILABLE,
                    "The payment provider does not answer; retry with the same reference.",
                )
            }
            ChangeError::Busy => busy(),
            ChangeError::Unavailable => part_unavailable("store"),
            ChangeError::RewardsUnavailable => part_unavailable("rewards"),
            ChangeError::RewardsOff => Self::unavailable(
                kind::REWARDS_UNAVAILABLE,
                "The state of its coupons is unknown, because this process has no rewards database: set \
                 FIRSTCOME_REWARDS_DATABASE_URL.",
            )
            .with_member("part", "rewards"),
        }
    }
}

pub(super) const REFERENCE_USED: &str = "This payment belongs to another participation or order.";

/// The reason why a participation is not changed.
fn obstructed(participation: &Participation, obstacle: Obstacle) -> Problem {
    let problem = match obstacle {
        Obstacle::Already => kind::UNCHANGED.because("The participation already has this state."),
        Obstacle::NotPayable => kind::NOT_PAYABLE.because("The participation is free."),
        Obstacle::PaidOtherwise => kind::ALREADY_PAID.because("Another payment paid for it."),
        Obstacle::ReferenceUsed => kind::PAYMENT_REFERENCE_USED.because(REFERENCE_USED),
        Obstacle::Cancelled => kind::CANCELLED.because("The participation is cancelled."),
        Obstacle::Expired => kind::EXPIRED
            .because("The reservation was not paid in time; its units are available again."),
        Obstacle::NotCancellable => kind::NOT_CANCELLABLE
            .because("The participation is confirmed, and its campaign permits no cancellation."),
        Obstacle::AlreadyUsed => {
            kind::ALREADY_USED.because("A coupon that the participation earned is already used.")
        }
        Obstacle::PartOfOrder(order) => kind::PART_OF_ORDER
            .because(
                "The participation is a line of an order, which is paid or cancelled as a whole.",
            )
            .with_member("orderId", order.to_string()),
        // Never sent: a suspension comes first, and the change is retried if it was too short; the other obstacles
        // are those of orders.
        Obstacle::NotSuspended
        | Obstacle::NotSuspendedAnyMore
        | Obstacle::Refused
        | Obstacle::Undecided => {
            return part_unavailable("rewards");
        }
    };
    problem.with_member("participationId", participation.id.to_string())
}

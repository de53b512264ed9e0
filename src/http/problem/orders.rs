//! The problems of orders and carts.

use super::changes::REFERENCE_USED;
use super::participations::{key_reused, wording_of};
use super::{FieldProblem, Problem, busy, kind, part_unavailable};
use crate::domain::{Obstacle, Order, OrderRefusal};
use crate::sale::orders::{OrderError, PlaceError};

impl Problem {
    /// An order that is refused because one line is not possible.
    #[must_use]
    pub fn refused_order(order: &Order, refusal: &OrderRefusal) -> Self {
        let line = usize::try_from(refusal.line).unwrap_or(usize::MAX);
        let Some((kind, detail)) = wording_of(&refusal.code) else {
            // Other codes occur only in orders without a result, whose keys are deleted.
            return part_unavailable("store");
        };
        kind.because(detail)
            .with_error(FieldProblem::new(format!("lines[{line}]"), detail))
            .with_member("orderId", order.id.to_string())
    }

    /// A cart without lines.
    #[must_use]
    pub fn cart_empty() -> Self {
        kind::CART_EMPTY.because("There is nothing in the cart.")
    }

    /// A line of a campaign that does not exist.
    #[must_use]
    pub fn unknown_line(nth: u32) -> Self {
        Self::invalid_field(format!("lines[{nth}].campaignId"), "is no campaign")
    }
}

impl From<PlaceError> for Problem {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::UnknownCampaign { line } => Self::unknown_line(line),
            PlaceError::MixedPrices => Self::invalid_field(
                "lines",
                "must be of campaigns that all have a price, or all have none",
            ),
            PlaceError::KeyReused => key_reused(),
            PlaceError::Outstanding => Self::unavailable(
                kind::REQUEST_OUTSTANDING,
                "An earlier request is placing this order; retry with the same key.",
            ),
            PlaceError::Refused { line, refusal } => {
                let problem = Self::rejected(&refusal, None, None);
                let detail = problem.detail.clone();
                problem.with_error(FieldProblem::new(format!("lines[{line}]"), detail))
            }
            PlaceError::Line { line, error } => Self::from(error).with_error(FieldProblem::new(
                format!("lines[{line}]"),
                "was not reserved",
            )),
            PlaceError::Busy => busy(),
            PlaceError::Unavailable => part_unavailable("store"),
        }
    }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::Unknown => Self::not_found("There is no such order."),
            OrderError::Unchanged { order, obstacle } => {
                obstructed(obstacle).with_member("orderId", order.id.to_string())
            }
            OrderError::Change(error) => error.into(),
        }
    }
}

/// The reason why an order is not changed.
fn obstructed(obstacle: Obstacle) -> Problem {
    match obstacle {
        Obstacle::NotPayable => kind::NOT_PAYABLE.because("The order is free."),
        Obstacle::PaidOtherwise => kind::ALREADY_PAID.because("Another payment paid for it."),
        Obstacle::Cancelled => kind::CANCELLED.because("The order is cancelled."),
        Obstacle::Expired => {
            kind::EXPIRED.because("The order was not paid in time; its units are available again.")
        }
        Obstacle::NotCancellable => kind::NOT_CANCELLABLE.because(
            "The order is confirmed, and a campaign of it permits no cancellation or has coupons as its reward.",
        ),
        Obstacle::Refused => kind::ORDER_REFUSED.because("The order was refused."),
        Obstacle::Undecided => kind::WRONG_STATE.because("The order is being placed."),
        Obstacle::ReferenceUsed => kind::PAYMENT_REFERENCE_USED.because(REFERENCE_USED),
        // The others occur only for participations.
        Obstacle::Already
        | Obstacle::AlreadyUsed
        | Obstacle::NotSuspended
        | Obstacle::NotSuspendedAnyMore
        | Obstacle::PartOfOrder(_) => kind::UNCHANGED.because("The order stays as it is."),
    }
}

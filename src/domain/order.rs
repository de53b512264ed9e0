//! An order: lines of several campaigns, accepted or refused as a whole. Each line is a participation. The status of
//! the order decides, and its lines follow it. The rules are pure: a transaction applies them to the row that it has
//! locked.

use super::words::words;
use super::{
    CampaignId, CancellationPolicy, Obstacle, OrderId, ParticipationId, Status, Timestamp, UserId,
};

/// Most lines of an order, and of a cart.
pub const ORDER_LINES_MAX: usize = 20;

words! {
    /// The status of an order.
    pub enum OrderStatus {
        /// Its lines are being reserved; undecided.
        Placing = "placing",
        /// All lines hold their units until the order is paid for.
        Reserved = "reserved",
        /// Accepted for good.
        Confirmed = "confirmed",
        /// Cancelled by the user or an admin.
        Cancelled = "cancelled",
        /// Not paid for in time.
        Expired = "expired",
        /// A line was refused; no units were taken.
        Refused = "refused",
    }
}

impl OrderStatus {
    /// The status that the lines must get; none: they stay reserved.
    ///
    /// ```
    /// use firstcome::domain::{OrderStatus, Status};
    ///
    /// assert_eq!(OrderStatus::Refused.of_lines(), Some(Status::Cancelled));
    /// assert_eq!(OrderStatus::Reserved.of_lines(), None);
    /// ```
    #[must_use]
    pub const fn of_lines(self) -> Option<Status> {
        match self {
            Self::Placing | Self::Reserved => None,
            Self::Confirmed => Some(Status::Confirmed),
            Self::Cancelled | Self::Refused => Some(Status::Cancelled),
            Self::Expired => Some(Status::Expired),
        }
    }

    /// The `ce_type` of the event; none: an order in this status is not announced.
    #[must_use]
    pub const fn event_type(self) -> Option<&'static str> {
        match self {
            Self::Placing | Self::Refused => None,
            Self::Reserved => Some("firstcome.order.reserved"),
            Self::Confirmed => Some("firstcome.order.confirmed"),
            Self::Cancelled => Some("firstcome.order.cancelled"),
            Self::Expired => Some("firstcome.order.expired"),
        }
    }
}

/// A line of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderLine {
    /// The campaign.
    pub campaign_id: CampaignId,
    /// Units.
    pub quantity: u32,
    /// Its participation, made when the line is reserved.
    pub participation_id: ParticipationId,
}

/// Why an order was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRefusal {
    /// The index of the line, from 0.
    pub line: u32,
    /// The stable code of the reason.
    pub code: String,
}

impl OrderRefusal {
    /// The code if the result of a line is unknown.
    pub const UNAVAILABLE: &str = "UNAVAILABLE";
    /// The code if nobody decided the order.
    pub const INTERRUPTED: &str = "INTERRUPTED";

    /// Whether the rules refuse the line, so that the same request gets the same answer. Otherwise it may be made again.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.code != Self::UNAVAILABLE && self.code != Self::INTERRUPTED
    }
}

/// An order as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// The user.
    pub user_id: UserId,
    /// Its status.
    pub status: OrderStatus,
    /// Its lines, in the order of the request.
    pub lines: Vec<OrderLine>,
    /// The price of all lines; none: free, or not known yet.
    pub amount: Option<u64>,
    /// The reference of its payment.
    pub payment_reference: Option<String>,
    /// The line that was refused.
    pub refusal: Option<OrderRefusal>,
    /// When a reserved order expires.
    pub expires_at: Option<Timestamp>,
    /// When it was requested.
    pub created_at: Timestamp,
    /// Number of decisions.
    pub version: u32,
}

/// A change of an order's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderDecision {
    /// All lines are reserved.
    Placed {
        /// The price of all lines; none: free.
        amount: Option<u64>,
        /// How many seconds it waits for its payment, if it has a price.
        hold_seconds: u32,
    },
    /// A line was refused, or nobody decided the order.
    Refused(OrderRefusal),
    /// Paid; the reference is the payment provider's.
    Confirmed {
        /// The reference of the payment.
        reference: String,
    },
    /// Cancelled by the user or an admin.
    Cancelled,
    /// Not paid in time.
    Expired,
}

/// The campaign whose stream has the events of an order with these lines: that of the first one.
#[must_use]
pub fn home_of(lines: &[OrderLine]) -> Option<CampaignId> {
    lines.first().map(|line| line.campaign_id)
}

impl Order {
    /// The status after a decision at this time. A confirmed order is cancelled only if its campaigns take back
    /// everything.
    pub fn after(
        &self,
        decision: &OrderDecision,
        cancellation_policy: CancellationPolicy,
        now: Timestamp,
    ) -> Result<OrderStatus, Obstacle> {
        use OrderStatus::{Cancelled, Confirmed, Expired, Placing, Refused, Reserved};
        let in_time = self.expires_at.is_none_or(|expires_at| now < expires_at);
        match (decision, self.status) {
            (OrderDecision::Placed { amount, .. }, Placing) => match amount {
                Some(_) => Ok(Reserved),
                None => Ok(Confirmed),
            },
            (OrderDecision::Refused(_), Placing) => Ok(Refused),
            (OrderDecision::Confirmed { reference }, _) => {
                match self.obstacle_to_payment(Some(reference)) {
                    Some(obstacle) => Err(obstacle),
                    None if in_time => Ok(Confirmed),
                    None => Err(Obstacle::Expired),
                }
            }
            (OrderDecision::Cancelled, Reserved) => Ok(Cancelled),
            (OrderDecision::Cancelled, Confirmed) => match cancellation_policy {
                CancellationPolicy::All => Ok(Cancelled),
                CancellationPolicy::None | CancellationPolicy::Suspended => {
                    Err(Obstacle::NotCancellable)
                }
            },
            (OrderDecision::Cancelled, Expired) => Err(Obstacle::Expired),
            (OrderDecision::Cancelled, Refused) => Err(Obstacle::Refused),
            (OrderDecision::Cancelled, Placing) => Err(Obstacle::Undecided),
            (OrderDecision::Expired, Reserved) if !in_time => Ok(Expired),
            (_, _) => Err(Obstacle::Already),
        }
    }

    /// Whether this decision can lead to its status.
    #[must_use]
    pub fn is_decided_by(&self, decision: &OrderDecision) -> bool {
        match decision {
            OrderDecision::Placed { .. } => {
                matches!(self.status, OrderStatus::Reserved | OrderStatus::Confirmed)
            }
            OrderDecision::Refused(refusal) => self.refusal.as_ref() == Some(refusal),
            OrderDecision::Confirmed { reference } => {
                self.status == OrderStatus::Confirmed
                    && self.payment_reference.as_ref() == Some(reference)
            }
            OrderDecision::Cancelled => self.status == OrderStatus::Cancelled,
            OrderDecision::Expired => self.status == OrderStatus::Expired,
        }
    }

    /// Why this payment, or any payment, is not possible, whatever the time is. None: it is reserved.
    #[must_use]
    pub fn obstacle_to_payment(&self, reference: Option<&str>) -> Option<Obstacle> {
        match self.status {
            OrderStatus::Reserved => None,
            OrderStatus::Confirmed => Some(match &self.payment_reference {
                None => Obstacle::NotPayable,
                Some(paid) if reference.is_none_or(|named| named == paid) => Obstacle::Already,
                Some(_) => Obstacle::PaidOtherwise,
            }),
            OrderStatus::Cancelled => Some(Obstacle::Cancelled),
            OrderStatus::Expired => Some(Obstacle::Expired),
            OrderStatus::Refused => Some(Obstacle::Refused),
            OrderStatus::Placing => Some(Obstacle::Undecided),
        }
    }

    /// An order of one free line, for tests.
    #[cfg(test)]
    #[must_use]
    pub fn example() -> Self {
        Self {
            id: OrderId(uuid::Uuid::from_u128(1)),
            user_id: UserId(3),
            status: OrderStatus::Placing,
            lines: vec![OrderLine {
                campaign_id: CampaignId(2),
                quantity: 1,
                participation_id: ParticipationId(uuid::Uuid::from_u128(4)),
            }],
            amount: None,
            payment_reference: None,
            refusal: None,
            expires_at: None,
            created_at: Timestamp::UNIX_EPOCH,
            version: 0,
        }
    }
}

#[cfg(test)]
mod tests;

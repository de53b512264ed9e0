//! The rules for changes of a committed participation. Pure: a transaction applies them to the row that it has locked.

use super::{OrderId, Participation, Status, Timestamp};

/// A requested change of a participation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestedChange {
    /// Paid; the reference is the payment provider's.
    Confirm {
        /// The reference of the payment.
        reference: String,
    },
    /// Cancelled by the user or an admin.
    Cancel {
        /// Until when its coupons stay suspended, by the clock of the events' database; none: they were
        /// not suspended.
        suspended_until: Option<Timestamp>,
    },
    /// Not paid in time.
    Expire,
    /// A line of an order gets the status that its order has decided.
    FollowOrder {
        /// The status of the line.
        status: Status,
        /// The reference of the order's payment, if there is one.
        reference: Option<String>,
    },
}

/// Why a change is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The participation has this status already.
    Already,
    /// The participation is free.
    NotPayable,
    /// Another payment was recorded for it.
    PaidOtherwise,
    /// The payment was recorded for another participation.
    ReferenceUsed,
    /// It was cancelled.
    Cancelled,
    /// The reservation has expired.
    Expired,
    /// It is confirmed, and the campaign does not allow its cancellation.
    NotCancellable,
    /// Its reward was used.
    AlreadyUsed,
    /// It may have coupons, and they are not suspended.
    NotSuspended,
    /// The suspension of its coupons has ended, so they may be usable again.
    NotSuspendedAnyMore,
    /// It is a line of this order, which alone changes it.
    PartOfOrder(OrderId),
    /// The order was refused.
    Refused,
    /// The order is being placed.
    Undecided,
}

/// Which confirmed participations of a campaign can be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancellationPolicy {
    /// None.
    None,
    /// All.
    All,
    /// Those without usable coupons.
    Suspended,
}

impl RequestedChange {
    /// The status after the change.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Self::Confirm { .. } => Status::Confirmed,
            Self::Cancel { .. } => Status::Cancelled,
            Self::Expire => Status::Expired,
            Self::FollowOrder { status, .. } => *status,
        }
    }

    /// Whether the change returns units.
    #[must_use]
    pub const fn returns_units(&self) -> bool {
        !self.status().holds_units()
    }
}

impl Participation {
    /// The status after a change at this time.
    pub fn after(
        &self,
        requested: &RequestedChange,
        cancellation_policy: CancellationPolicy,
        now: Timestamp,
    ) -> Result<Status, Obstacle> {
        let in_time = self.expires_at.is_none_or(|expires_at| now < expires_at);
        match (requested, self.status) {
            (RequestedChange::Confirm { reference }, _) => {
                match self.obstacle_to_payment(Some(reference)) {
                    Some(obstacle) => Err(obstacle),
                    None if in_time => Ok(requested.status()),
                    None => Err(Obstacle::Expired),
                }
            }
            (RequestedChange::Cancel { .. }, Status::Reserved) => Ok(requested.status()),
            (RequestedChange::Cancel { suspended_until }, Status::Confirmed) => {
                match (cancellation_policy, suspended_until) {
                    (CancellationPolicy::None, _) => Err(Obstacle::NotCancellable),
                    (CancellationPolicy::All, _) => Ok(requested.status()),
                    (CancellationPolicy::Suspended, None) => Err(Obstacle::NotSuspended),
                    (CancellationPolicy::Suspended, Some(until)) if now < *until => {
                        Ok(requested.status())
                    }
                    (CancellationPolicy::Suspended, Some(_)) => Err(Obstacle::NotSuspendedAnyMore),
                }
            }
            (RequestedChange::Cancel { .. }, Status::Expired) => Err(Obstacle::Expired),
            (RequestedChange::Expire, Status::Reserved) if !in_time => Ok(requested.status()),
            (RequestedChange::FollowOrder { status, .. }, standing) => {
                follow_order(standing, *status)
            }
            (RequestedChange::Cancel { .. }, Status::Cancelled) | (RequestedChange::Expire, _) => {
                Err(Obstacle::Already)
            }
        }
    }

    /// Why this payment, or any payment, is not possible, whatever the time is. None: it is reserved.
    #[must_use]
    pub fn obstacle_to_payment(&self, reference: Option<&str>) -> Option<Obstacle> {
        match self.status {
            Status::Reserved => None,
            Status::Confirmed => Some(match &self.payment_reference {
                None => Obstacle::NotPayable,
                Some(paid) if reference.is_none_or(|named| named == paid) => Obstacle::Already,
                Some(_) => Obstacle::PaidOtherwise,
            }),
            Status::Cancelled => Some(Obstacle::Cancelled),
            Status::Expired => Some(Obstacle::Expired),
        }
    }
}

/// The status of a line after its order has decided. Its time does not matter: that of the order did.
fn follow_order(standing: Status, decided: Status) -> Result<Status, Obstacle> {
    match standing {
        _ if standing == decided => Err(Obstacle::Already),
        Status::Reserved => Ok(decided),
        Status::Confirmed if decided == Status::Cancelled => Ok(decided),
        Status::Confirmed => Err(Obstacle::NotCancellable),
        Status::Cancelled => Err(Obstacle::Cancelled),
        Status::Expired => Err(Obstacle::Expired),
    }
}

#[cfg(test)]
mod tests;

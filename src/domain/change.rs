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
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    const NOW: Timestamp = DateTime::from_timestamp_nanos(1_800_000_000_000_000_000);

    fn standing(status: Status, paid_by: Option<&str>) -> Participation {
        Participation {
            status,
            amount: Some(100),
            payment_reference: paid_by.map(str::to_owned),
            expires_at: (status == Status::Reserved).then(|| NOW + TimeDelta::seconds(1)),
            created_at: NOW,
            ..Participation::example()
        }
    }

    fn confirm() -> RequestedChange {
        RequestedChange::Confirm {
            reference: "one".to_owned(),
        }
    }

    const fn cancel(suspended_until: Option<Timestamp>) -> RequestedChange {
        RequestedChange::Cancel { suspended_until }
    }

    #[test]
    fn a_reservation_ends_in_exactly_one_way() {
        let reserved = standing(Status::Reserved, None);
        for (late, confirmed, expired) in [
            (0, Ok(Status::Confirmed), Err(Obstacle::Already)),
            (1, Err(Obstacle::Expired), Ok(Status::Expired)),
        ] {
            let now = NOW + TimeDelta::seconds(late);
            assert_eq!(
                reserved.after(&confirm(), CancellationPolicy::None, now),
                confirmed
            );
            assert_eq!(
                reserved.after(&RequestedChange::Expire, CancellationPolicy::None, now),
                expired
            );
            let cancelled = reserved.after(&cancel(None), CancellationPolicy::None, now);
            assert_eq!(cancelled, Ok(Status::Cancelled));
        }
    }

    #[test]
    fn confirmed_participations_are_cancelled_only_if_the_campaign_is_cancellable() {
        let paid = standing(Status::Confirmed, Some("one"));
        let refused = paid.after(&cancel(None), CancellationPolicy::None, NOW);
        assert_eq!(refused, Err(Obstacle::NotCancellable));
        let taken = paid.after(&cancel(None), CancellationPolicy::All, NOW);
        assert_eq!(taken, Ok(Status::Cancelled));
    }

    #[test]
    fn participations_that_may_have_coupons_are_cancelled_while_those_are_suspended() {
        let free = standing(Status::Confirmed, None);
        let at = |suspended_until| {
            free.after(&cancel(suspended_until), CancellationPolicy::Suspended, NOW)
        };
        assert_eq!(at(None), Err(Obstacle::NotSuspended));
        assert_eq!(at(Some(NOW)), Err(Obstacle::NotSuspendedAnyMore));
        let in_time = Some(NOW + TimeDelta::microseconds(1));
        assert_eq!(at(in_time), Ok(Status::Cancelled));
        // A participation that was never confirmed has no reward.
        let reserved = standing(Status::Reserved, None);
        let given_back = reserved.after(&cancel(None), CancellationPolicy::Suspended, NOW);
        assert_eq!(given_back, Ok(Status::Cancelled));
    }

    #[test]
    fn a_repeated_payment_is_distinguished_from_a_second_one() {
        let by = |reference| {
            standing(Status::Confirmed, reference).after(&confirm(), CancellationPolicy::None, NOW)
        };
        assert_eq!(by(Some("one")), Err(Obstacle::Already));
        assert_eq!(by(Some("two")), Err(Obstacle::PaidOtherwise));
        assert_eq!(by(None), Err(Obstacle::NotPayable));
    }

    #[test]
    fn no_transition_leaves_a_final_state() {
        for (status, obstacle) in [
            (Status::Cancelled, Obstacle::Cancelled),
            (Status::Expired, Obstacle::Expired),
        ] {
            let ended = standing(status, None);
            assert_eq!(
                ended.after(&confirm(), CancellationPolicy::All, NOW),
                Err(obstacle)
            );
            assert_eq!(
                ended.after(&RequestedChange::Expire, CancellationPolicy::All, NOW),
                Err(Obstacle::Already)
            );
            assert!(
                ended
                    .after(&cancel(None), CancellationPolicy::All, NOW)
                    .is_err()
            );
        }
    }
}

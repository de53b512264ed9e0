//! What may become of a participation after it was committed. Pure: the same rules wherever a change is
//! decided, and they are decided on the row that the transaction holds.

use super::{Instant, Participation, Status};

/// What somebody wants to become of a participation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Paid for; the reference is the payment provider's.
    Confirm {
        /// Names the payment.
        reference: String,
    },
    /// Given back.
    Cancel,
    /// Not paid for in time.
    Expire,
}

/// Why it stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It is what was wanted already.
    Already,
    /// It costs nothing: there is nothing to pay.
    NotPayable,
    /// Another payment was recorded for it.
    PaidOtherwise,
    /// It was cancelled.
    Cancelled,
    /// Its time to pay is over.
    Expired,
    /// It is confirmed, and its campaign takes nothing back that is.
    NotCancellable,
}

impl Wish {
    /// Where whoever it is granted to stands.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Self::Confirm { .. } => Status::Confirmed,
            Self::Cancel => Status::Cancelled,
            Self::Expire => Status::Expired,
        }
    }

    /// Whether the units of whoever it is granted to return.
    #[must_use]
    pub const fn returns_units(&self) -> bool {
        matches!(self, Self::Cancel | Self::Expire)
    }
}

impl Participation {
    /// Where it stands once the wish is granted, at this time, in a campaign that takes back what is
    /// confirmed or does not.
    pub fn after(&self, wish: &Wish, cancellable: bool, now: Instant) -> Result<Status, Obstacle> {
        let in_time = self.expires_at.is_none_or(|expires_at| now < expires_at);
        match (wish, self.status) {
            (Wish::Confirm { reference }, _) => match self.obstacle_to_payment(Some(reference)) {
                Some(obstacle) => Err(obstacle),
                None if in_time => Ok(wish.status()),
                None => Err(Obstacle::Expired),
            },
            (Wish::Cancel, Status::Reserved) => Ok(wish.status()),
            (Wish::Cancel, Status::Confirmed) if cancellable => Ok(wish.status()),
            (Wish::Cancel, Status::Confirmed) => Err(Obstacle::NotCancellable),
            (Wish::Cancel, Status::Expired) => Err(Obstacle::Expired),
            (Wish::Expire, Status::Reserved) if !in_time => Ok(wish.status()),
            (Wish::Cancel, Status::Cancelled) | (Wish::Expire, _) => Err(Obstacle::Already),
        }
    }

    /// What stands in the way of a payment, or of any where none is named, whatever the time is. None:
    /// it is reserved.
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

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use uuid::Uuid;

    use super::*;
    use crate::domain::{CampaignId, ParticipationId, UserId};

    const NOW: Instant = DateTime::from_timestamp_nanos(1_800_000_000_000_000_000);

    fn standing(status: Status, paid_by: Option<&str>) -> Participation {
        Participation {
            id: ParticipationId(Uuid::nil()),
            campaign_id: CampaignId(1),
            user_id: UserId(1),
            quantity: 1,
            rank: 1,
            status,
            remaining: None,
            amount: Some(100),
            payment_reference: paid_by.map(str::to_owned),
            expires_at: (status == Status::Reserved).then(|| NOW + TimeDelta::seconds(1)),
            created_at: NOW,
        }
    }

    fn confirm() -> Wish {
        Wish::Confirm {
            reference: "one".to_owned(),
        }
    }

    #[test]
    fn a_reservation_has_one_way_out_at_any_time() {
        let reserved = standing(Status::Reserved, None);
        for (late, confirmed, expired) in [
            (0, Ok(Status::Confirmed), Err(Obstacle::Already)),
            (1, Err(Obstacle::Expired), Ok(Status::Expired)),
        ] {
            let now = NOW + TimeDelta::seconds(late);
            assert_eq!(reserved.after(&confirm(), false, now), confirmed);
            assert_eq!(reserved.after(&Wish::Expire, false, now), expired);
            let cancelled = reserved.after(&Wish::Cancel, false, now);
            assert_eq!(cancelled, Ok(Status::Cancelled));
        }
    }

    #[test]
    fn what_is_confirmed_is_given_back_only_where_the_campaign_takes_it() {
        let paid = standing(Status::Confirmed, Some("one"));
        let kept = paid.after(&Wish::Cancel, false, NOW);
        assert_eq!(kept, Err(Obstacle::NotCancellable));
        let taken = paid.after(&Wish::Cancel, true, NOW);
        assert_eq!(taken, Ok(Status::Cancelled));
    }

    #[test]
    fn paying_again_is_told_from_paying_twice() {
        let by = |reference| standing(Status::Confirmed, reference).after(&confirm(), false, NOW);
        assert_eq!(by(Some("one")), Err(Obstacle::Already));
        assert_eq!(by(Some("two")), Err(Obstacle::PaidOtherwise));
        assert_eq!(by(None), Err(Obstacle::NotPayable));
    }

    #[test]
    fn nothing_comes_back_from_the_end() {
        for (status, obstacle) in [
            (Status::Cancelled, Obstacle::Cancelled),
            (Status::Expired, Obstacle::Expired),
        ] {
            let ended = standing(status, None);
            assert_eq!(ended.after(&confirm(), true, NOW), Err(obstacle));
            assert_eq!(
                ended.after(&Wish::Expire, true, NOW),
                Err(Obstacle::Already)
            );
            assert!(ended.after(&Wish::Cancel, true, NOW).is_err());
        }
    }
}

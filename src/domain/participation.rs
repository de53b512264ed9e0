//! A participation, and the reasons to reject one.

use super::words::words;
use super::{CampaignId, ParticipationId, Timestamp, UserId};

words! {
    /// The state of a participation.
    pub enum Status {
        /// Holds its units until paid for.
        Reserved = "reserved",
        /// Accepted for good.
        Confirmed = "confirmed",
        /// Cancelled by the user or an admin.
        Cancelled = "cancelled",
        /// Not paid in time.
        Expired = "expired",
    }
}

impl Status {
    /// Whether a participation in this status holds units.
    ///
    /// ```
    /// use firstcome::domain::Status;
    ///
    /// assert!(Status::Reserved.holds_units());
    /// assert!(!Status::Expired.holds_units());
    /// assert_eq!(Status::parse("expired"), Some(Status::Expired));
    /// ```
    #[must_use]
    pub const fn holds_units(self) -> bool {
        matches!(self, Self::Reserved | Self::Confirmed)
    }
}

/// A participation as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the other fields are what their names say")]
pub struct Participation {
    pub id: ParticipationId,
    pub campaign_id: CampaignId,
    pub user_id: UserId,
    pub quantity: u32,
    /// Rank, from 1, assigned by the gate.
    pub rank: u64,
    pub status: Status,
    /// Units left right after it was admitted; none: unlimited.
    pub remaining: Option<u64>,
    /// Its price; none: free.
    pub amount: Option<u64>,
    pub payment_reference: Option<String>,
    /// When a reservation expires.
    pub expires_at: Option<Timestamp>,
    /// When it was committed, by the service's clock.
    pub created_at: Timestamp,
}

impl Participation {
    /// The same, with a hold of the same length that begins at this time.
    #[must_use]
    pub fn held_from(self, from: Timestamp) -> Self {
        let made = self.created_at;
        Self {
            expires_at: self.expires_at.map(|until| from + (until - made)),
            ..self
        }
    }

    /// A confirmed participation, for tests.
    #[cfg(test)]
    #[must_use]
    pub fn example() -> Self {
        Self {
            id: ParticipationId(uuid::Uuid::from_u128(1)),
            campaign_id: CampaignId(2),
            user_id: UserId(3),
            quantity: 1,
            rank: 4,
            status: Status::Confirmed,
            remaining: Some(5),
            amount: None,
            payment_reference: None,
            expires_at: None,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }
}

/// The committed units of one user in one campaign, for a rebuild of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserUnits {
    /// The user.
    pub user: UserId,
    /// Their units.
    pub units: u32,
    /// Their first participation that holds units.
    pub first: ParticipationId,
}

/// The state of the store when a rebuild read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The highest committed rank.
    pub last_rank: u64,
    /// Number of returns.
    pub returns: u64,
}

/// A committed participation whose units returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Return {
    /// Its number among the returns of the campaign, so that each counts once.
    pub number: u64,
    /// The participation.
    pub participation: ParticipationId,
    /// Its user.
    pub user: UserId,
    /// Its units.
    pub quantity: u32,
}

/// The reason why the rules reject a participation: an outcome, not a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user holds the maximum in a campaign with a limit of one.
    AlreadyParticipated {
        /// The existing participation.
        first: ParticipationId,
    },
    /// Fewer units are left than requested.
    SoldOut,
    /// The window has not begun.
    NotOpenYet {
        /// When it begins, if known.
        opens_at: Option<Timestamp>,
    },
    /// The window is over, or the campaign was closed.
    Ended,
    /// Stopped for a while by an admin.
    Paused,
    /// More units than the limit per user or per request.
    LimitExceeded,
    /// The user is not on the campaign's allow-list.
    NotAllowed,
}

impl Refusal {
    /// The stable code for clients and tallies.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AlreadyParticipated { .. } => "ALREADY_PARTICIPATED",
            Self::SoldOut => "SOLD_OUT",
            Self::NotOpenYet { .. } => "NOT_OPEN_YET",
            Self::Ended => "ENDED",
            Self::Paused => "PAUSED",
            Self::LimitExceeded => "LIMIT_EXCEEDED",
            Self::NotAllowed => "NOT_ALLOWED",
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_participation_holds_units_until_it_is_cancelled_or_expires() {
        let without = Status::ALL
            .into_iter()
            .filter(|status| !status.holds_units());
        assert!(without.eq([Status::Cancelled, Status::Expired]));
    }

    #[test]
    fn a_hold_that_begins_later_is_as_long_as_before() {
        let at = |seconds| Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let reserved = Participation {
            created_at: at(10),
            expires_at: Some(at(130)),
            ..Participation::example()
        };
        let later = reserved.held_from(at(15));
        assert_eq!(later.expires_at, Some(at(135)));
        assert_eq!(later.created_at, at(10));
        let free = Participation::example();
        assert_eq!(free.held_from(at(15)).expires_at, None);
    }

    #[test]
    fn every_rejection_has_the_code_that_clients_know() {
        let first = ParticipationId(Uuid::from_u128(1));
        for (refusal, code) in [
            (
                Refusal::AlreadyParticipated { first },
                "ALREADY_PARTICIPATED",
            ),
            (Refusal::SoldOut, "SOLD_OUT"),
            (Refusal::NotOpenYet { opens_at: None }, "NOT_OPEN_YET"),
            (Refusal::Ended, "ENDED"),
            (Refusal::Paused, "PAUSED"),
            (Refusal::LimitExceeded, "LIMIT_EXCEEDED"),
            (Refusal::NotAllowed, "NOT_ALLOWED"),
        ] {
            assert_eq!(refusal.code(), code);
        }
    }
}

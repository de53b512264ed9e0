//! Rewards: what consumers read and grant, and the state of granted rewards.

use super::campaign::CouponTerms;
use super::words::words;
use super::{CampaignId, CouponId, EventId, ParticipationId, Reward, Status, Timestamp, UserId};

/// Maximum number of coupons of one participation: one transaction issues them.
pub const COUPONS_MAX: u32 = 10_000;

words! {
    /// The consumers.
    #[derive(PartialOrd, Ord)]
    pub enum Consumer {
        /// Grants points.
        Points = "points",
        /// Issues coupons.
        Coupons = "coupons",
    }
}

impl Consumer {
    /// Whether this consumer grants `reward`.
    #[must_use]
    pub const fn grants(self, reward: &Reward) -> bool {
        matches!(
            (self, reward),
            (Self::Points, Reward::Points(_)) | (Self::Coupons, Reward::Coupon(_))
        )
    }
}

/// A change of a participation, as its record describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the other fields are what their names say")]
pub struct Change {
    /// `ce_id`
    pub event: EventId,
    pub participation: ParticipationId,
    pub campaign: CampaignId,
    pub user: UserId,
    pub quantity: u32,
    pub status: Status,
    /// Position among the changes of the participation, from 1.
    pub sequence: u32,
}

words! {
    /// The state of a coupon.
    pub enum CouponStatus {
        /// Can be used, within its terms.
        Issued = "issued",
        /// Not usable while its participation is being cancelled: then it is revoked, or issued again.
        Suspended = "suspended",
        /// Used; final.
        Used = "used",
        /// Revoked with its participation before it was used.
        Revoked = "revoked",
    }
}

words! {
    /// Who may redeem coupons for an order.
    #[derive(Default)]
    pub enum Redeemers {
        /// Their holders, who report the amount of the order themselves, and shops.
        #[default]
        Holders = "holders",
        /// Only shops.
        Shops = "shops",
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the other fields are what their names say")]
pub struct Coupon {
    pub id: CouponId,
    /// Its code, which the holder shows: 26 letters and digits for 128 random bits.
    pub code: String,
    pub user: UserId,
    pub campaign: CampaignId,
    pub participation: ParticipationId,
    /// Terms as they were when it was issued.
    pub terms: CouponTerms,
    pub status: CouponStatus,
    pub used_at: Option<Timestamp>,
    /// Amount of the order for which it was used.
    pub order_amount: Option<u64>,
    /// The shop's name of that order, if given.
    pub order_id: Option<String>,
    /// The name of the shop that used it; none: its holder used it, or it is unused.
    pub used_by: Option<String>,
    pub created_at: Timestamp,
}

words! {
    /// The kind of a ledger entry.
    pub enum EntryKind {
        /// Adds points.
        Granted = "granted",
        /// Reverses a granted reward.
        Reversed = "reversed",
    }
}

/// An entry of a user's ledger of points.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the other fields are what their names say")]
pub struct Entry {
    /// The event that caused it; newer ones have greater ids.
    pub event: EventId,
    pub participation: ParticipationId,
    pub campaign: CampaignId,
    pub kind: EntryKind,
    /// Points; negative for a reversal.
    pub amount: i64,
    pub created_at: Timestamp,
}

/// The granted reward of a participation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// Points.
    pub points: Option<u64>,
    /// Whether the points were revoked.
    pub points_reversed: bool,
    /// Coupons, in the order of their units.
    pub coupons: Vec<(CouponId, CouponStatus)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reward_is_granted_by_exactly_one_consumer() {
        let coupon = Reward::Coupon(CouponTerms {
            discount_amount: 500,
            minimum_order_amount: 0,
            valid_from: None,
            valid_until: None,
        });
        for (reward, consumer) in [
            (Reward::Points(5), Consumer::Points),
            (coupon, Consumer::Coupons),
        ] {
            let granting = Consumer::ALL.into_iter().filter(|one| one.grants(&reward));
            assert!(granting.eq([consumer]), "{reward:?}");
        }
    }
}

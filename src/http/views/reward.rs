//! Rewards as clients see them.

use uuid::Uuid;

use super::{list, view};
use crate::domain::{Coupon, CouponId, CouponStatus, Entry, EntryKind, Granted, Timestamp};
use crate::http::words::{Word, vocabulary};

vocabulary!(CouponStatus, "CouponStatus", "The status of a coupon.");
vocabulary!(EntryKind, "LedgerKind", "The kind of a ledger entry.");

view! {
    /// A coupon that a participation earned.
    #[derive(Clone, PartialEq, Eq)]
    pub struct GrantedCouponView as "GrantedCoupon" from coupon: &(CouponId, CouponStatus) {
        /// Its id.
        id: Uuid = coupon.0.0,
        /// Its status.
        status: Word<CouponStatus> = coupon.1.into(),
    }
}

view! {
    /// The reward that a participation was granted: points or coupons.
    #[derive(Clone, PartialEq, Eq)]
    pub struct GrantedView as "Granted", skip_serializing_if_is_none from granted: Granted {
        /// Points for all units.
        #[serde(skip_serializing_if = "Option::is_none")]
        points: Option<u64>,
        /// One coupon for each unit; at most the first hundred.
        #[serde(skip_serializing_if = "Option::is_none")]
        coupons: Option<Vec<GrantedCouponView>> = (!granted.coupons.is_empty())
            .then(|| granted.coupons.iter().map(GrantedCouponView::from).collect()),
        /// Whether the reward was reversed.
        reversed: bool = granted.points_reversed
            || granted.coupons.iter().any(|(_, status)| *status == CouponStatus::Revoked),
    }
}

view! {
    /// An entry of a user's ledger.
    #[derive(Clone, PartialEq, Eq)]
    pub struct LedgerEntryView as "LedgerEntry" from entry: &Entry {
        /// Its kind.
        kind: Word<EntryKind> = entry.kind.into(),
        /// Points; negative if they are reversed.
        amount: i64,
        /// The participation.
        participation_id: Uuid = entry.participation.0,
        /// Its campaign.
        campaign_id: i64 = entry.campaign.0,
        /// When it was created.
        created_at: Timestamp,
    }
}

list! {
    /// A page of a user's ledger.
    LedgerView as "Ledger": LedgerEntryView, "Newest first."
}

view! {
    /// A coupon of a user.
    #[derive(Clone, PartialEq, Eq)]
    pub struct IssuedCouponView as "IssuedCoupon" from coupon: &Coupon {
        /// Its id, for the user who redeems it.
        id: Uuid = coupon.id.0,
        /// Its code: unique, and impossible to guess.
        code: String = coupon.code.clone(),
        /// Its status.
        status: Word<CouponStatus> = coupon.status.into(),
        /// Discount on an order, in the smallest unit of the currency.
        discount_amount: u64 = coupon.terms.discount_amount,
        /// Minimum amount of an order.
        minimum_order_amount: u64 = coupon.terms.minimum_order_amount,
        /// Start of its validity; null: no start.
        #[oai(nullable)]
        valid_from: Option<Timestamp> = coupon.terms.valid_from,
        /// End of its validity, inclusive; null: no end.
        #[oai(nullable)]
        valid_until: Option<Timestamp> = coupon.terms.valid_until,
        /// The participation that earned it.
        participation_id: Uuid = coupon.participation.0,
        /// Its campaign.
        campaign_id: i64 = coupon.campaign.0,
        /// When it was redeemed; null: not redeemed.
        #[oai(nullable)]
        used_at: Option<Timestamp>,
        /// When it was issued.
        created_at: Timestamp,
    }
}

view! {
    /// A user's rewards.
    pub struct RewardsView as "Rewards" {
        /// Id of the user.
        user_id: i64,
        /// Current number of points.
        points: i64,
        /// A page of the ledger of the points.
        ledger: LedgerView,
        /// A page of coupons, newest first.
        coupons: Vec<IssuedCouponView>,
        /// `couponCursor` of the next page of coupons; null: this is the last page.
        #[oai(nullable)]
        next_coupon_cursor: Option<String>,
    }
}

view! {
    /// A redeemed coupon.
    pub struct CouponUseView as "CouponUse"
    of(coupon: &Coupon, order_amount: u64, now: Timestamp) {
        /// The coupon.
        coupon_id: Uuid = coupon.id.0,
        /// The shop's id of the order; null: none was given.
        #[oai(nullable)]
        order_id: Option<String> = coupon.order_id.clone(),
        /// Amount of the order.
        order_amount: u64 = order_amount,
        /// Discount on the order: at most its amount.
        discount_amount: u64 = discount(coupon, order_amount),
        /// Amount left to pay.
        amount_to_pay: u64 = order_amount - discount(coupon, order_amount),
        /// When it was redeemed.
        // `now` replaces an unknown time.
        used_at: Timestamp = coupon.used_at.unwrap_or(now),
    }
}

/// The discount of a coupon on an order: at most the amount of the order.
fn discount(coupon: &Coupon, order_amount: u64) -> u64 {
    coupon.terms.discount_amount.min(order_amount)
}

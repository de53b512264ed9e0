//! Rewards as clients see them.

use poem_openapi::Object;
use serde::Serialize;
use uuid::Uuid;

use super::list;
use crate::domain::{Coupon, CouponStatus, Entry, EntryKind, Granted, Instant};
use crate::http::words::{Word, vocabulary};

vocabulary!(CouponStatus, "CouponStatus", "The status of a coupon.");
vocabulary!(EntryKind, "LedgerKind", "The kind of a ledger entry.");

/// A coupon that a participation earned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
#[oai(rename = "GrantedCoupon")]
pub struct GrantedCouponView {
    /// Its id.
    pub id: Uuid,
    /// Its status.
    pub status: Word<CouponStatus>,
}

/// The reward that a participation was granted: points or coupons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
#[oai(rename = "Granted", skip_serializing_if_is_none)]
pub struct GrantedView {
    /// Points for all units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<u64>,
    /// One coupon for each unit; at most the first hundred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coupons: Option<Vec<GrantedCouponView>>,
    /// Whether the reward was reversed.
    pub reversed: bool,
}

impl From<Granted> for GrantedView {
    fn from(granted: Granted) -> Self {
        let coupons: Vec<GrantedCouponView> = granted
            .coupons
            .iter()
            .map(|(id, status)| GrantedCouponView {
                id: id.0,
                status: (*status).into(),
            })
            .collect();
        let revoked = |(_, status): &(_, CouponStatus)| *status == CouponStatus::Revoked;
        Self {
            points: granted.points,
            reversed: granted.points_reversed || granted.coupons.iter().any(revoked),
            coupons: (!coupons.is_empty()).then_some(coupons),
        }
    }
}

/// An entry of a user's ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "LedgerEntry", rename_all = "camelCase")]
pub struct LedgerEntryView {
    /// Its kind.
    pub kind: Word<EntryKind>,
    /// Points; negative if they are reversed.
    pub amount: i64,
    /// The participation.
    pub participation_id: Uuid,
    /// Its campaign.
    pub campaign_id: i64,
    /// When it was created.
    pub created_at: Instant,
}

impl From<&Entry> for LedgerEntryView {
    fn from(entry: &Entry) -> Self {
        Self {
            kind: entry.kind.into(),
            amount: entry.amount,
            participation_id: entry.participation.0,
            campaign_id: entry.campaign.0,
            created_at: entry.created_at,
        }
    }
}

list! {
    /// A page of a user's ledger.
    LedgerView as "Ledger": LedgerEntryView, "Newest first."
}

/// A coupon of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "IssuedCoupon", rename_all = "camelCase")]
pub struct IssuedCouponView {
    /// Its id, for the user who redeems it.
    pub id: Uuid,
    /// Its code: unique, and impossible to guess.
    pub code: String,
    /// Its status.
    pub status: Word<CouponStatus>,
    /// Discount on an order, in the smallest unit of the currency.
    pub discount_amount: u64,
    /// Minimum amount of an order.
    pub minimum_order_amount: u64,
    /// Start of its validity; null: no start.
    #[oai(nullable)]
    pub valid_from: Option<Instant>,
    /// End of its validity, inclusive; null: no end.
    #[oai(nullable)]
    pub valid_until: Option<Instant>,
    /// The participation that earned it.
    pub participation_id: Uuid,
    /// Its campaign.
    pub campaign_id: i64,
    /// When it was redeemed; null: not redeemed.
    #[oai(nullable)]
    pub used_at: Option<Instant>,
    /// When it was issued.
    pub created_at: Instant,
}

impl From<&Coupon> for IssuedCouponView {
    fn from(coupon: &Coupon) -> Self {
        Self {
            id: coupon.id.0,
            code: coupon.code.clone(),
            status: coupon.status.into(),
            discount_amount: coupon.terms.discount_amount,
            minimum_order_amount: coupon.terms.minimum_order_amount,
            valid_from: coupon.terms.valid_from,
            valid_until: coupon.terms.valid_until,
            participation_id: coupon.participation.0,
            campaign_id: coupon.campaign.0,
            used_at: coupon.used_at,
            created_at: coupon.created_at,
        }
    }
}

/// A user's rewards.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Rewards", rename_all = "camelCase")]
pub struct RewardsView {
    /// Id of the user.
    pub user_id: i64,
    /// Current number of points.
    pub points: i64,
    /// A page of the ledger of the points.
    pub ledger: LedgerView,
    /// A page of coupons, newest first.
    pub coupons: Vec<IssuedCouponView>,
    /// `couponCursor` of the next page of coupons; null: this is the last page.
    #[oai(nullable)]
    pub next_coupon_cursor: Option<String>,
}

/// A redeemed coupon.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "CouponUse", rename_all = "camelCase")]
pub struct CouponUseView {
    /// The coupon.
    pub coupon_id: Uuid,
    /// The shop's id of the order; null: none was given.
    #[oai(nullable)]
    pub order_id: Option<String>,
    /// Amount of the order.
    pub order_amount: u64,
    /// Discount on the order: at most its amount.
    pub discount_amount: u64,
    /// Amount left to pay.
    pub amount_to_pay: u64,
    /// When it was redeemed.
    pub used_at: Instant,
}

impl CouponUseView {
    /// A redeemed coupon; `now` stands in for an unknown time.
    pub fn of(coupon: &Coupon, order_amount: u64, now: Instant) -> Self {
        let discount = coupon.terms.discount_amount.min(order_amount);
        Self {
            coupon_id: coupon.id.0,
            order_id: coupon.order_id.clone(),
            order_amount,
            discount_amount: discount,
            amount_to_pay: order_amount - discount,
            used_at: coupon.used_at.unwrap_or(now),
        }
    }
}

//! Rewards as clients see them.

use poem_openapi::{Enum, Object};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::{Coupon, CouponStatus, Entry, EntryKind, Granted, Instant};

/// Where a coupon stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Enum)]
#[serde(rename_all = "snake_case")]
#[oai(rename = "CouponStatus", rename_all = "snake_case")]
pub enum CouponStatusWord {
    /// Can be used, within its terms.
    Issued,
    /// Cannot be used while its participation is being cancelled: then it is revoked, or issued again.
    Suspended,
    /// Was used.
    Used,
    /// Taken back with its participation.
    Revoked,
}

impl From<CouponStatus> for CouponStatusWord {
    fn from(status: CouponStatus) -> Self {
        match status {
            CouponStatus::Issued => Self::Issued,
            CouponStatus::Suspended => Self::Suspended,
            CouponStatus::Used => Self::Used,
            CouponStatus::Revoked => Self::Revoked,
        }
    }
}

/// What an entry of the ledger does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Enum)]
#[serde(rename_all = "snake_case")]
#[oai(rename = "LedgerKind", rename_all = "snake_case")]
pub enum EntryKindWord {
    /// Adds points.
    Granted,
    /// Takes back what was granted.
    Reversed,
}

/// A coupon that a participation was granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
#[oai(rename = "GrantedCoupon")]
pub struct GrantedCouponView {
    /// Its id.
    pub id: Uuid,
    /// Where it stands.
    pub status: CouponStatusWord,
}

/// What a participation was granted: points, or coupons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
#[oai(rename = "Granted", skip_serializing_if_is_none)]
pub struct GrantedView {
    /// Points for all units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<u64>,
    /// One coupon for each unit; the first hundred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coupons: Option<Vec<GrantedCouponView>>,
    /// Whether it was taken back.
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
    /// What it does.
    pub kind: EntryKindWord,
    /// Points; negative where they are taken back.
    pub amount: i64,
    /// What earned or lost them.
    pub participation_id: Uuid,
    /// Its campaign.
    pub campaign_id: i64,
    /// When it was entered.
    pub created_at: Instant,
}

impl From<&Entry> for LedgerEntryView {
    fn from(entry: &Entry) -> Self {
        Self {
            kind: match entry.kind {
                EntryKind::Granted => EntryKindWord::Granted,
                EntryKind::Reversed => EntryKindWord::Reversed,
            },
            amount: entry.amount,
            participation_id: entry.participation.0,
            campaign_id: entry.campaign.0,
            created_at: entry.created_at,
        }
    }
}

/// A page of a user's ledger.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Ledger", rename_all = "camelCase")]
pub struct LedgerView {
    /// Newest first.
    pub items: Vec<LedgerEntryView>,
    /// Asks for the next page; null: this was the last.
    #[oai(nullable)]
    pub next_cursor: Option<String>,
}

/// A coupon of a user's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "IssuedCoupon", rename_all = "camelCase")]
pub struct IssuedCouponView {
    /// Its id, by which it is used.
    pub id: Uuid,
    /// Its code: unique, and not to be guessed.
    pub code: String,
    /// Where it stands.
    pub status: CouponStatusWord,
    /// What it takes off an order, in the smallest unit of the currency.
    pub discount_amount: u64,
    /// The least an order must come to.
    pub minimum_order_amount: u64,
    /// The first moment it can be used; null: at once.
    #[oai(nullable)]
    pub valid_from: Option<Instant>,
    /// The last moment it can be used; null: for ever.
    #[oai(nullable)]
    pub valid_until: Option<Instant>,
    /// What earned it.
    pub participation_id: Uuid,
    /// Its campaign.
    pub campaign_id: i64,
    /// When it was used; null: it was not.
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
    /// Whose they are.
    pub user_id: i64,
    /// Points in all.
    pub points: i64,
    /// How they came about, a page of it.
    pub ledger: LedgerView,
    /// Coupons, newest first, a page of them.
    pub coupons: Vec<IssuedCouponView>,
    /// Asks for the next page of coupons, as `couponCursor`; null: this was the last.
    #[oai(nullable)]
    pub next_coupon_cursor: Option<String>,
}

/// A coupon that is used.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "CouponUse", rename_all = "camelCase")]
pub struct CouponUseView {
    /// The coupon.
    pub coupon_id: Uuid,
    /// The shop's name of the order; null: none was given.
    #[oai(nullable)]
    pub order_id: Option<String>,
    /// What the order came to.
    pub order_amount: u64,
    /// What the coupon took off it: never more than it came to.
    pub discount_amount: u64,
    /// What is left to pay.
    pub amount_to_pay: u64,
    /// When it was used.
    pub used_at: Instant,
}

impl CouponUseView {
    /// Of a coupon that is used; `now` where it is not known since when.
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

//! The terms of a campaign: which values its fields may have, alone and together. Pure.

use super::{LifecycleError, invalid};
use crate::domain::{COUPONS_MAX, Campaign, Instant, Kind, Reward};
use crate::parts::store::{CampaignChange, NewCampaign};

/// The fields that have to make sense together.
pub(super) struct Terms<'a> {
    name: &'a str,
    kind: Kind,
    total_stock: Option<u64>,
    committed_units: u64,
    per_user_limit: u32,
    max_quantity: u32,
    price: Option<u64>,
    hold_seconds: u32,
    opens_at: Option<Instant>,
    closes_at: Option<Instant>,
    reward: Option<&'a Reward>,
}

impl<'a> Terms<'a> {
    pub(super) fn of_new(new: &'a NewCampaign) -> Self {
        Self {
            name: &new.name,
            kind: new.kind,
            total_stock: new.total_stock,
            committed_units: 0,
            per_user_limit: new.per_user_limit,
            max_quantity: new.max_quantity,
            price: new.price,
            hold_seconds: new.hold_seconds,
            opens_at: new.opens_at,
            closes_at: new.closes_at,
            reward: new.reward.as_ref(),
        }
    }

    pub(super) fn of_changed(campaign: &'a Campaign, change: &'a CampaignChange) -> Self {
        Self {
            name: change.name.as_deref().unwrap_or(&campaign.name),
            kind: campaign.kind,
            total_stock: change.total_stock.unwrap_or(campaign.total_stock),
            committed_units: campaign.committed_units,
            per_user_limit: change.per_user_limit.unwrap_or(campaign.per_user_limit),
            max_quantity: change.max_quantity.unwrap_or(campaign.max_quantity),
            price: change.price.unwrap_or(campaign.price),
            hold_seconds: change.hold_seconds.unwrap_or(campaign.hold_seconds),
            opens_at: change.opens_at.unwrap_or(campaign.opens_at),
            closes_at: change.closes_at.unwrap_or(campaign.closes_at),
            reward: change
                .reward
                .as_ref()
                .map_or(campaign.reward.as_ref(), Option::as_ref),
        }
    }
}

/// Largest amount and stock: what every client and both databases hold exactly.
const AMOUNT_MAX: u64 = (1 << 53) - 1;
const UNITS_MAX: u32 = 1_000_000;
const HOLD_SECONDS_MAX: u32 = 7 * 24 * 3_600;

/// Refuses the first field that makes no sense.
pub(super) fn check(terms: &Terms<'_>) -> Result<(), LifecycleError> {
    if terms.name.trim().is_empty() || terms.name.chars().count() > 200 {
        return Err(invalid("name", "must have 1 to 200 characters"));
    }
    if terms.total_stock.is_some_and(|total| total > AMOUNT_MAX) {
        return Err(invalid("totalStock", "is too large"));
    }
    if terms
        .total_stock
        .is_some_and(|total| total < terms.committed_units)
    {
        return Err(invalid("totalStock", "is less than what is already taken"));
    }
    if !(1..=UNITS_MAX).contains(&terms.per_user_limit) {
        return Err(invalid("perUserLimit", "must be between 1 and 1000000"));
    }
    if !(1..=terms.per_user_limit).contains(&terms.max_quantity) {
        return Err(invalid("maxQuantity", "must be between 1 and perUserLimit"));
    }
    if terms.price.is_some_and(|price| price > AMOUNT_MAX) {
        return Err(invalid("price", "is too large"));
    }
    let dearest = terms
        .price
        .unwrap_or(0)
        .checked_mul(u64::from(terms.max_quantity));
    if dearest.is_none_or(|amount| amount > AMOUNT_MAX) {
        return Err(invalid("price", "times maxQuantity is too large"));
    }
    if !(1..=HOLD_SECONDS_MAX).contains(&terms.hold_seconds) {
        return Err(invalid("holdSeconds", "must be between 1 and 604800"));
    }
    if let (Some(opens_at), Some(closes_at)) = (terms.opens_at, terms.closes_at)
        && closes_at <= opens_at
    {
        return Err(invalid("closesAt", "must be after opensAt"));
    }
    check_kind(terms)
}

/// A campaign has what its kind promises: a coupon, points, or a window.
fn check_kind(terms: &Terms<'_>) -> Result<(), LifecycleError> {
    match (terms.kind, terms.reward) {
        (Kind::Coupon, None | Some(Reward::Points(_))) => {
            return Err(invalid("reward", "must be a coupon in a coupon campaign"));
        }
        (Kind::Points, None | Some(Reward::Coupon(_))) => {
            return Err(invalid("reward", "must be points in a points campaign"));
        }
        (Kind::TimeDeal, _) if terms.closes_at.is_none() => {
            return Err(invalid(
                "closesAt",
                "is missing: a time deal has a window, and it ends",
            ));
        }
        _ => {}
    }
    if matches!(terms.reward, Some(Reward::Coupon(_))) && terms.max_quantity > COUPONS_MAX {
        return Err(invalid(
            "maxQuantity",
            "must be at most 10000 where a unit earns a coupon",
        ));
    }
    Ok(())
}

//! The rules for the values of a campaign's fields, alone and together. Pure.

use super::{LifecycleError, invalid};
use crate::domain::{COUPONS_MAX, Campaign, Kind, Reward};
use crate::parts::store::{CampaignChange, NewCampaign};

/// The terms of a campaign after a change.
pub(super) fn of_changed(campaign: &Campaign, change: &CampaignChange) -> NewCampaign {
    macro_rules! merged {
        ($field:ident) => {
            change
                .$field
                .clone()
                .unwrap_or_else(|| campaign.$field.clone())
        };
    }
    NewCampaign {
        name: merged!(name),
        description: merged!(description),
        kind: campaign.kind,
        state: merged!(state),
        total_stock: merged!(total_stock),
        per_user_limit: merged!(per_user_limit),
        max_quantity: merged!(max_quantity),
        price: merged!(price),
        hold_seconds: merged!(hold_seconds),
        opens_at: merged!(opens_at),
        closes_at: merged!(closes_at),
        reward: merged!(reward),
        cancellable: merged!(cancellable),
    }
}

/// Largest amount and stock: every client and both databases represent it exactly.
const AMOUNT_MAX: u64 = (1 << 53) - 1;
const UNITS_MAX: u32 = 1_000_000;
const HOLD_SECONDS_MAX: u32 = 7 * 24 * 3_600;

/// Rejects the first invalid field. `committed_units`: those of an existing campaign.
pub(super) fn check(terms: &NewCampaign, committed_units: u64) -> Result<(), LifecycleError> {
    if terms.name.trim().is_empty() || terms.name.chars().count() > 200 {
        return Err(invalid("name", "must have 1 to 200 characters"));
    }
    if terms.total_stock.is_some_and(|total| total > AMOUNT_MAX) {
        return Err(invalid("totalStock", "is too large"));
    }
    if terms
        .total_stock
        .is_some_and(|total| total < committed_units)
    {
        return Err(invalid("totalStock", "is less than the committed units"));
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

/// A campaign must have the reward or the window of its kind.
fn check_kind(terms: &NewCampaign) -> Result<(), LifecycleError> {
    match (terms.kind, &terms.reward) {
        (Kind::Coupon, None | Some(Reward::Points(_))) => {
            return Err(invalid("reward", "must be a coupon in a coupon campaign"));
        }
        (Kind::Points, None | Some(Reward::Coupon(_))) => {
            return Err(invalid("reward", "must be points in a points campaign"));
        }
        (Kind::TimeDeal, _) if terms.closes_at.is_none() => {
            return Err(invalid("closesAt", "is missing: a time deal must end"));
        }
        _ => {}
    }
    if matches!(terms.reward, Some(Reward::Coupon(_))) && terms.max_quantity > COUPONS_MAX {
        return Err(invalid(
            "maxQuantity",
            "must be at most 10000 if the reward is a coupon",
        ));
    }
    Ok(())
}

//! A change of a participation, with its possible reward.

use crate::domain::{Change, Reward};

/// A change, and its possible reward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The change.
    pub change: Change,
    /// The reward of its campaign; none: the campaign has none, or this consumer does not grant it.
    pub reward: Option<Reward>,
}

impl Due {
    /// The reward for all units: number of points or coupons.
    pub(super) fn amount(&self) -> Option<i64> {
        let quantity = i64::from(self.change.quantity);
        match self.reward.as_ref()? {
            Reward::Points(points) => Some(i64::from(*points) * quantity),
            Reward::Coupon(_) => Some(quantity),
        }
    }
}

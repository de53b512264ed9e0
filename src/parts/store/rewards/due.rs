//! A change of a participation, with the reward that it may earn.

use crate::domain::{Change, Reward};

/// A change, and what it earns if it is granted something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The change.
    pub change: Change,
    /// The reward of its campaign; none: nothing, or nothing that this consumer grants.
    pub reward: Option<Reward>,
}

impl Due {
    /// How much that is for all units: points, or coupons.
    pub(super) fn amount(&self) -> Option<i64> {
        let quantity = i64::from(self.change.quantity);
        match self.reward.as_ref()? {
            Reward::Points(points) => Some(i64::from(*points) * quantity),
            Reward::Coupon(_) => Some(quantity),
        }
    }
}

//! What a `[rewards]` section may say.

use std::time::Duration;

use super::Rewards;

impl Rewards {
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            self.connections_max > 0,
            "rewards.connections_max: must be at least 1",
        );
        require(
            (Duration::from_secs(1)..=Duration::from_secs(300)).contains(&self.suspend_max),
            "rewards.suspend_max: must be between 1s and 5m",
        );
    }
}

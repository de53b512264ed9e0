//! What a `[gate]` section may say.

use std::time::Duration;

use super::Gate;

impl Gate {
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            (Duration::from_secs(3)..=Duration::from_secs(600)).contains(&self.lease),
            "gate.lease: must be between 3s and 10m",
        );
        require(
            (Duration::from_millis(100)..=Duration::from_secs(60)).contains(&self.sweep_interval),
            "gate.sweep_interval: must be between 100ms and 1m",
        );
        require(
            self.away_capacity > 0,
            "gate.away_capacity: must be at least 1",
        );
        require(
            (1..=1_000).contains(&self.batch_max),
            "gate.batch_max: must be between 1 and 1000",
        );
        require(
            self.pace <= Duration::from_millis(100),
            "gate.pace: must be at most 100ms",
        );
        require(
            (Duration::from_millis(50)..=Duration::from_secs(60)).contains(&self.rebuild_interval),
            "gate.rebuild_interval: must be between 50ms and 1m",
        );
        let retention = Duration::from_secs(60)..=Duration::from_secs(7 * 24 * 3_600);
        require(
            retention.contains(&self.over_retention) && self.over_retention > self.lease,
            "gate.over_retention: must be between 1m and 7d, and longer than gate.lease",
        );
    }
}

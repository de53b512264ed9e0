//! What the section `[retention]` must keep to.

use std::time::Duration;

use super::Retention;

impl Retention {
    /// Requires what must hold.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        let hour = Duration::from_secs(60 * 60);
        require(
            (hour..=hour * 24 * 36_500).contains(&self.published_events),
            "retention.published_events: must be between 1h and 36500days",
        );
        require(
            self.interval >= Duration::from_secs(1),
            "retention.interval: must be at least 1s",
        );
        require(
            self.sweep_interval >= self.interval,
            "retention.sweep_interval: must be at least retention.interval",
        );
        require(
            (1..=1_000).contains(&self.rows_max),
            "retention.rows_max: must be between 1 and 1000",
        );
        require(
            (1..=100).contains(&self.busy_percent_max),
            "retention.busy_percent_max: must be between 1 and 100",
        );
    }
}

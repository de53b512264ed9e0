//! The section `[retention]` as the relay takes it, and what it must keep to.

use std::time::Duration;

use super::Retention;
use crate::relay;

impl Retention {
    /// What the relay is told.
    #[must_use]
    pub fn settings(&self) -> relay::Retention {
        relay::Retention {
            published_events: self.published_events,
            interval: self.interval,
            sweep_interval: self.sweep_interval,
            rows_max: self.rows_max,
            busy_percent_max: self.busy_percent_max,
            ..relay::Retention::default()
        }
    }

    /// Requires what must hold: the relay's own rules, and a longer interval than tests have.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            self.interval >= Duration::from_secs(1),
            "retention.interval: must be at least 1s",
        );
        for mistake in self.settings().mistakes() {
            require(false, &format!("retention.{mistake}"));
        }
    }
}

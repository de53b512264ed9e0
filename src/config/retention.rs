//! The section `[retention]` as the relay takes it, and what it must keep to.

use std::time::Duration;

use super::Retention;
use crate::events::relay;
use crate::operate::audit_retention;

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

    /// What the audit log's keeper is told.
    #[must_use]
    pub const fn of_audit(&self) -> audit_retention::Retention {
        audit_retention::Retention {
            age: self.audit_entries,
            interval: self.interval,
            rows_max: self.rows_max,
        }
    }

    /// Requires what must hold: the relay's own rules, and a longer interval than tests have.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            self.interval >= Duration::from_secs(1),
            "retention.interval: must be at least 1s",
        );
        let day = Duration::from_secs(24 * 60 * 60);
        require(
            (day..=day * 36_500).contains(&self.audit_entries),
            "retention.audit_entries: must be between 1day and 36500days",
        );
        for mistake in self.settings().mistakes() {
            require(false, &format!("retention.{mistake}"));
        }
    }
}

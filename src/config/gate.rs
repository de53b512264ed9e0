//! `[gate]`: admission.

use std::time::Duration;

use crate::parts::gate::OVER_RETENTION;
use crate::runtime::settings::{MILLISECOND, MINUTE, SECOND, settings};
use crate::sale::participate::WhenAway;
use crate::sale::reconcile::REBUILD_INTERVAL;

settings! {
    /// `[gate]`: admission.
    Gate in "gate" {
        /// How long an admission waits for its commit. After a crash, its units return when the lease ends, or
        /// when another replica notices the crash
        lease: Duration = SECOND * 15, in SECOND * 3..=MINUTE * 10;
        /// How often expired leases are swept, and gate and store are compared
        sweep_interval: Duration = SECOND * 4, in MILLISECOND * 100..=MINUTE;
        /// While Redis is unavailable: `database` admits and commits by the database alone, more slowly; `refuse`
        /// answers 503 `GATE_UNAVAILABLE`
        when_away: WhenAway = WhenAway::Database;
        /// Participants in one call to the gate
        batch_max: usize = 256, in 1..=1_000;
        /// After a call to the gate with four or more participants, the next call waits this long to gather more. A
        /// single participant does not wait
        pace: Duration = MILLISECOND * 2, in ..=MILLISECOND * 100;
        /// Shortest time between two rebuilds of one campaign's gate. After a rebuild that took longer, the pause is as
        /// long as that rebuild, at most 5 s. A rebuild by an admin does not wait
        rebuild_interval: Duration = REBUILD_INTERVAL, in MILLISECOND * 50..=MINUTE;
        /// How long the gate stores a campaign that is closed or archived; must be longer than `gate.lease`
        over_retention: Duration = OVER_RETENTION, in MINUTE..=MINUTE * 60 * 24 * 7;
    }
}

impl Gate {
    /// Checks the rules that involve several settings.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            self.over_retention > self.lease,
            "gate.over_retention: must be longer than gate.lease",
        );
    }
}

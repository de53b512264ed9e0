//! `[relay]`: publishing what was committed.

use std::time::Duration;

use super::KeyPolicy;
use crate::runtime::settings::{DAY, settings};

/// The default lease: short enough for a fast takeover, long enough for few renewals.
const LEASE: Duration = Duration::from_secs(15);
/// The longest lease of any relay. It suffices for the longest `kafka.message_timeout`.
pub(super) const LEASE_MAX: Duration = Duration::from_secs(150);

settings! {
    /// `[relay]`: publishing what was committed.
    RelaySettings in "relay" {
        /// Whether `serve` publishes as well. With `false` a process with the command `relay` must publish; `serve`
        /// notifies it over Redis of each commit
        enabled: bool = true;
        /// How long the lease of a relay for its part of the outbox is valid without renewal, and so how long events wait
        /// after a crash. At least twice `kafka.message_timeout` and a second, at most 150s
        lease: Option<Duration> = None, shown "`15s`, more for a long `kafka.message_timeout`";
        /// Events in flight, from dispatching until they are acknowledged or parked
        in_flight_max: u32 = 8_192, in 64..=1_000_000;
        /// Attempts before an event becomes a dead letter. An unavailable broker or topic uses up none
        attempts_max: u32 = 10, in 1..=1_000;
        /// Wait after the first attempt; it doubles from there, with full jitter. At most `retry_max`
        retry_initial: Duration = Duration::from_millis(500);
        /// Longest wait between attempts
        retry_max: Duration = Duration::from_secs(300), in ..=DAY;
        /// Later events of a key while one of its events waits for a retry: `block` keeps the order, `skip` sends them
        key_policy: KeyPolicy = KeyPolicy::Block;
        /// Whether topic, partition and offset of each published event are stored, for
        /// `GET /api/admin/participations/{id}/events`. It costs the database a row for each event; the row is deleted
        /// with its event. Set it the same in all processes
        keep_offsets: bool = false;
    }
}

impl RelaySettings {
    /// The configured lease, or the default, extended if the broker's timeout requires it.
    #[must_use]
    pub fn lease(&self, message_timeout: Duration) -> Duration {
        let suitable = message_timeout * 2 + Duration::from_secs(2);
        self.lease.unwrap_or(suitable.max(LEASE))
    }

    /// Checks the rules that involve several settings.
    pub fn check(&self, message_timeout: Duration, require: &mut impl FnMut(bool, &str)) {
        require(
            !self.retry_initial.is_zero() && self.retry_initial <= self.retry_max,
            "relay.retry_initial: must be above zero and at most relay.retry_max",
        );
        require(
            self.lease(message_timeout) >= message_timeout * 2 + Duration::from_secs(1),
            "relay.lease: must be at least twice kafka.message_timeout and a second",
        );
        require(
            self.lease(message_timeout) <= LEASE_MAX,
            "relay.lease: must be at most 150s",
        );
    }
}

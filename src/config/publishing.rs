//! What the sections `[kafka]` and `[relay]` must keep to.

use std::time::Duration;

use super::{Kafka, Relay};

impl Kafka {
    /// Requires what must hold.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            (Duration::from_secs(1)..=Duration::from_secs(60)).contains(&self.message_timeout),
            "kafka.message_timeout: must be between 1s and 60s",
        );
        require(
            self.linger <= Duration::from_secs(1),
            "kafka.linger: must be at most 1s",
        );
        require(
            (1..=16).contains(&self.producers),
            "kafka.producers: must be between 1 and 16",
        );
        require(
            (1..=1_000).contains(&self.partitions),
            "kafka.partitions: must be between 1 and 1000",
        );
    }
}

impl Relay {
    /// Requires what must hold.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            (1..=64).contains(&self.lanes),
            "relay.lanes: must be between 1 and 64",
        );
        require(
            (64..=1_000_000).contains(&self.in_flight_max),
            "relay.in_flight_max: must be between 64 and 1000000",
        );
        require(
            (1..=1_000).contains(&self.attempts_max),
            "relay.attempts_max: must be between 1 and 1000",
        );
        require(
            !self.retry_initial.is_zero() && self.retry_initial <= self.retry_max,
            "relay.retry_initial: must not be zero, nor above relay.retry_max",
        );
    }
}

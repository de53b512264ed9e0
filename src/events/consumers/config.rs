//! `[consumers]`: granting the rewards of participations.

use std::time::Duration;

use serde::Deserialize;

use crate::domain::Consumer;
use crate::parts::broker::kafka::KafkaConfig;
use crate::runtime::retry;
use crate::runtime::settings::{MILLISECOND, Names, SECOND, plain, settings};

/// Consumers by name: `points,coupons`, or a list of names; empty: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Names")]
pub struct Enabled(pub Vec<Consumer>);

impl TryFrom<Names> for Enabled {
    type Error = String;

    fn try_from(names: Names) -> Result<Self, String> {
        let mut enabled = Vec::new();
        for name in names.split().filter(|name| !name.is_empty()) {
            let consumer = Consumer::parse(&name).ok_or_else(|| {
                format!(
                    "there is no consumer {name:?}; there are points and coupons \
                     (FIRSTCOME_CONSUMERS_ENABLED)"
                )
            })?;
            if !enabled.contains(&consumer) {
                enabled.push(consumer);
            }
        }
        Ok(Self(enabled))
    }
}

plain!(List: Enabled => |enabled| {
    let names: Vec<&str> = enabled.0.iter().map(|consumer| consumer.as_str()).collect();
    names.join(",")
});

settings! {
    /// `[consumers]`: granting the rewards of participations.
    ConsumerConfig in "consumers" {
        /// Consumers that run inside `serve`: `points,coupons`, one of them, or none. `firstcome consume` runs the
        /// named ones, or both: [consumers.md](consumers.md)
        enabled: Option<Enabled> = None, shown "all with all parts embedded, otherwise none";
        /// Records in one transaction
        batch_records_max: usize = 500, in 1..=1_000;
        /// Partitions that one consumer works on at the same time
        parallel_max: usize = 4, in 1..=64;
        /// How long the partitions of a crashed process wait for another process; must be within the limits of the
        /// broker
        session_timeout: Duration = SECOND * 10, in SECOND * 6..=SECOND * 300;
        /// Wait after the first failed attempt; it doubles with each further failure, with full jitter. At most
        /// `retry_max`
        retry_initial: Duration = MILLISECOND * 100;
        /// Longest wait between attempts, whose number has no limit
        retry_max: Duration = SECOND * 5, in ..=SECOND * 60;
        /// How often a consumer checks for replayed dead letters
        replay_interval: Duration = SECOND * 2, in MILLISECOND * 10..=SECOND * 60;
    }
    beside {
        /// Prefix of topics and groups: `kafka.topic_prefix`.
        topic_prefix: String = KafkaConfig::default().topic_prefix;
    }
}

impl ConsumerConfig {
    /// The delays between attempts, whose number has no limit.
    pub(super) fn retry(&self) -> retry::Policy {
        retry::Policy {
            initial: self.retry_initial,
            max: self.retry_max,
            ..retry::Policy::default()
        }
    }

    /// Checks the rules that involve several settings.
    pub fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            !self.retry_initial.is_zero() && self.retry_initial <= self.retry_max,
            "consumers.retry_initial: must be above zero and at most consumers.retry_max",
        );
    }
}

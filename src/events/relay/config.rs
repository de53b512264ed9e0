//! The relay's bounds. Every queue, batch and wait has its own.

use std::time::Duration;

use super::settings::{LEASE_MAX, RelaySettings};
use super::{KeyPolicy, Retention};
use crate::domain::{EventId, KeyChoice};
use crate::parts::broker::kafka::KafkaConfig;
use crate::runtime::retry;

/// How the relay works. Every queue, batch and wait has its bound here.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of this relay in the lease rows; unique.
    pub owner: String,
    /// How long the lease of a bucket lasts without a renewal.
    pub lease: Duration,
    /// The longest lease of any relay of this database.
    pub lease_max: Duration,
    /// The producer's own time-out: sending stops this long before the lease ends.
    pub publish_timeout: Duration,
    /// Wait between polls that find something.
    pub poll_min: Duration,
    /// Wait between polls after many that found nothing.
    pub poll_max: Duration,
    /// Events one poll reads.
    pub poll_rows_max: u32,
    /// Events in flight, from dispatching until they are acknowledged or parked.
    pub in_flight_max: u32,
    /// Hints of commits that wait for the dispatcher.
    pub hints_max: u32,
    /// How long a position waits for others to be written with it.
    pub settle_delay: Duration,
    /// Attempts, and waits between them, for one row.
    pub retry: retry::Policy,
    /// Waits between probes while the broker, a topic or a partition fails.
    pub probe: retry::Policy,
    /// Waits between attempts of the copy to the dead letter topic.
    pub copy_delay: Duration,
    /// What happens to later rows of a parked key.
    pub key_policy: KeyPolicy,
    /// What the keys of events are.
    pub key_choice: KeyChoice,
    /// Whether topic, partition and offset of published events are stored.
    pub keep_offsets: bool,
    /// First part of the topics' names.
    pub topic_prefix: String,
    /// Longest interval between counts of the outbox for the metrics; shorter while rows are pending.
    pub sample_interval: Duration,
    /// How long published events are stored.
    pub retention: Retention,
}

impl Default for Config {
    fn default() -> Self {
        Self::new(
            &RelaySettings::default(),
            &KafkaConfig::default(),
            Retention::default(),
        )
    }
}

impl Config {
    /// The configuration of a relay that publishes to this broker.
    #[must_use]
    pub fn new(settings: &RelaySettings, kafka: &KafkaConfig, retention: Retention) -> Self {
        Self {
            owner: EventId::generate().to_string(),
            lease: settings.lease(kafka.message_timeout),
            lease_max: LEASE_MAX,
            publish_timeout: kafka.message_timeout,
            poll_min: Duration::from_millis(10),
            poll_max: Duration::from_secs(1),
            poll_rows_max: 2_000,
            in_flight_max: settings.in_flight_max,
            hints_max: 1_024,
            settle_delay: Duration::from_millis(50),
            retry: retry::Policy {
                initial: settings.retry_initial,
                max: settings.retry_max,
                attempts_max: settings.attempts_max,
                ..retry::Policy::default()
            },
            probe: retry::Policy {
                max: Duration::from_secs(5),
                ..retry::Policy::default()
            },
            copy_delay: Duration::from_secs(10),
            key_policy: settings.key_policy,
            key_choice: kafka.key,
            keep_offsets: settings.keep_offsets,
            topic_prefix: kafka.topic_prefix.clone(),
            sample_interval: Duration::from_secs(30),
            retention,
        }
    }

    /// All configuration mistakes, each with the name of its setting.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut must = |holds: bool, mistake: &str| {
            if !holds {
                mistakes.push(format!("relay: {mistake}"));
            }
        };
        must(
            self.lease >= self.publish_timeout * 2 + Duration::from_secs(1),
            "lease must be at least twice kafka.message_timeout and a second",
        );
        must(self.lease <= self.lease_max, "lease exceeds lease_max");
        must(self.poll_min <= self.poll_max, "poll_min exceeds poll_max");
        must(!self.poll_min.is_zero(), "poll_min must not be zero");
        must(self.poll_rows_max > 0, "poll_rows_max must not be zero");
        must(self.in_flight_max > 0, "in_flight_max must not be zero");
        must(self.hints_max > 0, "hints_max must not be zero");
        must(
            self.retry.attempts_max > 0,
            "retry.attempts_max must not be zero",
        );
        must(
            (1..=64).contains(&self.owner.len()) && self.owner.is_ascii(),
            "owner must have 1 to 64 ASCII characters",
        );
        for mistake in self.retention.mistakes() {
            must(false, &format!("retention.{mistake}"));
        }
        mistakes
    }
}

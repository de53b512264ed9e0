//! Metrics of the consumers.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::domain::Consumer;
use crate::parts::store::Applied;
use crate::runtime::metrics::{Labels, registers};

/// Upper bounds in seconds: a batch takes tens of milliseconds, or as long as an outage of a database.
const BATCH_BUCKETS: [f64; 12] = [
    0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPartition {
    consumer: &'static str,
    partition: i32,
}

type Durations = Family<Labels<1>, Histogram, fn() -> Histogram>;

/// The metrics of all consumers of a process.
#[derive(Clone, Debug)]
pub struct Metrics {
    records: Family<Labels<2>, Counter>,
    rewards: Family<Labels<2>, Counter>,
    retries: Family<Labels<1>, Counter>,
    batches: Durations,
    lag: Family<ByPartition, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            records: Family::default(),
            rewards: Family::default(),
            retries: Family::default(),
            batches: Family::new_with_constructor(|| Histogram::new(BATCH_BUCKETS)),
            lag: Family::default(),
        }
    }
}

registers!(
    pub Metrics:
    records = CONSUMER_RECORDS,
    rewards = CONSUMER_REWARDS,
    retries = CONSUMER_RETRIES,
    batches = CONSUMER_BATCH_SECONDS,
    lag = CONSUMER_LAG,
);

impl Metrics {
    /// The handles of one consumer.
    pub(super) fn of(&self, consumer: Consumer) -> Counts {
        let consumer = consumer.as_str();
        let by = |family: &Family<Labels<2>, Counter>, outcome| {
            family.get_or_create_owned(&[("consumer", consumer), ("outcome", outcome)])
        };
        Counts {
            applied: by(&self.records, "applied"),
            late: by(&self.records, "late"),
            duplicates: by(&self.records, "duplicate"),
            ignored: by(&self.records, "ignored"),
            poison: by(&self.records, "poison"),
            granted: by(&self.rewards, "granted"),
            reversed: by(&self.rewards, "reversed"),
            retries: self.retries.get_or_create_owned(&[("consumer", consumer)]),
            batches: self.batches.get_or_create_owned(&[("consumer", consumer)]),
        }
    }

    /// Sets the lag of a partition in records; none: this process does not own it.
    pub(super) fn lag(&self, consumer: Consumer, partition: i32, records: Option<u64>) {
        let labels = ByPartition {
            consumer: consumer.as_str(),
            partition,
        };
        match records {
            Some(records) => {
                let records = i64::try_from(records).unwrap_or(i64::MAX);
                self.lag.get_or_create_owned(&labels).set(records);
            }
            None => drop(self.lag.remove(&labels)),
        }
    }
}

/// The counters of one consumer.
pub(super) struct Counts {
    applied: Counter,
    late: Counter,
    duplicates: Counter,
    ignored: Counter,
    poison: Counter,
    granted: Counter,
    reversed: Counter,
    pub(super) retries: Counter,
    batches: Histogram,
}

impl Counts {
    pub(super) fn applied(&self, applied: &Applied) {
        let add = |counter: &Counter, count: usize| {
            counter.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        };
        add(&self.applied, applied.applied - applied.late);
        add(&self.late, applied.late);
        add(&self.duplicates, applied.duplicates);
        add(&self.granted, applied.granted);
        add(&self.reversed, applied.reversed);
    }

    pub(super) fn done(&self, ignored: usize, poison: usize, took: Duration) {
        self.ignored.inc_by(u64::try_from(ignored).unwrap_or(0));
        self.poison.inc_by(u64::try_from(poison).unwrap_or(0));
        self.batches.observe(took.as_secs_f64());
    }
}

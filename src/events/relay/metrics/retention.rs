//! What is counted of what is kept: by us in the outbox, by the database for old snapshots. Set by
//! the relay that does these chores; the others show nothing, so the largest value is the one.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// What a gauge shows that nobody could read.
pub const UNKNOWN: i64 = -1;

/// Numbers about retention.
#[derive(Clone, Debug)]
pub struct RetentionMetrics {
    /// Published events deleted because their time was over.
    pub purged: Counter,
    /// For how long the oldest event that could go is overdue; 0: none is known.
    pub purge_lag_seconds: Gauge,
    /// Age of the oldest transaction in the database; -1 where we may not ask.
    pub oldest_snapshot_age_seconds: Gauge,
    /// Changes the database keeps for old snapshots; -1 where we may not ask.
    pub history_length: Gauge,
}

impl Default for RetentionMetrics {
    fn default() -> Self {
        let unknown = || {
            let gauge = Gauge::default();
            gauge.set(UNKNOWN);
            gauge
        };
        Self {
            purged: Counter::default(),
            purge_lag_seconds: Gauge::default(),
            oldest_snapshot_age_seconds: unknown(),
            history_length: unknown(),
        }
    }
}

impl RetentionMetrics {
    /// Makes the numbers visible among those of the relay.
    pub(super) fn register(&self, relay: &mut Registry) {
        relay.register(
            "purged",
            "Published events deleted because their time was over",
            self.purged.clone(),
        );
        relay.register_with_unit(
            "purge_lag",
            "How long the oldest event that could be deleted is overdue",
            Unit::Seconds,
            self.purge_lag_seconds.clone(),
        );
        relay.register_with_unit(
            "oldest_snapshot_age",
            "Age of the oldest transaction in the database, -1 when unknown",
            Unit::Seconds,
            self.oldest_snapshot_age_seconds.clone(),
        );
        relay.register(
            "history_length",
            "Length of the history list of InnoDB, -1 when unknown",
            self.history_length.clone(),
        );
    }
}

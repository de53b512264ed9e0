//! What is counted of what is kept: by us in the outbox, by the database for old snapshots. Set by
//! the relay that does these chores; the others show nothing, so the largest value is the one.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::domain::metric;
use crate::runtime::metrics::RegisterMetric;

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
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.add(&metric::RELAY_PURGED, self.purged.clone());
        registry.add(
            &metric::RELAY_PURGE_LAG_SECONDS,
            self.purge_lag_seconds.clone(),
        );
        registry.add(
            &metric::RELAY_OLDEST_SNAPSHOT_AGE_SECONDS,
            self.oldest_snapshot_age_seconds.clone(),
        );
        registry.add(&metric::RELAY_HISTORY_LENGTH, self.history_length.clone());
    }
}

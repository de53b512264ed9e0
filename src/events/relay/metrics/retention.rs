//! Metrics of retention in the outbox, and of history that the database stores for old snapshots. Only the relay that
//! does these chores sets them; the others show nothing, so use the maximum.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::domain::metric;
use crate::runtime::metrics::RegisterMetric;

/// Value of a gauge that could not be read.
pub const UNKNOWN: i64 = -1;

/// Metrics of retention.
#[derive(Clone, Debug)]
pub struct RetentionMetrics {
    /// Published events deleted because of their age.
    pub purged: Counter,
    /// How long the oldest deletable event is overdue; 0: none is known.
    pub purge_lag_seconds: Gauge,
    /// Age of the oldest transaction in the database; -1 without the privilege to read it.
    pub oldest_snapshot_age_seconds: Gauge,
    /// Changes that the database stores for old snapshots; -1 without the privilege to read it.
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
    /// Registers the metrics.
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

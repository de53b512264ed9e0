//! What is counted of what is kept. Set by the relay that does these chores; the others show nothing,
//! so the largest value is the one.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Numbers about retention.
#[derive(Clone, Debug, Default)]
pub struct RetentionMetrics {
    /// Published events deleted because their time was over.
    pub purged: Counter,
    /// For how long the oldest event that could go is overdue; 0: none is known.
    pub purge_lag_seconds: Gauge,
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
    }
}

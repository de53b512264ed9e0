//! Metrics of the reconciler. Clones share their values.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Swept;
use crate::domain::metric;
use crate::runtime::metrics::RegisterMetric;

/// The end of an expired lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LeaseEnd {
    /// `settled` or `released`.
    pub result: &'static str,
}

/// The metrics of the reconciler.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Gates rebuilt by this process.
    pub rebuilds: Counter,
    /// Rebuilds deferred because another of the campaign was running, or had just ended.
    pub deferred: Counter,
    /// Gates that had older settings than the store.
    pub configured: Counter,
    /// Gates that had drifted from the store.
    pub disagreements: Counter,
    /// Dead replicas whose leases this process ended.
    pub dead_replicas: Counter,
    /// Expired leases.
    pub swept: Family<LeaseEnd, Counter>,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.add(&metric::GATE_REBUILDS, self.rebuilds.clone());
        registry.add(&metric::GATE_REBUILDS_DEFERRED, self.deferred.clone());
        registry.add(&metric::GATE_SETTINGS_CORRECTED, self.configured.clone());
        registry.add(&metric::GATE_DISAGREEMENTS, self.disagreements.clone());
        registry.add(&metric::GATE_DEAD_REPLICAS, self.dead_replicas.clone());
        registry.add(&metric::GATE_LEASES_SWEPT, self.swept.clone());
    }

    pub(super) fn count(&self, swept: Swept) {
        let count = |result, leases: usize| {
            let leases = u64::try_from(leases).unwrap_or(u64::MAX);
            self.swept
                .get_or_create(&LeaseEnd { result })
                .inc_by(leases);
        };
        count("settled", swept.settled);
        count("released", swept.released);
        let configured = u64::try_from(swept.configured).unwrap_or(u64::MAX);
        self.configured.inc_by(configured);
        let rebuilt = u64::try_from(swept.rebuilt).unwrap_or(u64::MAX);
        self.disagreements.inc_by(rebuilt);
    }
}

//! What keeping the gate in step takes. Cheap to clone: all clones are the same numbers.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Swept;
use crate::domain::metric;
use crate::runtime::metrics::RegisterMetric;

/// What became of a lease that had run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LeaseEnd {
    /// `settled` or `released`.
    pub result: &'static str,
}

/// The reconciler's numbers.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Gates rebuilt by this process.
    pub rebuilds: Counter,
    /// Rebuilds that were not begun because another of the campaign was under way, or had just ended.
    pub deferred: Counter,
    /// Gates that the sweeper found with older settings than the store's.
    pub configured: Counter,
    /// Gates that the sweeper found apart from the store.
    pub disagreements: Counter,
    /// Leases that had run out.
    pub swept: Family<LeaseEnd, Counter>,
}

impl Metrics {
    /// Makes the numbers visible.
    pub fn register(&self, registry: &mut Registry) {
        registry.add(&metric::GATE_REBUILDS, self.rebuilds.clone());
        registry.add(&metric::GATE_REBUILDS_DEFERRED, self.deferred.clone());
        registry.add(&metric::GATE_SETTINGS_CORRECTED, self.configured.clone());
        registry.add(&metric::GATE_DISAGREEMENTS, self.disagreements.clone());
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

//! What keeping the gate in step takes. Cheap to clone: all clones are the same numbers.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Swept;

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
        let gate = registry.sub_registry_with_prefix("gate");
        gate.register(
            "rebuilds",
            "Gates of campaigns rebuilt from the store",
            self.rebuilds.clone(),
        );
        gate.register(
            "rebuilds_deferred",
            "Rebuilds that waited for another of the same campaign",
            self.deferred.clone(),
        );
        gate.register(
            "settings_corrected",
            "Gates that had older settings than the store, and were told the store's",
            self.configured.clone(),
        );
        gate.register(
            "disagreements",
            "Gates that disagreed with the store and were rebuilt",
            self.disagreements.clone(),
        );
        gate.register(
            "leases_swept",
            "Leases that had run out, by what became of them",
            self.swept.clone(),
        );
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

//! The memory of the server that holds the gate, as metrics. Without memory it admits nobody.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::ServerMemory;
use crate::domain::metric;
use crate::runtime::metrics::RegisterMetric;

/// Metrics of the server's memory. Clones share their values.
#[derive(Clone, Debug, Default)]
pub struct MemoryMetrics {
    used: Gauge,
    limit: Gauge,
}

impl MemoryMetrics {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.add(&metric::GATE_MEMORY_USED_BYTES, self.used.clone());
        registry.add(&metric::GATE_MEMORY_LIMIT_BYTES, self.limit.clone());
    }

    /// Sets the metrics.
    pub fn show(&self, memory: ServerMemory) {
        let number = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.used.set(number(memory.used));
        self.limit.set(number(memory.limit));
    }
}

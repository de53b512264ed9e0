//! The memory of the server that holds the gate, as metrics. Without memory it admits nobody.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::ServerMemory;

/// What is shown of the server's memory. Cheap to clone: all clones are the same numbers.
#[derive(Clone, Debug, Default)]
pub struct MemoryMetrics {
    used: Gauge,
    limit: Gauge,
}

impl MemoryMetrics {
    /// Makes the numbers visible.
    pub fn register(&self, registry: &mut Registry) {
        let gate = registry.sub_registry_with_prefix("gate");
        gate.register_with_unit(
            "memory_used",
            "Memory that Redis uses, of a cluster its fullest node",
            Unit::Bytes,
            self.used.clone(),
        );
        gate.register_with_unit(
            "memory_limit",
            "Memory that Redis may use: maxmemory, or the machine's",
            Unit::Bytes,
            self.limit.clone(),
        );
    }

    /// Shows what was read.
    pub fn show(&self, memory: ServerMemory) {
        let number = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.used.set(number(memory.used));
        self.limit.set(number(memory.limit));
    }
}

//! The memory of the server that holds the gate, as metrics. Without memory it admits nobody.

use prometheus_client::metrics::gauge::Gauge;

use super::ServerMemory;
use crate::runtime::metrics::registers;

/// Metrics of the server's memory. Clones share their values.
#[derive(Clone, Debug, Default)]
pub struct MemoryMetrics {
    used: Gauge,
    limit: Gauge,
}

registers!(pub MemoryMetrics: used = GATE_MEMORY_USED_BYTES, limit = GATE_MEMORY_LIMIT_BYTES);

impl MemoryMetrics {
    /// Sets the metrics.
    pub fn show(&self, memory: ServerMemory) {
        let number = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.used.set(number(memory.used));
        self.limit.set(number(memory.limit));
    }
}

//! Starts the aggregator of daily statistics and its alerts.

use super::process::Process;
use crate::operate::alert::Alerts;
use crate::operate::statistics::{self, Aggregator, Dependencies, Metrics};

/// Makes the aggregator, and starts its schedule unless that is off.
pub(super) fn start(process: &Process) -> anyhow::Result<Aggregator> {
    let config = &process.config;
    let alerts = Alerts::new(&config.alerts)?;
    let metrics = Metrics::default();
    process.telemetry.register(|registry| {
        metrics.register(registry);
        alerts.register(registry);
    });
    let parts = Dependencies {
        store: process.store.clone(),
        clock: process.clock.clone(),
        spawner: process.spawner_here(),
        alerts,
        metrics,
    };
    let aggregator = Aggregator::new(
        parts,
        config.aggregation.settings(config.database.pool_size())?,
    );
    if config.aggregation.enabled {
        statistics::start_schedule(&process.spawner, &aggregator);
    }
    Ok(aggregator)
}

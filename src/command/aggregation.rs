//! Starts the aggregator of daily statistics and its alerts.

use tokio::runtime::Handle;

use crate::config::Config;
use crate::operate::alert::Alerts;
use crate::operate::statistics::{self, Aggregator, Dependencies, Metrics};
use crate::parts::store::Store;
use crate::runtime::clock::Clock;
use crate::runtime::supervisor::Spawner;
use crate::runtime::telemetry::Telemetry;

/// Makes the aggregator, and starts its schedule unless that is off.
pub(super) fn start(
    config: &Config,
    clock: &Clock,
    store: &Store,
    spawner: &Spawner,
    telemetry: &Telemetry,
) -> anyhow::Result<Aggregator> {
    let alerts = Alerts::new(&config.aggregation.alerts())?;
    let metrics = Metrics::default();
    telemetry.register(|registry| {
        metrics.register(registry);
        alerts.register(registry);
    });
    let parts = Dependencies {
        store: store.clone(),
        clock: clock.clone(),
        // What an admin begins on the edge's threads is worked on here.
        spawner: spawner.on(Handle::current()),
        alerts,
        metrics,
    };
    let aggregator = Aggregator::new(parts, config.aggregation.settings()?);
    if config.aggregation.enabled {
        statistics::start_schedule(spawner, &aggregator);
    }
    Ok(aggregator)
}

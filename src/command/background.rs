//! What runs beside the requests: the schedule, the sweeper, the tallies.

use std::time::Duration;

use crate::lifecycle::Lifecycle;
use crate::meter::Meter;
use crate::reconcile::{Reconciler, SWEEP_INTERVAL};
use crate::store::Store;
use crate::supervisor::{Policy, Spawner, Stage};

/// How often refusals are written to the store.
const TALLY_INTERVAL: Duration = Duration::from_secs(1);
/// How long the schedule waits when it could not read it.
const SCHEDULE_PAUSE: Duration = Duration::from_secs(1);

/// Opens and closes campaigns by the clock.
pub(super) fn start_schedule(spawner: &Spawner, lifecycle: Lifecycle) {
    spawner.start(
        "lifecycle.tick",
        Stage::Background,
        Policy::restart(),
        move |stop| {
            let lifecycle = lifecycle.clone();
            async move {
                let mut pause = Duration::ZERO;
                while stop
                    .run_until_cancelled(tokio::time::sleep(pause))
                    .await
                    .is_some()
                {
                    pause = lifecycle.tick().await.unwrap_or_else(|error| {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the schedule waits"
                        );
                        SCHEDULE_PAUSE
                    });
                }
                Ok(())
            }
        },
    );
}

/// Ends the leases of those who died.
pub(super) fn start_sweeper(spawner: &Spawner, reconciler: Reconciler) {
    spawner.start(
        "reconcile.sweep",
        Stage::Background,
        Policy::restart(),
        move |stop| {
            let reconciler = reconciler.clone();
            async move {
                while stop
                    .run_until_cancelled(tokio::time::sleep(SWEEP_INTERVAL))
                    .await
                    .is_some()
                {
                    match reconciler.sweep().await {
                        Ok(swept) if swept.settled + swept.released > 0 => {
                            tracing::info!(
                                swept.settled,
                                swept.released,
                                "leases that had run out"
                            );
                        }
                        Ok(_) => {}
                        Err(error) => {
                            tracing::warn!(
                                error = &error as &dyn std::error::Error,
                                "the sweep waits"
                            );
                        }
                    }
                }
                Ok(())
            }
        },
    );
}

/// Writes the refusals counted, a last time when told to stop.
pub(super) fn start_tallies(spawner: &Spawner, meter: Meter, store: Store) {
    spawner.start(
        "meter.write",
        Stage::Background,
        Policy::restart(),
        move |stop| {
            let (meter, store) = (meter.clone(), store.clone());
            async move {
                loop {
                    let pause = tokio::time::sleep(TALLY_INTERVAL);
                    let stopped = stop.run_until_cancelled(pause).await.is_none();
                    let rows = meter.take();
                    if let Err(error) = store.add_tallies(&rows).await {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the tallies wait"
                        );
                        meter.give_back(rows);
                    }
                    if stopped {
                        return Ok(());
                    }
                }
            }
        },
    );
}

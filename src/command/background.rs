//! Background tasks: the schedule, the sweeper, the tallies.

use std::sync::Arc;
use std::time::Duration;

use crate::operate::lifecycle::Lifecycle;
use crate::parts::gate::{GateError, MemoryMetrics, ScriptGate};
use crate::parts::store::Store;
use crate::runtime::supervisor::{Policy, Spawner, Stage};
use crate::sale::meter::Meter;
use crate::sale::reconcile::{ReconcileError, Reconciler, Swept};

/// How often refusals are written to the store.
const TALLY_INTERVAL: Duration = Duration::from_secs(1);
/// How far apart a gate that is away is asked whether it is back, and how often it is then aligned.
const PROBE_PAUSE: Duration = Duration::from_millis(200);
const ALIGNMENTS_MAX: usize = 50;
/// How often the memory of the gate's server is read.
const MEMORY_PAUSE: Duration = Duration::from_secs(10);
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
                while !stop.is_cancelled() {
                    // No step is cut short, the wait after it is.
                    let pause = lifecycle.tick().await.unwrap_or_else(|error| {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the schedule waits"
                        );
                        SCHEDULE_PAUSE
                    });
                    stop.run_until_cancelled(lifecycle.until_due(pause)).await;
                }
                Ok(())
            }
        },
    );
}

/// Finds out when a gate that went away is back, and brings it into step.
pub(super) fn start_probe(spawner: &Spawner, gate: Arc<ScriptGate>, reconciler: Reconciler) {
    spawner.start(
        "gate.probe",
        Stage::Background,
        Policy::restart(),
        move |stop| {
            let (gate, reconciler) = (Arc::clone(&gate), reconciler.clone());
            async move {
                stop.run_until_cancelled(keep_probing(&gate, &reconciler))
                    .await;
                Ok(())
            }
        },
    );
}

async fn keep_probing(gate: &ScriptGate, reconciler: &Reconciler) {
    loop {
        gate.until_away().await;
        gate.until_back(PROBE_PAUSE).await;
        // What others still serve by the database is rebuilt when they no longer do; requests and
        // sweeps see to what takes longer than this.
        for _ in 0..ALIGNMENTS_MAX {
            match reconciler.align().await {
                Ok(aligned) if aligned.closed + aligned.later == 0 => {
                    tracing::info!(aligned.campaigns, "the gate is in step");
                    break;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the gate is not in step yet"
                    );
                }
            }
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    }
}

/// Ends the leases of processes that died, and rebuilds gates that differ from the store.
pub(super) fn start_sweeper(spawner: &Spawner, reconciler: Reconciler, interval: Duration) {
    spawner.repeat("reconcile.sweep", interval, move |_stop| {
        let reconciler = reconciler.clone();
        async move {
            match reconciler.sweep().await {
                Ok(swept) if swept != Swept::default() => {
                    tracing::info!(
                        swept.settled,
                        swept.released,
                        swept.rebuilt,
                        swept.configured,
                        swept.over,
                        "the gate was put in step"
                    );
                }
                Ok(_) | Err(ReconcileError::Gate(GateError::Away)) => {}
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the sweep waits");
                }
            }
            interval
        }
    });
}

/// Shows how much memory the gate's server uses.
pub(super) fn start_memory(spawner: &Spawner, gate: Arc<ScriptGate>, metrics: MemoryMetrics) {
    spawner.repeat("gate.memory", Duration::ZERO, move |_stop| {
        let (gate, metrics) = (Arc::clone(&gate), metrics.clone());
        async move {
            match gate.server_memory().await {
                Ok(Some(memory)) => metrics.show(memory),
                Ok(None) | Err(GateError::Away) => {}
                Err(error) => tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "the memory of the gate's server is not known"
                ),
            }
            MEMORY_PAUSE
        }
    });
}

/// Writes the counted rejections, a last time at the shutdown.
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

//! Background tasks: the schedule, the sweeper, the tallies.

use std::sync::Arc;
use std::time::Duration;

use crate::operate::lifecycle::Lifecycle;
use crate::parts::gate::{GateError, MemoryMetrics, ScriptGate};
use crate::parts::store::Store;
use crate::runtime::supervisor::{Policy, Spawner, Stage};
use crate::runtime::telemetry::cause;
use crate::sale::meter::Meter;
use crate::sale::reconcile::{REPLICA_INTERVAL, ReconcileError, Reconciler, ReplicaLease, Swept};

/// Interval between writes of counted rejections to the store.
const TALLY_INTERVAL: Duration = Duration::from_secs(1);
/// Interval between probes of an unavailable gate, and the maximum number of reconciliations afterwards.
const PROBE_PAUSE: Duration = Duration::from_millis(200);
const ALIGNMENTS_MAX: usize = 50;
/// Interval between reads of the memory of the gate's server.
const MEMORY_PAUSE: Duration = Duration::from_secs(10);
/// Pause of the schedule after a failed read.
const SCHEDULE_PAUSE: Duration = Duration::from_secs(1);

/// Opens and closes campaigns on schedule.
pub(super) fn start_schedule(spawner: &Spawner, lifecycle: Lifecycle) {
    spawner.repeat("lifecycle.tick", Duration::ZERO, move |stop| {
        let lifecycle = lifecycle.clone();
        async move {
            // A step is never cut short, but the wait after it is.
            let pause = lifecycle.tick().await.unwrap_or_else(|error| {
                tracing::warn!(
                    error = cause(&error),
                    "the schedule was not read; it will be retried"
                );
                SCHEDULE_PAUSE
            });
            stop.run_until_cancelled(lifecycle.until_due(pause)).await;
            Duration::ZERO
        }
    });
}

/// Waits for outages of the gate, and reconciles it after each.
pub(super) fn start_probe(spawner: &Spawner, gate: Arc<ScriptGate>, reconciler: Reconciler) {
    spawner.repeat("gate.probe", Duration::ZERO, move |stop| {
        let (gate, reconciler) = (Arc::clone(&gate), reconciler.clone());
        async move {
            stop.run_until_cancelled(await_outage(&gate, &reconciler))
                .await;
            Duration::ZERO
        }
    });
}

async fn await_outage(gate: &ScriptGate, reconciler: &Reconciler) {
    gate.until_away().await;
    gate.until_back(PROBE_PAUSE).await;
    // Campaigns that other replicas serve from the database are rebuilt when they stop doing so. Requests and sweeps
    // rebuild what takes longer than this.
    for _ in 0..ALIGNMENTS_MAX {
        if gate.is_away() {
            // It is probed again at once.
            return;
        }
        match reconciler.align().await {
            Ok(aligned) if aligned.closed + aligned.later == 0 => {
                tracing::info!(aligned.campaigns, "the gate is reconciled");
                return;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = cause(&error), "the gate is not reconciled yet"),
        }
        tokio::time::sleep(PROBE_PAUSE).await;
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
                        "the sweep corrected the gate"
                    );
                }
                Ok(_) | Err(ReconcileError::Gate(GateError::Away)) => {}
                Err(error) => {
                    tracing::warn!(
                        error = cause(&error),
                        "the sweep failed; it will be retried"
                    );
                }
            }
            interval
        }
    });
}

/// Says that this replica is alive, and ends what dead ones held. Two tasks, because ending may wait for a campaign's row.
/// The lease is renewed until nothing of this replica can commit any more.
pub(super) fn start_replica_lease(spawner: &Spawner, reconciler: Reconciler) {
    let lease = ReplicaLease::new(reconciler);
    let renewed = lease.clone();
    spawner.repeat("replica.renew", Duration::ZERO, move |_stop| {
        let lease = renewed.clone();
        async move {
            if let Err(error) = lease.renew().await {
                tracing::warn!(
                    error = cause(&error),
                    "this replica's lease was not renewed"
                );
            }
            REPLICA_INTERVAL
        }
    });
    spawner.repeat("replica.end_dead", REPLICA_INTERVAL, move |_stop| {
        let lease = lease.clone();
        async move {
            match lease.end_dead().await {
                Ok(()) | Err(ReconcileError::Gate(GateError::Away)) => {}
                Err(error) => tracing::warn!(
                    error = cause(&error),
                    "the leases of dead replicas were not ended; it will be retried"
                ),
            }
            REPLICA_INTERVAL
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
                    error = cause(&error),
                    "the memory of the gate's server was not read"
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
                            error = cause(&error),
                            "the counted rejections were not written; it will be retried"
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

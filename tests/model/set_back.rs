//! A store that is set back to an earlier state: by a failover that loses commits, or by a restore.

use crate::properties::{COUNTED, SELLS, SERVES_ALONE, SIEVE, TRUTH};
use crate::protocol::{
    Answer, Budget, Check, Holds, Phase, Protocol, REPLICAS, Rebuild, Restore, State, Sweep,
};
use crate::steps::spend;
use crate::{CALM, holds, is_found, with_sales, world};

/// A backup, or what a replica of the store has.
pub fn copy(state: &mut State) -> Option<()> {
    if state.left.setbacks == 0 || state.copied.is_some() {
        return None;
    }
    state.copied = Some(state.store);
    Some(())
}

/// Everything since the copy is lost.
pub fn set_back(protocol: &Protocol, state: &mut State) -> Option<()> {
    let copied = state.copied.take()?;
    spend(&mut state.left.setbacks)?;
    for (id, row) in state.store.rows.iter().enumerate() {
        state.lost[id] = row.is_some() && copied.rows[id].is_none();
    }
    state.store = copied;
    state.is_set_back = true;
    for attempt in &mut state.attempts {
        // A transaction cannot continue at another server.
        if let Phase::Writing(_) = attempt.phase {
            attempt.phase = Phase::Ended(Answer::Unknown);
        }
    }
    if let Restore::FromBackup { empties_gate } = protocol.restore {
        if protocol.has(Check::Stops) {
            stop(state);
        }
        if empties_gate {
            state.gate = None;
        }
    }
    Some(())
}

fn stop(state: &mut State) {
    for attempt in &mut state.attempts {
        attempt.word = None;
        if !matches!(attempt.phase, Phase::Ended(_)) {
            attempt.phase = Phase::Ended(Answer::Unknown);
        }
    }
    state.rebuilds = [Rebuild::Idle; REPLICAS];
    state.sweeps = [Sweep::Idle; REPLICAS];
}

/// The gate has the state of the store again, unless a rebuild is still in progress.
pub fn rebuild_ended(state: &mut State) {
    state.is_set_back &= state.gate.is_none() || state.rebuilds != [Rebuild::Idle; REPLICAS];
}

/// Two users and one unit; the store fails over to a server without the last commits, and everything continues.
fn failover() -> Protocol {
    let budget = Budget {
        raises: 2,
        setbacks: 1,
        ..CALM
    };
    with_sales(world(&[0, 1], budget))
}

/// The store is restored from a backup.
fn restored(empties_gate: bool) -> Protocol {
    Protocol {
        restore: Restore::FromBackup { empties_gate },
        ..failover()
    }
}

/// A failover, and one participation on the database path.
fn failover_and_database_path() -> Protocol {
    let mut protocol = failover();
    protocol.budget.directs = 1;
    protocol
}

#[test]
fn a_store_that_is_set_back_sells_no_more_than_the_stock_and_all_of_it() {
    holds("the store fails over and loses commits", failover());
    holds("a restored store, and an empty gate", restored(true));
    holds("a restored store, and the gate as it was", restored(false));
}

fn is_for(check: Check, broken: Holds, protocol: Protocol) {
    let without = vec![check];
    is_found(
        &format!("without {check:?}"),
        broken,
        Protocol {
            without,
            ..protocol
        },
    );
}

#[test]
fn without_the_comparison_after_a_rebuild_a_gate_of_lost_epochs_is_used() {
    is_for(Check::Ahead, COUNTED, failover());
}

#[test]
fn without_the_comparison_of_units_lost_participations_are_never_sold_again() {
    is_for(Check::Drift, SELLS, failover());
}

#[test]
fn without_stopping_every_process_an_admission_of_a_lost_epoch_is_committed() {
    is_for(Check::Stops, COUNTED, restored(true));
}

/// A known gap: the database path uses a lost epoch again, and the gate that had it is in force.
#[test]
fn after_a_failover_that_lost_an_epoch_a_gate_is_in_force_beside_the_database_path() {
    let what = "in the service, a failover and the database path";
    is_found(what, SERVES_ALONE, failover_and_database_path());
    let stock = 2;
    let protocol = Protocol {
        stock,
        ..failover_and_database_path()
    };
    is_found(what, SELLS, protocol);
}

#[test]
fn with_unique_epochs_neither_the_database_path_nor_running_processes_use_a_lost_epoch() {
    let with = vec![Check::Unique];
    let mut protocol = Protocol {
        with: with.clone(),
        ..failover_and_database_path()
    };
    protocol.budget.raises = 1;
    holds("unique epochs, a failover and the database path", protocol);
    let without = vec![Check::Stops];
    let protocol = Protocol {
        with,
        without,
        always: [&TRUTH[..], &SIEVE].concat(),
        ..restored(true)
    };
    holds(
        "unique epochs, a restore beside running processes",
        protocol,
    );
}

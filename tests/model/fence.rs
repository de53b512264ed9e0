//! A replica is taken for dead, rightly or not: the epoch is raised, the gate moves to it with the leases of the others,
//! and a sweep ends what the replica holds. Each attempt has a replica of its own.

use crate::properties::{COUNTED, HELD, REJECTION_IS_FINAL, SELLS, SWEPT};
use crate::protocol::{Budget, Check, Holds, Protocol, Rebuild, Seen, State, Sweep};
use crate::steps::spend;
use crate::{CALM, holds, is_found, world};

/// After `Raise`, in place of a rebuild: moves the gate to the raised epoch.
pub fn advance(protocol: &Protocol, state: &mut State, by: usize, id: usize) -> Option<()> {
    let Rebuild::Raised(epoch) = state.rebuilds[by] else {
        return None;
    };
    spend(&mut state.left.deaths)?;
    state.rebuilds[by] = Rebuild::Idle;
    let is_next = state.present_gate(protocol).is_some_and(|gate| {
        gate.epoch + 1 == epoch || gate.epoch < epoch && !protocol.has(Check::From)
    });
    let Some(gate) = state.gate.as_mut().filter(|_| is_next) else {
        return Some(());
    };
    let from = gate.epoch;
    gate.epoch = epoch;
    for (of, lease) in gate.leases.iter_mut().enumerate() {
        let stays = of == id && protocol.has(Check::Behind);
        if let Some(lease) = lease.as_mut().filter(|lease| lease.epoch == from && !stays) {
            lease.epoch = epoch;
        }
    }
    if let Some(lease) = gate.leases[id]
        && !protocol.has(Check::Behind)
        && state.sweeps[by] == Sweep::Idle
    {
        // Its owner is all that tells the lease from others.
        let rank = lease.rank;
        let seen = Seen { epoch, rank };
        state.sweeps[by] = Sweep::Saw { attempt: id, seen };
    }
    Some(())
}

/// Without the fence, the leases of a replica that is taken for dead are ended in their epoch.
pub fn take_for_dead_at_once(protocol: &Protocol, state: &mut State) -> Option<()> {
    if protocol.has(Check::Fence) {
        return None;
    }
    spend(&mut state.left.deaths)
}

/// Two users and one unit; a replica dies or not, and is taken for dead.
pub fn dead_replica() -> Protocol {
    let budget = Budget {
        raises: 2,
        directs: 1,
        crashes: 1,
        deaths: 1,
        ..CALM
    };
    world(&[0, 1], budget)
}

/// Two replicas that take others for dead, and sweep, at the same time.
fn two_replicas() -> Protocol {
    let budget = Budget {
        raises: 2,
        deaths: 2,
        ..CALM
    };
    Protocol {
        replicas: 2,
        ..world(&[0, 1], budget)
    }
}

#[test]
fn a_replica_that_is_taken_for_dead_breaks_nothing() {
    holds("a replica taken for dead", dead_replica());
    let losses = Budget {
        losses: 1,
        directs: 0,
        ..dead_replica().budget
    };
    holds(
        "a replica taken for dead, and a lost gate",
        world(&[0, 1], losses),
    );
    let two = two_replicas();
    holds("two replicas that take others for dead", two);
    let always = vec![SELLS];
    holds(
        "sold in the end, a replica taken for dead",
        Protocol {
            always,
            ..dead_replica()
        },
    );
}

#[test]
fn a_rejection_of_a_key_is_final_if_a_replica_is_taken_for_dead() {
    let budget = Budget {
        raises: 1,
        deaths: 1,
        ends: 1,
        ..CALM
    };
    let mut protocol = Protocol {
        one_key: vec![0, 1],
        ..world(&[0, 0, 1], budget)
    };
    protocol.always.push(REJECTION_IS_FINAL);
    holds("one key, a replica taken for dead", protocol);
}

fn is_for(check: Check, broken: Holds) {
    let protocol = Protocol {
        without: vec![check],
        ..dead_replica()
    };
    is_found(&format!("without {check:?}"), broken, protocol);
}

#[test]
fn without_the_fence_the_transaction_of_a_replica_taken_for_dead_is_committed() {
    is_for(Check::Fence, SWEPT);
}

#[test]
fn without_the_epoch_before_the_gate_lacks_what_the_database_committed() {
    is_for(Check::From, COUNTED);
}

#[test]
fn without_leaving_leases_behind_a_replica_that_asks_again_commits_what_is_released() {
    is_for(Check::Behind, SWEPT);
}

#[test]
fn without_the_epoch_of_the_rebuild_the_unit_of_a_dead_replica_is_lost() {
    is_for(Check::Rebuilt, HELD);
}

#[test]
fn without_the_end_of_a_lease_a_late_sweep_releases_one_that_was_given_again() {
    let protocol = Protocol {
        without: vec![Check::SameEnd],
        ..two_replicas()
    };
    is_found("without SameEnd", COUNTED, protocol);
}

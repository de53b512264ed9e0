//! Calls of the gate that are executed late, or whose answers are late.

use crate::fence::dead_replica;
use crate::properties::{COUNTED, REJECTION_IS_FINAL, SELLS, SWEPT, TRUTH};
use crate::protocol::{Budget, Check, Holds, Phase, Protocol, State};
use crate::steps::{self, spend};
use crate::{CALM, holds, is_found, with_sales, world};

/// `admit`, whose answer arrives later.
pub fn ask(protocol: &Protocol, state: &mut State, id: usize) -> Option<()> {
    spend(&mut state.left.late_answers)?;
    steps::ask(protocol, state, id)?;
    let Phase::Admitted(ticket) = state.attempts[id].phase else {
        return None;
    };
    state.attempts[id].phase = Phase::Called(ticket);
    Some(())
}

/// The answer arrives.
pub fn answer(protocol: &Protocol, state: &mut State, id: usize) -> Option<()> {
    let Phase::Called(mut ticket) = state.attempts[id].phase else {
        return None;
    };
    if !protocol.has(Check::Named) {
        ticket.epoch = state.store.epoch;
    }
    state.attempts[id].phase = Phase::Admitted(ticket);
    Some(())
}

/// A call that its process has given up, as after a time-out: the process has asked again, or is dead.
pub fn ask_for_nobody(protocol: &Protocol, state: &mut State, id: usize) -> Option<()> {
    let before = *state;
    if before.attempts[id].phase == Phase::Coming {
        return None;
    }
    spend(&mut state.left.repetitions)?;
    state.attempts[id].phase = Phase::Asking { not_in: 0 };
    steps::ask(protocol, state, id)?;
    state.attempts[id] = before.attempts[id];
    if let (Some(gate), Some(before)) = (&mut state.gate, before.gate) {
        // Nobody confirms a rejection that nobody has received.
        gate.key_admitted[id] |= before.key_admitted[id];
    }
    Some(())
}

/// Two users and one unit; an answer is late.
fn late_answer() -> Protocol {
    let budget = Budget {
        raises: 2,
        directs: 1,
        late_answers: 1,
        ..CALM
    };
    world(&[0, 1], budget)
}

/// A call of `admit` or `swap` is executed once more.
fn repeated_call() -> Protocol {
    let budget = Budget {
        raises: 2,
        directs: 1,
        repetitions: 1,
        ..CALM
    };
    with_sales(world(&[0, 1], budget))
}

/// A user may have two units, so that a late `admit` may count a second one.
fn two_for_a_user() -> Protocol {
    let budget = Budget {
        raises: 1,
        repetitions: 1,
        ..CALM
    };
    Protocol {
        limit: 2,
        stock: 2,
        always: [&TRUTH[..], &[COUNTED, SWEPT, SELLS]].concat(),
        ..world(&[0, 0], budget)
    }
}

#[test]
fn late_answers_and_calls_break_nothing() {
    holds("a late answer", late_answer());
    holds("a call that is executed once more", repeated_call());
    holds("two units for a user", two_for_a_user());
}

#[test]
fn a_rejection_of_a_key_is_final_if_a_call_is_executed_once_more() {
    let budget = Budget {
        raises: 1,
        ends: 1,
        repetitions: 1,
        ..CALM
    };
    let mut protocol = Protocol {
        one_key: vec![0, 1],
        late: vec![1],
        ..world(&[0, 0], budget)
    };
    protocol.always.push(REJECTION_IS_FINAL);
    holds("one key, a call that is executed once more", protocol);
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
fn without_the_time_of_the_request_a_late_answer_extends_the_lease() {
    is_for(Check::Asked, SWEPT, late_answer());
}

#[test]
fn without_the_epoch_of_the_admission_a_late_answer_is_committed_beside_a_new_gate() {
    is_for(Check::Named, COUNTED, late_answer());
}

#[test]
fn without_the_epoch_of_the_lease_a_replica_taken_for_dead_commits_what_is_released() {
    is_for(Check::LeaseEpoch, COUNTED, dead_replica());
}

#[test]
fn without_moving_forward_only_a_swap_that_is_executed_twice_forgets_commits() {
    is_for(Check::Forward, COUNTED, repeated_call());
}

#[test]
fn without_the_comparison_of_units_a_late_admission_of_a_committed_participation_stays_counted() {
    is_for(Check::Drift, SELLS, two_for_a_user());
}

//! Two servers of the gate that both think that they are the primary, and a server that is promoted again. Each step
//! happens at the server to which its process is connected: at any of the two.

use crate::properties::{COUNTED, REJECTION_IS_FINAL, SELLS, TRUTH};
use crate::protocol::{Budget, Check, Holds, Protocol, State};
use crate::steps::spend;
use crate::{CALM, holds, is_found, with_sales, world};

/// The replica is promoted. It has what it has received, which may be less than the primary has.
pub fn split(state: &mut State) -> Option<()> {
    spend(&mut state.left.splits)?;
    state.other = Some((state.saved.take().or(state.gate), state.run + 1));
    Some(())
}

pub fn turn(state: &mut State) -> Option<()> {
    let (gate, run) = state.other?;
    state.other = Some((state.gate, state.run));
    (state.gate, state.run) = (gate, run);
    Some(())
}

/// It gets the data of the other one. Its process has never ended, so it has the same run id.
pub fn return_to_first(protocol: &Protocol, state: &mut State) -> Option<()> {
    let (gate, run) = state.other?;
    spend(&mut state.left.returns)?;
    state.other = None;
    state.gate = gate;
    if protocol.has(Check::Promotion) {
        state.run = state.run.max(run) + 1;
    }
    Some(())
}

/// Two users and one unit; a replica of the gate is promoted while the primary continues.
fn two_primaries() -> Protocol {
    let budget = Budget {
        raises: 1,
        splits: 1,
        ..CALM
    };
    with_sales(world(&[0, 1], budget))
}

/// The gate moves to a replica that lacks the last calls, and back.
fn there_and_back() -> Protocol {
    let budget = Budget {
        raises: 1,
        splits: 1,
        returns: 1,
        ..CALM
    };
    world(&[0, 1], budget)
}

/// Two attempts with one key, the second of them later, in a campaign that may end.
fn one_key_at_two_primaries() -> Protocol {
    let budget = Budget {
        raises: 1,
        splits: 1,
        ends: 1,
        ..CALM
    };
    Protocol {
        one_key: vec![0, 1],
        late: vec![1],
        always: vec![REJECTION_IS_FINAL],
        ..world(&[0, 0], budget)
    }
}

#[test]
fn two_primaries_break_nothing() {
    holds("two primaries", two_primaries());
}

fn is_for(check: Check, broken: Holds, protocol: Protocol) {
    let without = vec![check];
    is_found(
        &format!("two primaries, without {check:?}"),
        broken,
        Protocol {
            without,
            ..protocol
        },
    );
}

#[test]
fn without_the_epoch_check_two_primaries_admit_to_the_same_units() {
    is_for(Check::Epoch, COUNTED, two_primaries());
}

#[test]
fn without_the_run_id_a_promoted_replica_is_used_with_the_state_of_its_primary() {
    is_for(Check::Run, COUNTED, two_primaries());
}

#[test]
fn a_gate_that_moves_to_a_lagging_replica_and_back_breaks_nothing() {
    holds("there and back", there_and_back());
}

/// The server has the run id that its older state names.
#[test]
fn without_the_history_a_server_that_is_promoted_again_is_used_with_older_state() {
    let without = || vec![Check::Promotion];
    let protocol = Protocol {
        without: without(),
        ..there_and_back()
    };
    is_found("there and back, without the history", COUNTED, protocol);
    let protocol = Protocol {
        without: without(),
        always: [&TRUTH[..], &[SELLS]].concat(),
        ..there_and_back()
    };
    holds("the store alone, there and back", protocol);
}

#[test]
fn a_key_that_is_rejected_at_one_of_two_primaries_is_rejected_for_good() {
    holds("one key at two primaries", one_key_at_two_primaries());
}

#[test]
fn without_the_epoch_of_a_rejection_the_other_primary_admits_the_key() {
    is_for(
        Check::KeyEpoch,
        REJECTION_IS_FINAL,
        one_key_at_two_primaries(),
    );
}

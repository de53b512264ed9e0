//! The protocol of gate, lease, commit, sweep and rebuild, and the positions of the outbox, in every state that
//! a small world can reach. It needs no parts: `cargo test --test model -- --nocapture` shows the explored
//! worlds, and for each check that is left out the shortest path to a violation. docs/model.md describes the
//! model.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a test that cannot go on should say so and stop"
)]

mod budget;
mod checks;
mod faults;
mod fence;
mod keys;
mod late;
mod outbox;
mod properties;
mod protocol;
mod rebuilds;
mod servers;
mod set_back;
mod settings;
mod steps;
mod words;

use std::time::Instant;

use budget::CALM;
use properties::{
    COUNTED, KEY_AGAIN, KEY_REACHED, REACHED, REJECTION_IS_FINAL, SELLS, SIEVE, STOCK, SWEPT, TRUTH,
};
use protocol::{Action, Budget, Check, Holds, Protocol, Restore, State};
use stateright::{Checker, Model, Property};

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::start(self)]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        actions.extend(steps::all(self));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        steps::step(self, state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        always_and_sometimes(&self.always, &self.sometimes)
    }
}

/// A property: a name, and whether it holds in a state.
type HoldsIn<M> = (&'static str, fn(&M, &<M as Model>::State) -> bool);

/// The properties that hold in every state, and those that must be reached in some state.
fn always_and_sometimes<M: Model>(
    always: &[HoldsIn<M>],
    sometimes: &[HoldsIn<M>],
) -> Vec<Property<M>> {
    let always = always.iter();
    let sometimes = sometimes.iter();
    always
        .map(|(name, holds)| Property::always(name, *holds))
        .chain(sometimes.map(|(name, holds)| Property::sometimes(name, *holds)))
        .collect()
}

/// One replica, and one unit that each of these users requests.
fn world(user_of: &[usize], budget: Budget) -> Protocol {
    Protocol {
        without: Vec::new(),
        with: Vec::new(),
        always: [&TRUTH[..], &SIEVE].concat(),
        sometimes: Vec::new(),
        stock: 1,
        replicas: 1,
        user_of: user_of.to_vec(),
        one_key: Vec::new(),
        late: Vec::new(),
        limit: 1,
        restore: Restore::Failover,
        budget,
    }
}

/// The same, and everything can be sold from every state.
fn with_sales(mut protocol: Protocol) -> Protocol {
    protocol.always.push(SELLS);
    protocol
}

/// Explores every state; each property must hold in all of them.
fn holds(what: &str, protocol: Protocol) {
    let began = Instant::now();
    let protocol_under_test = protocol.clone();
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    let states = checker.unique_state_count();
    println!(
        "{what}: {states} states in {:.1} s",
        began.elapsed().as_secs_f32()
    );
    for (name, _) in &protocol_under_test.always {
        if let Some(path) = checker.discovery(name) {
            panic!(
                "not so: {name}\n{}",
                words::path(&protocol_under_test, &path.into_vec())
            );
        }
    }
    for (name, _) in &protocol_under_test.sometimes {
        assert!(checker.discovery(name).is_some(), "never reached: {name}");
    }
}

/// Finds the shortest way to break a property, and prints it.
fn is_found(what: &str, broken: Holds, protocol: Protocol) {
    let began = Instant::now();
    let protocol_under_test = Protocol {
        // The checker stops at the first violation, which is the one with the shortest path.
        always: vec![broken],
        ..protocol
    };
    let checker = protocol_under_test.clone().checker().spawn_bfs().join();
    let broken = broken.0;
    let Some(path) = checker.discovery(broken) else {
        panic!("{what}: this still holds: {broken}");
    };
    println!(
        "{what}, this does not hold: {broken} ({} states, {:.1} s)\n{}",
        checker.unique_state_count(),
        began.elapsed().as_secs_f32(),
        words::path(&protocol_under_test, &path.into_vec())
    );
}

/// Rebuilds, crashes, a gate that loses everything, and the database path, for two users and one unit.
fn faults() -> Protocol {
    let budget = Budget {
        raises: 2,
        directs: 1,
        crashes: 1,
        losses: 1,
        ..CALM
    };
    world(&[0, 1], budget)
}

/// A gate that comes back with an older file.
fn old_file() -> Protocol {
    let budget = Budget {
        raises: 1,
        restores: 1,
        ..CALM
    };
    world(&[0, 1], budget)
}

/// Two replicas that rebuild and sweep at the same time.
fn two_replicas() -> Protocol {
    let budget = Budget { raises: 2, ..CALM };
    Protocol {
        replicas: 2,
        ..world(&[0, 1], budget)
    }
}

/// Two requests of one user and one of another.
fn two_attempts_of_one_user() -> Protocol {
    let budget = Budget {
        raises: 1,
        directs: 1,
        ..CALM
    };
    world(&[0, 0, 1], budget)
}

/// Two attempts of one user with one key, and another user, for one unit, in a campaign that may end, whose
/// gate may be lost, and which the database may serve.
fn one_key() -> Protocol {
    let budget = Budget {
        raises: 1,
        directs: 1,
        losses: 1,
        ends: 1,
        ..CALM
    };
    Protocol {
        one_key: vec![0, 1],
        ..world(&[0, 0, 1], budget)
    }
}

/// A unit for each user, and a gate that loses nothing.
fn two_units() -> Protocol {
    let mut protocol = faults();
    protocol.stock = 2;
    protocol.budget.losses = 0;
    protocol
}

/// Three users and two units.
fn three_users() -> Protocol {
    let budget = Budget { crashes: 1, ..CALM };
    Protocol {
        stock: 2,
        ..world(&[0, 1, 2], budget)
    }
}

#[test]
fn the_protocol_holds_in_every_state() {
    holds("rebuilds, crashes, losses, database path", faults());
    let sometimes = REACHED.to_vec();
    let two_units = Protocol {
        sometimes,
        ..two_units()
    };
    holds("rebuilds, crashes, database path, two units", two_units);
    holds("a restart from an older file", old_file());
    holds("two replicas", two_replicas());
    holds("a user with two attempts", two_attempts_of_one_user());
    holds("three users", three_users());
}

#[test]
fn once_faults_end_everything_is_sold() {
    for (what, protocol) in [
        ("sold in the end", faults()),
        ("sold in the end, two units", two_units()),
    ] {
        let always = vec![SELLS];
        holds(what, Protocol { always, ..protocol });
    }
}

#[test]
fn the_store_alone_enforces_the_rules() {
    use Check::{Closing, Epoch, Lease, Margin, Run, SameLease};
    for (what, protocol) in [
        ("the store alone", faults()),
        ("the store alone, an older file", old_file()),
    ] {
        let without = vec![Epoch, Lease, Margin, SameLease, Run, Closing];
        let always = TRUTH.to_vec();
        let protocol = Protocol {
            without,
            always,
            ..protocol
        };
        holds(what, protocol);
    }
}

#[test]
fn the_gate_alone_sells_no_more_than_the_stock() {
    let without = vec![Check::Stock, Check::Ranks];
    let protocol = Protocol {
        without,
        ..faults()
    };
    holds("without the store's own conditions", protocol);
}

/// The violation that the check prevents; and without the store's own conditions the stock is oversold.
fn is_for(check: Check, broken: Holds, protocol: &Protocol) {
    let without = |checks: &[Check]| Protocol {
        without: checks.to_vec(),
        ..protocol.clone()
    };
    is_found(&format!("without {check:?}"), broken, without(&[check]));
    let all = without(&[check, Check::Stock, Check::Ranks]);
    let what = format!("without {check:?} and the store's own conditions");
    is_found(&what, STOCK, all);
}

#[test]
fn without_the_epoch_check_an_old_admission_is_committed_beside_a_new_gate() {
    let mut protocol = faults();
    protocol.budget.directs = 0;
    is_for(Check::Epoch, COUNTED, &protocol);
}

#[test]
fn without_the_lease_check_a_swept_admission_is_committed() {
    is_for(Check::Lease, SWEPT, &faults());
}

#[test]
fn without_the_margin_a_paused_writer_commits_a_swept_admission() {
    is_for(Check::Margin, SWEPT, &faults());
}

#[test]
fn without_comparing_leases_a_late_sweep_releases_a_new_one() {
    is_for(Check::SameLease, COUNTED, &faults());
}

#[test]
fn without_the_run_id_an_older_file_is_used() {
    is_for(Check::Run, COUNTED, &old_file());
}

#[test]
fn a_rejection_of_a_key_is_final() {
    let mut protocol = one_key();
    protocol.always.push(REJECTION_IS_FINAL);
    protocol.sometimes = KEY_REACHED.to_vec();
    holds("two attempts with one key", protocol);
}

/// The violation that the check prevents for a key.
fn is_for_keys(check: Check) {
    let protocol = Protocol {
        without: vec![check],
        ..one_key()
    };
    is_found(&format!("without {check:?}"), REJECTION_IS_FINAL, protocol);
}

#[test]
fn without_the_lease_of_the_key_a_rejected_key_is_committed_later() {
    is_for_keys(Check::KeyLease);
}

#[test]
fn without_recorded_rejections_the_gate_admits_a_rejected_key() {
    is_for_keys(Check::KeyMemory);
}

#[test]
fn without_the_time_of_the_rebuild_a_new_gate_admits_a_rejected_key() {
    is_for_keys(Check::KeyRebuild);
}

#[test]
fn without_a_lookup_in_the_store_a_committed_key_is_rejected() {
    is_for_keys(Check::KeyLook);
}

#[test]
fn without_the_age_of_an_attempt_the_database_path_admits_a_key_rejected_by_the_gate() {
    is_for_keys(Check::KeyDirect);
}

/// The same with one attempt that begins at any moment.
fn one_key_again() -> Protocol {
    Protocol {
        late: vec![1],
        ..one_key()
    }
}

#[test]
fn a_rejection_of_a_key_is_final_for_all_earlier_attempts() {
    let mut protocol = one_key_again();
    protocol.always.push(REJECTION_IS_FINAL);
    protocol.sometimes = [&KEY_REACHED[..], &[KEY_AGAIN]].concat();
    holds(
        "an attempt that begins while another is in progress",
        protocol,
    );
}

#[test]
fn a_rejection_of_a_key_is_final_over_three_attempts() {
    let budget = one_key().budget;
    let mut protocol = Protocol {
        one_key: vec![0, 1, 2],
        late: vec![1, 2],
        ..world(&[0, 0, 0], budget)
    };
    protocol.always.push(REJECTION_IS_FINAL);
    holds("three attempts with one key", protocol);
}

#[test]
fn without_a_final_confirmation_a_key_admitted_meanwhile_is_rejected() {
    let protocol = Protocol {
        without: vec![Check::KeyAgain],
        ..one_key_again()
    };
    is_found("without KeyAgain", REJECTION_IS_FINAL, protocol);
}

#[test]
fn without_closing_the_gate_admits_beside_the_database_path() {
    is_for(Check::Closing, COUNTED, &faults());
}

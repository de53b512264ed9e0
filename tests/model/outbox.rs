//! The positions of one stream: commits, two relays that publish its events, and parked events, in every order.
//! It is separate from the protocol, because admission does not affect committed events.

mod properties;
mod rules;
mod steps;
mod words;

use std::time::Instant;

use stateright::{Checker, Model, Property};

use properties::{DELIVERED, FORWARD, GAPLESS, Holds, ORDER, PARKED, REACHED, SAFE};

/// Maximum number of events of the stream.
pub const EVENTS: usize = LAST as usize;
/// The last sequence of them.
const LAST: u8 = 3;
/// The number of relaying processes.
pub const RELAYS: usize = 2;
/// Maximum number of events in flight of a relay.
const WINDOW: u8 = 2;

/// A rule of the relay. A test removes each rule, to show what it prevents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// A commit takes its sequence under the lock of the campaign's row. Without this: a later sequence may be
    /// committed first.
    Lock,
    /// Only an acknowledged or parked event is done. Without this: a sent one.
    Acknowledged,
    /// The position is the last sequence up to which all events are done. Without this: the highest that is done.
    Contiguous,
    /// A write of a position never lowers it.
    Forward,
    /// A relay sends only under its lease. Records that it sent before may arrive later.
    SendLease,
    /// A relay parks an event only under its lease.
    ParkLease,
    /// Events of a key are parked as blocked while an earlier one is parked.
    Block,
    /// A relay that takes over reads the blocked keys.
    TakeoverKeys,
    /// Rows that nothing blocks any more are released.
    Orphans,
    /// Records of a key are written in order, and those after a failed one are not written. Without this: each by
    /// itself.
    Batch,
}

/// A row of a parked event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Row {
    Retry,
    Blocked,
    Dead,
    /// Published; deleted when the position has passed it.
    Acknowledged,
}

impl Row {
    /// Whether later events of its key wait.
    pub const fn waits(self) -> bool {
        matches!(self, Self::Retry | Self::Blocked)
    }
}

/// A record in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Record {
    Sent,
    /// In the topic; the relay does not know it yet.
    Appended,
}

/// An event that a relay has dispatched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flight {
    Record(Record),
    Done,
}

/// The progress of a relay in taking over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// It believes that it has no lease.
    #[default]
    Idle,
    /// It has a lease.
    Leased,
    /// It knows which keys are blocked.
    KnowsKeys,
    /// It has a window above the position that it read.
    Reads,
}

/// The knowledge of one process. A former owner keeps it until it notices the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Relay {
    pub phase: Phase,
    /// The epoch of its lease.
    pub epoch: u8,
    /// The position in its window.
    pub published: u8,
    /// The last sequence that it has dispatched.
    pub dispatched: u8,
    pub window: [Option<Flight>; EVENTS],
    /// Whether the position has moved since it was last written.
    pub has_moved: bool,
    /// A statement in flight that writes a position.
    pub writing: Option<u8>,
    /// Keys that it believes to be blocked, as bits.
    pub blocked: u8,
    /// A parked event that it has sent again.
    pub retry: Option<(u8, Record)>,
    /// Keys whose next row it is about to release, as bits.
    pub release: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Sequences that transactions in progress have taken, as bits.
    pub taken: u8,
    /// Sequences of committed events, as bits.
    pub committed: u8,
    pub position: u8,
    /// The highest position so far.
    pub position_max: u8,
    pub parked: [Option<Row>; EVENTS],
    /// The epoch of the lease that the database knows.
    pub epoch: u8,
    /// Sequences in the topic, as bits.
    pub topic: u8,
    /// Whether an event came into the topic after a later one of its key.
    pub is_out_of_order: bool,
    pub relays: [Relay; RELAYS],
    pub budget: Budget,
}

/// How often faults may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Changes of the owner, the first one included.
    pub takeovers: u8,
    /// Crashes of processes, which lose all their state.
    pub crashes: u8,
    /// Records that the broker rejects, or whose acknowledgement is lost.
    pub failures: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Take,
    Commit(u8),
    TakeOver(usize),
    LearnKeys(usize),
    LearnPosition(usize),
    /// The next event is sent, passed because it is parked, or parked as blocked.
    Dispatch(usize),
    Append(usize, u8),
    Acknowledge(usize, u8),
    /// A record failed, and its event is parked.
    Park(usize, u8, Row),
    Write(usize),
    WriteArrives(usize),
    Notice(usize),
    Crash(usize),
    Retry(usize, u8),
    RetryAppended(usize),
    RetryAcknowledged(usize),
    RetryFails(usize, Row),
    Release(usize, u8),
}

/// A stream, without some of the checks.
#[derive(Clone, Debug)]
pub struct Stream {
    pub without: Vec<Check>,
    pub always: Vec<Holds>,
    pub sometimes: Vec<Holds>,
    /// Events that are committed, at most `EVENTS`.
    pub events: u8,
    /// The key of each event.
    pub key_of: [u8; EVENTS],
    pub budget: Budget,
}

impl Stream {
    pub fn has(&self, check: Check) -> bool {
        !self.without.contains(&check)
    }

    pub fn key(&self, sequence: u8) -> u8 {
        self.key_of[usize::from(sequence) - 1]
    }
}

impl Model for Stream {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            taken: 0,
            committed: 0,
            position: 0,
            position_max: 0,
            parked: [None; EVENTS],
            epoch: 0,
            topic: 0,
            is_out_of_order: false,
            relays: [Relay::default(); RELAYS],
            budget: self.budget,
        }]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        steps::all(actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        steps::step(self, state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        super::always_and_sometimes(&self.always, &self.sometimes)
    }
}

/// Two changes of the owner, a crash, and a record that fails. The first and the last event have the same key.
fn stream() -> Stream {
    Stream {
        without: Vec::new(),
        always: vec![GAPLESS, SAFE, FORWARD, ORDER, DELIVERED],
        sometimes: Vec::new(),
        events: 3,
        key_of: [0, 1, 0],
        budget: Budget {
            takeovers: 2,
            crashes: 1,
            failures: 1,
        },
    }
}

/// One relay, and records that fail more often. All events have the same key.
fn one_key() -> Stream {
    Stream {
        key_of: [0; EVENTS],
        budget: Budget {
            takeovers: 1,
            crashes: 1,
            failures: 4,
        },
        ..stream()
    }
}

fn holds(what: &str, stream: Stream) {
    let (always, sometimes) = (stream.always.clone(), stream.sometimes.clone());
    let stream_under_test = stream.clone();
    let began = Instant::now();
    let checker = stream.checker().threads(2).spawn_bfs().join();
    println!(
        "{what}: {} states in {:.1} s",
        checker.unique_state_count(),
        began.elapsed().as_secs_f32()
    );
    for (name, _) in always {
        if let Some(path) = checker.discovery(name) {
            panic!(
                "not so: {name}\n{}",
                words::path(&stream_under_test, &path.into_vec())
            );
        }
    }
    for (name, _) in sometimes {
        assert!(checker.discovery(name).is_some(), "never reached: {name}");
    }
}

/// Finds the shortest way to break a property, and prints it.
fn is_for(check: Check, broken: Holds, stream: Stream) {
    let stream = Stream {
        without: [&stream.without[..], &[check]].concat(),
        always: vec![broken],
        ..stream
    };
    let checker = stream.clone().checker().spawn_bfs().join();
    let Some(path) = checker.discovery(broken.0) else {
        panic!("without {check:?}, this still holds: {}", broken.0);
    };
    println!(
        "without {check:?}, this does not hold: {} ({} states)\n{}",
        broken.0,
        checker.unique_state_count(),
        words::path(&stream, &path.into_vec())
    );
}

#[test]
fn positions_hold_in_every_state() {
    let sometimes = REACHED.to_vec();
    holds(
        "takeovers, crashes, failures",
        Stream {
            sometimes,
            ..stream()
        },
    );
    holds("events of one key", one_key());
}

#[test]
fn without_leases_nothing_is_lost_and_no_position_goes_back() {
    let stream = Stream {
        without: vec![Check::SendLease, Check::ParkLease],
        always: vec![GAPLESS, SAFE, FORWARD],
        sometimes: vec![PARKED],
        events: 2,
        ..stream()
    };
    holds("former owners that continue", stream);
}

#[test]
fn without_the_lock_a_stream_has_a_gap() {
    is_for(Check::Lock, GAPLESS, stream());
}

#[test]
fn a_position_that_moves_before_the_acknowledgement_loses_an_event() {
    is_for(Check::Acknowledged, SAFE, stream());
}

#[test]
fn a_position_that_moves_over_an_event_in_flight_loses_it() {
    is_for(Check::Contiguous, SAFE, stream());
}

#[test]
fn a_position_that_a_former_owner_may_lower_moves_backwards() {
    is_for(Check::Forward, FORWARD, stream());
}

#[test]
fn a_former_owner_that_still_sends_breaks_the_order() {
    is_for(Check::SendLease, ORDER, stream());
}

#[test]
fn a_former_owner_that_still_parks_breaks_the_order() {
    is_for(Check::ParkLease, ORDER, stream());
}

#[test]
fn events_that_are_not_blocked_pass_a_parked_one_of_their_key() {
    is_for(Check::Block, ORDER, stream());
}

#[test]
fn a_new_owner_that_does_not_read_the_blocked_keys_breaks_the_order() {
    is_for(Check::TakeoverKeys, ORDER, stream());
}

#[test]
fn records_written_behind_a_failed_one_of_their_key_break_the_order() {
    is_for(Check::Batch, ORDER, one_key());
}

#[test]
fn blocked_rows_that_a_crash_leaves_behind_wait_forever_if_nobody_releases_them() {
    is_for(Check::Orphans, DELIVERED, stream());
}

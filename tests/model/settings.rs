//! A campaign's settings in the store and in the gate, in every order: changes, rebuilds, and a store that
//! loses its last changes in a failover. It is separate from the protocol, because participations do not affect
//! settings.

use stateright::{Checker, Model, Property};

/// Largest number of times that a rebuild raises the epoch above that of the gate.
const ROUNDS: usize = 3;

/// The checks of the protocol. Each can be left out, to show what it prevents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// Settings of the later epoch are newer, and within one epoch those of the later version. Without this: only
    /// versions are compared.
    Epoch,
    /// A swap keeps settings that are newer than those it brings.
    KeepsNewer,
    /// After the swap the rebuild checks whether the gate is ahead of the store, and then raises the epoch
    /// above the gate's.
    LooksAfter,
}

/// A campaign's row, and its copies: the version counts changes, the content distinguishes two changes with the
/// same version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Row {
    epoch: u8,
    version: u8,
    content: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Gate {
    epoch: u8,
    settings: Row,
}

/// A change of the settings, step by step. Its process may die after each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Change {
    Idle,
    Committed,
    /// Has read the row, and writes it to the gate next.
    Read(Row),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Rebuild {
    Idle,
    Raised(Row),
    /// With the epoch, if the gate refused it because it had that one or a newer one.
    Swapped(Option<u8>),
    /// Has read the gate: its epoch, and its settings.
    Looked(u8, Row, Option<u8>),
    /// Found the gate ahead of the store: continues above this epoch.
    Ahead(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    store: Row,
    /// The row that the standby server has received.
    received: Row,
    gate: Gate,
    changes: [Change; 2],
    rebuilds: [Rebuild; 2],
    /// The last content that was written to the gate and confirmed.
    done: u8,
    failed_over: bool,
    contents: u8,
    raises_left: u8,
    changes_left: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Commit(usize),
    Read(usize),
    Tell(usize),
    Raise(usize),
    Swap(usize),
    LookAtGate(usize),
    LookAtStore(usize),
    ChangeDies(usize),
    RebuildDies(usize),
    StoreReplicates,
    StoreFailsOver,
}

#[derive(Clone, Debug)]
struct Settings {
    without: Option<Check>,
    failovers: bool,
}

impl Settings {
    fn has(&self, check: Check) -> bool {
        self.without != Some(check)
    }

    fn is_newer(&self, one: Row, other: Row) -> bool {
        if self.has(Check::Epoch) {
            (one.epoch, one.version) > (other.epoch, other.version)
        } else {
            one.version > other.version
        }
    }

    /// `configure`: whether the gate has accepted them, or has newer ones.
    fn write_to(&self, gate: &mut Gate, row: Row) -> bool {
        let stale = self.is_newer(gate.settings, row);
        if !stale {
            gate.settings = row;
        }
        !stale
    }

    /// A change writes to the gate, and is done unless the gate is ahead of the store.
    fn write(&self, state: &mut State, by: usize) -> Option<()> {
        let Change::Read(row) = state.changes[by] else {
            return None;
        };
        if self.write_to(&mut state.gate, row) || !self.is_newer(state.gate.settings, state.store) {
            state.done = state.done.max(row.content);
        }
        state.changes[by] = Change::Idle;
        Some(())
    }

    /// `swap`: the epoch, if it is refused.
    fn swap(&self, gate: &mut Gate, row: Row) -> Option<u8> {
        if gate.epoch >= row.epoch {
            return Some(row.epoch);
        }
        gate.epoch = row.epoch;
        if !self.has(Check::KeepsNewer) || !self.is_newer(gate.settings, row) {
            gate.settings = row;
        }
        None
    }

    /// An epoch is used once: a gate that already has it got it before the failover.
    fn is_ahead(&self, (epoch, settings): (u8, Row), refused: Option<u8>, store: Row) -> bool {
        self.has(Check::LooksAfter)
            && (epoch > store.epoch || refused == Some(epoch) || self.is_newer(settings, store))
    }

    /// The next step after the gate and the store were read.
    fn looked(&self, state: &State, by: usize) -> Option<Rebuild> {
        let Rebuild::Looked(epoch, settings, refused) = state.rebuilds[by] else {
            return None;
        };
        Some(if self.is_ahead((epoch, settings), refused, state.store) {
            Rebuild::Ahead(epoch.max(settings.epoch))
        } else {
            Rebuild::Idle
        })
    }

    /// A complete rebuild, without concurrent steps.
    fn rebuild(&self, state: &mut State) {
        let mut beyond = 0;
        // Without the order by epochs it would never end.
        for _ in 0..ROUNDS {
            state.store.epoch = state.store.epoch.max(beyond) + 1;
            let refused = self.swap(&mut state.gate, state.store);
            let gate = state.gate;
            if !self.is_ahead((gate.epoch, gate.settings), refused, state.store) {
                return;
            }
            beyond = gate.epoch.max(gate.settings.epoch);
        }
    }

    /// A complete sweep, without concurrent steps.
    fn sweep(&self, state: &mut State) {
        let (gate, store) = (state.gate, state.store);
        if gate.epoch != store.epoch || self.is_newer(gate.settings, store) {
            self.rebuild(state);
        } else if gate.settings.content != store.content {
            self.write_to(&mut state.gate, store);
        }
    }
}

impl Model for Settings {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let row = Row {
            epoch: 1,
            version: 1,
            content: 0,
        };
        vec![State {
            store: row,
            received: row,
            gate: Gate {
                epoch: 1,
                settings: row,
            },
            changes: [Change::Idle; 2],
            rebuilds: [Rebuild::Idle; 2],
            done: 0,
            failed_over: false,
            contents: 0,
            raises_left: if self.failovers { 2 } else { 3 },
            changes_left: if self.failovers { 2 } else { 3 },
        }]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        for by in 0..2 {
            actions.extend([
                Action::Commit(by),
                Action::Read(by),
                Action::Tell(by),
                Action::Raise(by),
                Action::Swap(by),
                Action::LookAtGate(by),
                Action::LookAtStore(by),
                Action::ChangeDies(by),
                Action::RebuildDies(by),
            ]);
        }
        if self.failovers {
            actions.extend([Action::StoreReplicates, Action::StoreFailsOver]);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = *before;
        match action {
            Action::Commit(by) if state.changes[by] == Change::Idle => {
                state.changes_left = state.changes_left.checked_sub(1)?;
                state.contents += 1;
                state.store.version += 1;
                state.store.content = state.contents;
                state.changes[by] = Change::Committed;
            }
            Action::Read(by) if state.changes[by] == Change::Committed => {
                state.changes[by] = Change::Read(state.store);
            }
            Action::Tell(by) => self.write(&mut state, by)?,
            Action::Raise(by) => {
                let beyond = match state.rebuilds[by] {
                    Rebuild::Idle => 0,
                    Rebuild::Ahead(epoch) => epoch,
                    _ => return None,
                };
                state.raises_left = state.raises_left.checked_sub(1)?;
                state.store.epoch = state.store.epoch.max(beyond) + 1;
                state.rebuilds[by] = Rebuild::Raised(state.store);
            }
            Action::Swap(by) => {
                let Rebuild::Raised(row) = state.rebuilds[by] else {
                    return None;
                };
                let refused = self.swap(&mut state.gate, row);
                state.rebuilds[by] = Rebuild::Swapped(refused);
            }
            Action::LookAtGate(by) => {
                let Rebuild::Swapped(refused) = state.rebuilds[by] else {
                    return None;
                };
                let gate = state.gate;
                state.rebuilds[by] = Rebuild::Looked(gate.epoch, gate.settings, refused);
            }
            Action::LookAtStore(by) => {
                state.rebuilds[by] = self.looked(&state, by)?;
            }
            Action::ChangeDies(by) if state.changes[by] != Change::Idle => {
                state.changes[by] = Change::Idle;
            }
            Action::RebuildDies(by) if state.rebuilds[by] != Rebuild::Idle => {
                state.rebuilds[by] = Rebuild::Idle;
            }
            Action::StoreReplicates if state.received != state.store => {
                state.received = state.store;
            }
            Action::StoreFailsOver if !state.failed_over && state.received != state.store => {
                state.store = state.received;
                state.failed_over = true;
            }
            _ => return None,
        }
        state.changes.sort_unstable();
        state.rebuilds.sort_unstable();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NEVER_BACK, |_: &Self, state: &State| {
                state.failed_over || state.gate.settings.content >= state.done
            }),
            Property::always(AFTER_SWEEPS, |model: &Self, state: &State| {
                let mut end = *state;
                model.sweep(&mut end);
                // Writes in flight may still arrive, in any order; another sweep follows.
                for change in state.changes {
                    if let Change::Read(row) = change {
                        model.write_to(&mut end.gate, row);
                    }
                }
                for rebuild in state.rebuilds {
                    if let Rebuild::Raised(row) = rebuild {
                        model.swap(&mut end.gate, row);
                    }
                }
                model.sweep(&mut end);
                end.gate.settings.content == end.store.content && end.gate.epoch == end.store.epoch
            }),
            Property::always(NOT_AHEAD, |model: &Self, state: &State| {
                // Without concurrent steps, one rebuild is enough after a failover.
                let mut end = *state;
                model.rebuild(&mut end);
                end.gate.settings.content == end.store.content || !state.failed_over
            }),
            Property::sometimes(LOST, |_: &Self, state: &State| {
                state.failed_over && state.gate.settings.content > state.store.content
            }),
        ]
    }
}

const NEVER_BACK: &str = "a confirmed change is never undone by a rebuild";
const AFTER_SWEEPS: &str = "once faults end, two sweeps put the store's settings in force";
const NOT_AHEAD: &str = "a rebuild after a failover puts the store's settings in force";
const LOST: &str = "the gate has a change that the store has lost";

fn explore(without: Option<Check>, failovers: bool) -> impl Checker<Settings> {
    let model = Settings { without, failovers };
    model.checker().threads(2).spawn_bfs().join()
}

#[test]
fn settings_follow_the_store_in_every_order() {
    for failovers in [false, true] {
        let checker = explore(None, failovers);
        println!("settings: {} states", checker.unique_state_count());
        for name in [NEVER_BACK, AFTER_SWEEPS, NOT_AHEAD] {
            if let Some(path) = checker.discovery(name) {
                panic!("not so: {name}\n{:#?}", path.into_vec());
            }
        }
        assert_eq!(checker.discovery(LOST).is_some(), failovers);
    }
}

#[test]
fn each_check_of_settings_is_needed() {
    for (without, broken, failovers) in [
        (Check::Epoch, NOT_AHEAD, true),
        (Check::KeepsNewer, NEVER_BACK, false),
        (Check::LooksAfter, NOT_AHEAD, true),
    ] {
        let checker = explore(Some(without), failovers);
        assert!(
            checker.discovery(broken).is_some(),
            "without {without:?} it still holds that {broken}"
        );
    }
}

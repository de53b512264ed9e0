//! What must hold in every state, and that from every state everything can still be sold.

use crate::protocol::{ATTEMPTS, Action, Answer, Holds, Phase, Protocol, State};
use crate::steps::step;

/// What the store alone keeps to, whatever the gate does.
pub const TRUTH: [Holds; 5] = [
    STOCK,
    ("a user holds at most one", |protocol, state| {
        let mut held = [0; ATTEMPTS];
        for id in protocol
            .attempts()
            .filter(|id| state.store.rows[*id].is_some())
        {
            held[protocol.user_of[id]] += 1;
        }
        held.iter().all(|units| *units <= 1)
    }),
    ("no rank is held twice", |_, state| {
        let ranks: Vec<u8> = state.store.rows.iter().flatten().copied().collect();
        (0..ranks.len()).all(|nth| !ranks[nth + 1..].contains(&ranks[nth]))
    }),
    ("each participation has one outbox row", |_, state| {
        let rows = state.store.rows.iter().map(|row| u8::from(row.is_some()));
        rows.eq(state.store.outbox)
    }),
    ("what was answered yes is committed", |_, state| {
        (0..ATTEMPTS).all(|id| {
            state.attempts[id].phase != Phase::Ended(Answer::Yes) || state.store.rows[id].is_some()
        })
    }),
];

/// What the checks are for: the gate counts exactly, so whom it admits is served.
pub const SIEVE: [Holds; 5] = [
    COUNTED,
    SWEPT,
    (
        // Of any gate, in force or not: one that is behind says "already" and "sold out", too.
        "a unit that the gate counts is leased or committed",
        |_, state| {
            state.gate.is_none_or(|gate| {
                let mut holders = gate.holders.iter().flatten();
                usize::from(gate.units) == gate.holders.iter().flatten().count()
                    && holders
                        .all(|id| gate.leases[*id].is_some() || state.store.rows[*id].is_some())
            })
        },
    ),
    (
        "\"already\" is said only to who holds one",
        |protocol, state| {
            protocol.attempts().all(|id| {
                state.attempts[id].phase != Phase::Ended(Answer::Already)
                    || state.user_holds(protocol, protocol.user_of[id])
            })
        },
    ),
    (
        "no gate is in force while the database serves",
        |protocol, state| !state.store.closed || state.gate_in_force(protocol).is_none(),
    ),
];

pub const STOCK: Holds = (
    "committed units never exceed the stock",
    |protocol, state| {
        let rows = state.store.rows.iter().flatten().count();
        rows == usize::from(state.store.units) && state.store.units <= protocol.stock
    },
);

pub const COUNTED: Holds = (
    "a gate in force counts all that is committed",
    |protocol, state| {
        let last = state.store.rows.iter().flatten().max().copied();
        state.gate_in_force(protocol).is_none_or(|gate| {
            let held = |id: usize| gate.holders[protocol.user_of[id]].is_some();
            gate.units >= state.store.units
                && gate.last_rank >= last.unwrap_or(0)
                && protocol
                    .attempts()
                    .all(|id| state.store.rows[id].is_none() || held(id))
        })
    },
);

pub const SWEPT: Holds = (
    "what a sweep has released is never committed",
    |_, state| !state.late_commit,
);

pub const LAST_WORD: Holds = ("a no to a key is the last word on it", |protocol, state| {
    let told_no = state.told_no(protocol);
    // What begins after a no was said may be committed.
    protocol.one_key.iter().all(|id| {
        let after = state.attempts[*id].after;
        state.store.rows[*id].is_none()
            || (0..ATTEMPTS).all(|other| !told_no[other] || after[other])
    })
});

/// That the world of one key is large enough to show something.
pub const KEY_REACHED: [Holds; 3] = [
    (
        "a key is refused after a lease that came to nothing",
        |protocol, state| {
            let mut ids = protocol.one_key.iter();
            ids.any(|id| state.attempts[*id].phase == Phase::Ended(Answer::SoldOut))
                && ids.all(|id| state.store.rows[*id].is_none())
        },
    ),
    ("a key gets its first answer again", |protocol, state| {
        let mut ids = protocol.one_key.iter();
        ids.any(|id| state.attempts[*id].phase == Phase::Ended(Answer::First))
    }),
    (
        "a key is told to come back by the database path",
        |protocol, state| {
            let mut ids = protocol.one_key.iter();
            state.store.closed
                && ids.any(|id| state.attempts[*id].phase == Phase::Ended(Answer::Unknown))
        },
    ),
];

/// And that an attempt that began after a no is served.
pub const KEY_AGAIN: Holds = ("a key is committed after a no to it", |protocol, state| {
    let told_no = state.told_no(protocol);
    state.key_led(protocol) && told_no.contains(&true)
});

pub const SELLS: Holds = (
    "once faults end, everything is sold",
    everything_is_sold_after_faults,
);

/// That the world is large enough to show something.
pub const REACHED: [Holds; 3] = [
    ("everything is sold", |protocol, state| {
        state.store.units == protocol.stock
    }),
    ("the database serves, and the gate after it", |_, state| {
        state.left.directs == 0
            && state.store.units > 1
            && state
                .gate
                .is_some_and(|gate| gate.epoch == state.store.epoch && gate.units > 1)
    }),
    ("an admission of an old epoch is refused", |_, state| {
        (0..ATTEMPTS).any(|id| {
            matches!(state.attempts[id].phase, Phase::Asking { not_in: 1.. })
                && state.attempts[id].word.is_none()
        })
    }),
];

/// Once faults end: lets everybody finish, sweeps, rebuilds, and lets those ask again who got nothing.
fn everything_is_sold_after_faults(protocol: &Protocol, state: &State) -> bool {
    const STEPS_MAX: usize = 200;
    let mut state = *state;
    for _ in 0..STEPS_MAX {
        let Some(next) = finish(protocol, &state).or_else(|| ask_again(protocol, &state)) else {
            let mut users = protocol.user_of.clone();
            users.sort_unstable();
            users.dedup();
            let wanted = users.len().min(usize::from(protocol.stock));
            return usize::from(state.store.units) == wanted
                && state.gate_in_force(protocol).is_some_and(|gate| {
                    gate.units == state.store.units && gate.leases.iter().flatten().count() == 0
                });
        };
        state = next;
    }
    false
}

/// The next thing that somebody has begun, or that is done at intervals.
fn finish(protocol: &Protocol, state: &State) -> Option<State> {
    let mut begun: Vec<Action> = Vec::new();
    for by in 0..protocol.replicas {
        begun.extend([Action::Read(by), Action::Swap(by)]);
        begun.extend([Action::SweepLooks(by), Action::SweepEnds(by)]);
    }
    for id in protocol.attempts() {
        begun.extend([Action::Deliver(id), Action::Commit(id), Action::Begin(id)]);
        begun.extend([Action::LeaseEnds(id), Action::SweepSees(0, id)]);
    }
    begun
        .into_iter()
        .find_map(|action| step(protocol, state, action))
}

/// Somebody asks; the gate is rebuilt first where they would find it missing or behind.
fn ask_again(protocol: &Protocol, state: &State) -> Option<State> {
    let served = |id: usize| state.user_holds(protocol, protocol.user_of[id]);
    let waiting: Vec<usize> = protocol.attempts().filter(|id| !served(*id)).collect();
    let in_force = state.gate_in_force(protocol);
    if in_force.is_none() {
        let mut state = *state;
        state.left.raises = 1;
        return step(protocol, &state, Action::Raise(0));
    }
    if in_force.is_some_and(|gate| gate.units >= protocol.stock) {
        return None;
    }
    let mut state = *state;
    // A new request has an id of its own; the old one has neither lease nor row any more.
    let id = *waiting.first()?;
    state.attempts[id].phase = Phase::Asking { not_in: 0 };
    step(protocol, &state, Action::Ask(id))
}

//! The properties of every state, one of which is that everything can still be sold.

use crate::protocol::{ATTEMPTS, Action, Answer, Holds, Phase, Protocol, State};
use crate::steps::step;

/// The properties that the store alone ensures, with any gate.
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

/// The properties that the checks ensure: the gate counts exactly, so its admissions are committed.
pub const SIEVE: [Holds; 5] = [
    COUNTED,
    SWEPT,
    HELD,
    (
        "only a user with a unit gets \"already\"",
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

/// For every gate, current or not: an outdated one also replies "already" and "sold out".
pub const HELD: Holds = (
    "a unit that the gate counts is leased or committed",
    |_, state| {
        state.gate.is_none_or(|gate| {
            let mut holders = gate.holders.iter().flatten();
            usize::from(gate.units) == gate.holders.iter().flatten().count()
                && holders.all(|id| gate.leases[*id].is_some() || state.store.rows[*id].is_some())
        })
    },
);

pub const SWEPT: Holds = (
    "what a sweep has released is never committed",
    |_, state| !state.late_commit,
);

pub const REJECTION_IS_FINAL: Holds = ("a rejection of a key is final", |protocol, state| {
    let rejected = state.rejected(protocol);
    // An attempt that begins after a rejection may be committed.
    protocol.one_key.iter().all(|id| {
        let after = state.attempts[*id].after;
        state.store.rows[*id].is_none()
            || (0..ATTEMPTS).all(|other| !rejected[other] || after[other])
    })
});

/// The world of one key is large enough to show something.
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
        "the database path answers a key with 503",
        |protocol, state| {
            let mut ids = protocol.one_key.iter();
            state.store.closed
                && ids.any(|id| state.attempts[*id].phase == Phase::Ended(Answer::Unknown))
        },
    ),
];

/// An attempt that began after a rejection can be committed.
pub const KEY_AGAIN: Holds = ("a key is committed after a rejection", |protocol, state| {
    let rejected = state.rejected(protocol);
    state.key_led(protocol) && rejected.contains(&true)
});

pub const SELLS: Holds = (
    "once faults end, everything is sold",
    everything_is_sold_after_faults,
);

/// The world is large enough to show something.
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

/// After the faults: finishes all attempts, sweeps, rebuilds, and lets users without a unit retry.
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

/// The next step of an attempt in progress, or of a regular task.
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

/// A user retries; the gate is rebuilt first if it is missing or outdated.
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

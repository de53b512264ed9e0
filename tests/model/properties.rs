//! The properties of every state, one of which is that everything can still be sold.

use crate::protocol::{
    ATTEMPTS, Action, Answer, Check, Holds, Phase, Protocol, Rebuild, State, USERS,
};
use crate::steps::step;

/// The properties that the store alone ensures, with any gate.
pub const TRUTH: [Holds; 5] = [
    STOCK,
    ("a user holds at most the limit", |protocol, state| {
        (0..USERS).all(|user| state.units_of(protocol, user) <= protocol.limit)
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
            state.attempts[id].phase != Phase::Ended(Answer::Yes)
                || state.store.rows[id].is_some()
                || state.lost[id]
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
                let user = protocol.user_of[id];
                let is_lost = |id: usize| protocol.user_of[id] == user && state.lost[id];
                state.attempts[id].phase != Phase::Ended(Answer::Already)
                    || state.user_holds(protocol, user)
                    || protocol.attempts().any(is_lost)
            })
        },
    ),
    SERVES_ALONE,
];

pub const SERVES_ALONE: Holds = (
    "no gate is in force while the database serves",
    |protocol, state| !state.store.closed || state.gate_in_force(protocol).is_none(),
);

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
        let mut gate = state.gate_in_force(protocol).into_iter();
        state.is_set_back
            || gate.all(|gate| {
                gate.units >= state.store.units
                    && gate.last_rank >= last.unwrap_or(0)
                    && (0..USERS).all(|user| gate.held[user] >= state.units_of(protocol, user))
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
                && holders.all(|id| {
                    gate.leases[*id].is_some() || state.store.rows[*id].is_some() || state.lost[*id]
                })
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
            let wanted: usize = (0..USERS)
                .map(|user| protocol.user_of.iter().filter(|of| **of == user).count())
                .map(|wanted| wanted.min(usize::from(protocol.limit)))
                .sum();
            return usize::from(state.store.units) == wanted.min(usize::from(protocol.stock))
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
        begun.extend([Action::Read(by), Action::Swap(by), Action::Compare(by)]);
        begun.extend([Action::SweepLooks(by), Action::SweepEnds(by)]);
    }
    for id in protocol.attempts() {
        begun.extend([Action::Deliver(id), Action::Commit(id), Action::Begin(id)]);
        begun.push(Action::Answer(id));
        begun.extend([Action::LeaseEnds(id), Action::SweepSees(0, id)]);
    }
    begun
        .into_iter()
        .find_map(|action| step(protocol, state, action))
}

/// A user retries; the gate is rebuilt first if it is missing, outdated or wrong.
fn ask_again(protocol: &Protocol, state: &State) -> Option<State> {
    let is_due = |id: &usize| {
        state.store.rows[*id].is_none() && !state.user_holds(protocol, protocol.user_of[*id])
    };
    let waiting: Vec<usize> = protocol.attempts().filter(is_due).collect();
    let ahead = (0..protocol.replicas).find(|by| matches!(state.rebuilds[*by], Rebuild::Ahead(_)));
    let in_force = state.gate_in_force(protocol);
    // All leases have ended, so the gate's units must be those of the store.
    let is_wrong = in_force.is_none_or(|gate| {
        protocol.has(Check::Drift) && gate.units != state.store.units
            || waiting.iter().any(|id| {
                // The store has rejected an admission of this gate.
                state.attempts[*id].phase == Phase::Asking { not_in: gate.epoch }
            })
    });
    if is_wrong || ahead.is_some() {
        let mut state = *state;
        state.left.raises = 1;
        return step(protocol, &state, Action::Raise(ahead.unwrap_or(0)));
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

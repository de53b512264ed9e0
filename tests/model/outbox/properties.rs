//! The properties of every state, one of which is that every event can still be delivered.

use super::{Check, EVENTS, Phase, Row, State, Stream};

/// A property of a stream.
pub type Holds = crate::HoldsIn<Stream>;

pub const GAPLESS: Holds = ("a stream has no gap", |_, state| {
    (1..=state.end()).all(|sequence| state.is_committed(sequence))
});

pub const SAFE: Holds = (
    "every event up to the position is in the topic or parked",
    |_, state| {
        (1..=state.position).all(|sequence| {
            let row = state.parked[usize::from(sequence) - 1];
            state.is_in_topic(sequence) || row.is_some_and(|row| row != Row::Acknowledged)
        })
    },
);

pub const FORWARD: Holds = ("the position never moves backwards", |_, state| {
    state.position == state.position_max
});

pub const ORDER: Holds = (
    "events of a key first come in the order of their sequences",
    |_, state| !state.is_out_of_order,
);

pub const DELIVERED: Holds = (
    "once faults end, every event is in the topic or a dead letter",
    |stream, state| {
        let mut end = *state;
        finish(stream, &mut end);
        let delivered = (1..=end.end()).all(|sequence| {
            let is_dead = *end.row(sequence) == Some(Row::Dead);
            end.is_in_topic(sequence) || is_dead
        });
        let waits = end.parked.iter().flatten().any(|row| row.waits());
        delivered && !waits && end.position == end.end() && !end.is_out_of_order
    },
);

pub const PARKED: Holds = ("a position has passed a parked event", |_, state| {
    let passed = &state.parked[..usize::from(state.position)];
    passed.iter().flatten().any(|row| row.waits())
});

/// Otherwise the world is too small to show anything.
pub const REACHED: [Holds; 4] = [
    PARKED,
    ("all events are published", |_, state| {
        usize::from(state.position) == EVENTS && state.parked == [None; EVENTS]
    }),
    ("two relays believe that they own the stream", |_, state| {
        state.relays.iter().all(|relay| relay.phase == Phase::Reads)
    }),
    (
        "an acknowledged event is behind the position",
        |_, state| state.parked.contains(&Some(Row::Acknowledged)),
    ),
];

/// No more faults: statements in flight arrive, all processes end, and another one publishes the rest.
fn finish(stream: &Stream, state: &mut State) {
    for by in 0..state.relays.len() {
        if let Some(position) = state.relays[by].writing.take() {
            state.write_position(stream, position);
        }
    }
    for sequence in state.position + 1..=state.end() {
        let is_blocked = state.waiting(stream, stream.key(sequence)).next().is_some();
        if state.row(sequence).is_none() && is_blocked {
            *state.row(sequence) = Some(Row::Blocked);
        } else if state.row(sequence).is_none() {
            state.append(stream, sequence);
        }
    }
    state.write_position(stream, state.end());
    // No more rounds than events: each delivers one.
    for _ in 0..EVENTS {
        if stream.has(Check::Orphans) {
            for key in 0..stream.key_of.len() {
                state.release_key(stream, u8::try_from(key).unwrap());
            }
        }
        for sequence in 1..=state.end() {
            if *state.row(sequence) == Some(Row::Retry) {
                state.append(stream, sequence);
                *state.row(sequence) = None;
                state.release_key(stream, stream.key(sequence));
            }
        }
    }
}

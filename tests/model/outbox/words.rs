//! A path through the states, in words.

use std::fmt::Write as _;

use super::{Action, Row, State, Stream};

/// Numbered lines: each step, and the state after it.
pub fn path(stream: &Stream, steps: &[(State, Option<Action>)]) -> String {
    let mut text = String::new();
    for (nth, (state, action)) in steps.iter().enumerate() {
        if let Some(action) = action {
            writeln!(text, "{:>3}. {}", nth + 1, happens(stream, state, *action)).unwrap();
        }
    }
    if let Some((last, _)) = steps.last() {
        writeln!(text, "  => {}", standing(last)).unwrap();
    }
    text
}

/// A relay is named by the epoch of its lease: the two change places in the state.
fn happens(stream: &Stream, state: &State, action: Action) -> String {
    let relay = |by: usize| match state.relays[by].epoch {
        0 => "a relay".to_owned(),
        epoch => format!("the relay of epoch {epoch}"),
    };
    match action {
        Action::Take => "a transaction takes the next sequence".to_owned(),
        Action::Commit(sequence) => {
            let key = stream.key(sequence);
            format!("event {sequence} of key {key} is committed")
        }
        Action::TakeOver(by) => {
            let epoch = state.epoch + 1;
            format!("{} takes over with epoch {epoch}", relay(by))
        }
        Action::LearnKeys(by) => format!("{} reads the blocked keys", relay(by)),
        Action::LearnPosition(by) => {
            format!("{} reads the position: {}", relay(by), state.position)
        }
        Action::Dispatch(by) => {
            let next = state.relays[by].dispatched + 1;
            format!("{} dispatches event {next}", relay(by))
        }
        Action::Append(by, sequence) => {
            format!("the record of event {sequence} of {} arrives", relay(by))
        }
        Action::Acknowledge(by, sequence) => {
            format!("event {sequence} of {} is acknowledged", relay(by))
        }
        Action::Park(by, sequence, row) => {
            let row = name(row);
            format!(
                "event {sequence} of {} fails: parked as {row} under its lease, or read again",
                relay(by)
            )
        }
        Action::Write(by) => {
            let position = state.relays[by].published;
            format!(
                "{} sends the position {position} to the database",
                relay(by)
            )
        }
        Action::WriteArrives(by) => {
            let position = state.relays[by].writing.unwrap_or_default();
            format!(
                "the position {position} of {} arrives in the database",
                relay(by)
            )
        }
        Action::Notice(by) => format!("{} notices that its lease has ended", relay(by)),
        Action::Crash(by) => format!("{} dies", relay(by)),
        Action::Retry(by, sequence) => format!("{} sends event {sequence} again", relay(by)),
        Action::RetryAppended(by) => format!("the repeated record of {} arrives", relay(by)),
        Action::RetryAcknowledged(by) => {
            format!("the repeated record of {} is acknowledged", relay(by))
        }
        Action::RetryFails(by, row) => {
            format!("the repeated record of {} fails: {}", relay(by), name(row))
        }
        Action::Release(by, key) => format!("{} releases key {key}", relay(by)),
    }
}

const fn name(row: Row) -> &'static str {
    match row {
        Row::Retry => "retry",
        Row::Blocked => "blocked",
        Row::Dead => "dead",
        Row::Acknowledged => "acknowledged",
    }
}

fn standing(state: &State) -> String {
    let sequences = 1..=state.end();
    let events = sequences.map(|sequence| {
        let row = state.parked[usize::from(sequence) - 1];
        let topic = if state.is_in_topic(sequence) {
            "in the topic"
        } else {
            "not in the topic"
        };
        let row = row.map_or("not parked", name);
        format!("event {sequence} {topic}, {row}")
    });
    let events: Vec<String> = events.collect();
    format!("position {}; {}", state.position, events.join("; "))
}

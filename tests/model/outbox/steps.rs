//! The effect of each step.

use super::rules::bit;
use super::{
    Action, Check, Flight, LAST, Phase, RELAYS, Record, Relay, Row, State, Stream, WINDOW,
};

/// All steps; `step` knows which are possible.
pub fn all(actions: &mut Vec<Action>) {
    actions.push(Action::Take);
    actions.extend((1..=LAST).map(Action::Commit));
    for by in 0..RELAYS {
        actions.extend([
            Action::TakeOver(by),
            Action::LearnKeys(by),
            Action::LearnPosition(by),
            Action::Dispatch(by),
            Action::Write(by),
            Action::WriteArrives(by),
            Action::Notice(by),
            Action::Crash(by),
            Action::RetryAppended(by),
            Action::RetryAcknowledged(by),
            Action::RetryFails(by, Row::Retry),
            Action::RetryFails(by, Row::Dead),
        ]);
        for sequence in 1..=LAST {
            actions.extend([
                Action::Append(by, sequence),
                Action::Acknowledge(by, sequence),
                Action::Park(by, sequence, Row::Retry),
                Action::Park(by, sequence, Row::Dead),
                Action::Retry(by, sequence),
            ]);
        }
        actions.extend((0..LAST).map(|key| Action::Release(by, key)));
    }
}

/// The state after a step; none: the step is not possible.
pub fn step(stream: &Stream, before: &State, action: Action) -> Option<State> {
    let mut state = *before;
    match action {
        Action::Take => take(stream, &mut state)?,
        Action::Commit(sequence) => commit(stream, &mut state, sequence)?,
        Action::TakeOver(by) => take_over(&mut state, by)?,
        Action::LearnKeys(by) => learn_keys(stream, &mut state, by)?,
        Action::LearnPosition(by) => learn_position(&mut state, by)?,
        Action::Dispatch(by) => dispatch(stream, &mut state, by)?,
        Action::Append(by, sequence) => append(stream, &mut state, by, sequence)?,
        Action::Acknowledge(by, sequence) => acknowledge(stream, &mut state, by, sequence)?,
        Action::Park(by, sequence, row) => fail(stream, &mut state, by, (sequence, row))?,
        Action::Write(by) => write(&mut state.relays[by])?,
        Action::WriteArrives(by) => {
            let position = state.relays[by].writing.take()?;
            state.write_position(stream, position);
        }
        Action::Notice(by) => {
            let is_former = state.relays[by].epoch != state.epoch;
            (is_former && state.relays[by].phase != Phase::Idle).then_some(())?;
            state.forget(by);
        }
        Action::Crash(by) => {
            (state.relays[by].phase != Phase::Idle).then_some(())?;
            state.budget.crashes = state.budget.crashes.checked_sub(1)?;
            state.forget(by);
        }
        Action::Retry(by, sequence) => retry(stream, &mut state, by, sequence)?,
        Action::RetryAppended(by) => {
            let (sequence, record) = state.relays[by].retry?;
            (record == Record::Sent).then_some(())?;
            state.append(stream, sequence);
            state.relays[by].retry = Some((sequence, Record::Appended));
        }
        Action::RetryAcknowledged(by) => retry_acknowledged(stream, &mut state, by)?,
        Action::RetryFails(by, row) => retry_fails(stream, &mut state, by, row)?,
        Action::Release(by, key) => release(stream, &mut state, by, key)?,
    }
    // The two relays are interchangeable.
    state.relays.sort_unstable();
    Some(state)
}

/// A transaction takes a sequence, and others do not wait for it.
fn take(stream: &Stream, state: &mut State) -> Option<()> {
    let next =
        (1..=stream.events).find(|next| (state.taken | state.committed) & bit(*next) == 0)?;
    (!stream.has(Check::Lock)).then(|| state.taken |= bit(next))
}

fn commit(stream: &Stream, state: &mut State, sequence: u8) -> Option<()> {
    if stream.has(Check::Lock) {
        (sequence == state.end() + 1 && sequence <= stream.events).then_some(())?;
    } else {
        (state.taken & bit(sequence) != 0).then_some(())?;
    }
    state.taken &= !bit(sequence);
    state.committed |= bit(sequence);
    Some(())
}

/// The lease of the former owner, if there is one, has ended.
fn take_over(state: &mut State, by: usize) -> Option<()> {
    (state.relays[by].phase == Phase::Idle).then_some(())?;
    state.budget.takeovers = state.budget.takeovers.checked_sub(1)?;
    state.epoch += 1;
    state.relays[by].epoch = state.epoch;
    state.relays[by].phase = Phase::Leased;
    Some(())
}

fn learn_keys(stream: &Stream, state: &mut State, by: usize) -> Option<()> {
    (state.relays[by].phase == Phase::Leased).then_some(())?;
    if stream.has(Check::TakeoverKeys) {
        let is_blocked = |key: &u8| state.waiting(stream, *key).next().is_some();
        let blocked = (0..LAST).filter(is_blocked).map(|key| 1 << key);
        state.relays[by].blocked = blocked.sum();
    }
    state.relays[by].phase = Phase::KnowsKeys;
    Some(())
}

fn learn_position(state: &mut State, by: usize) -> Option<()> {
    (state.relays[by].phase == Phase::KnowsKeys).then_some(())?;
    state.relays[by].phase = Phase::Reads;
    state.relays[by].published = state.position;
    state.relays[by].dispatched = state.position;
    Some(())
}

fn may_send(stream: &Stream, state: &State, by: usize) -> Option<()> {
    (!stream.has(Check::SendLease) || state.relays[by].epoch == state.epoch).then_some(())
}

fn dispatch(stream: &Stream, state: &mut State, by: usize) -> Option<()> {
    let relay = state.relays[by];
    let next = relay.dispatched + 1;
    let is_in_window = next <= state.end() && next <= relay.published + WINDOW;
    (relay.phase == Phase::Reads && is_in_window).then_some(())?;
    may_send(stream, state, by)?;
    let key = stream.key(next);
    // One batch of a partition is in flight: no other record next to one that is sent again.
    let retries_key = relay
        .retry
        .is_some_and(|(sequence, _)| stream.key(sequence) == key);
    (!retries_key).then_some(())?;
    state.relays[by].dispatched = next;
    if let Some(row) = *state.row(next) {
        if row.waits() {
            state.relays[by].blocked |= 1 << key;
        }
        state.relays[by].done(stream, next);
    } else if !state.is_committed(next) {
        // It is logged as an error, and passed.
        state.park(stream, by, (next, Row::Dead));
    } else if stream.has(Check::Block) && waits(stream, state, by, key) {
        state.park(stream, by, (next, Row::Blocked));
    } else {
        *state.relays[by].flight(next) = Some(Flight::Record(Record::Sent));
        state.relays[by].advance(stream);
    }
    Some(())
}

/// Whether an event of a key has to wait. For a key that the relay considers blocked, it queries the database.
fn waits(stream: &Stream, state: &mut State, by: usize, key: u8) -> bool {
    let blocked = &mut state.relays[by].blocked;
    if *blocked & (1 << key) == 0 {
        return false;
    }
    *blocked &= !(1 << key);
    let waits = state.waiting(stream, key).next().is_some();
    state.relays[by].blocked |= u8::from(waits) << key;
    waits
}

fn append(stream: &Stream, state: &mut State, by: usize, sequence: u8) -> Option<()> {
    let relay = &mut state.relays[by];
    if stream.has(Check::Batch) {
        // In order, many of a key: the producer is idempotent and has one request in flight.
        (!relay.waits_in_flight(stream, sequence)).then_some(())?;
    }
    let flight = relay.flight(sequence);
    (*flight == Some(Flight::Record(Record::Sent))).then_some(())?;
    *flight = Some(Flight::Record(Record::Appended));
    state.append(stream, sequence);
    Some(())
}

fn acknowledge(stream: &Stream, state: &mut State, by: usize, sequence: u8) -> Option<()> {
    let flight = *state.relays[by].flight(sequence);
    (flight == Some(Flight::Record(Record::Appended))).then_some(())?;
    in_turn(stream, state, by, sequence)?;
    state.relays[by].done(stream, sequence);
    Some(())
}

/// The results of a batch are taken in its order.
fn in_turn(stream: &Stream, state: &State, by: usize, sequence: u8) -> Option<()> {
    let is_next = !state.relays[by].has_earlier_in_flight(stream, sequence);
    (!stream.has(Check::Batch) || is_next).then_some(())
}

/// No acknowledgement came, whether the record arrived or not; or the broker has refused the record.
fn fail(stream: &Stream, state: &mut State, by: usize, (sequence, row): (u8, Row)) -> Option<()> {
    let Some(Flight::Record(record)) = *state.relays[by].flight(sequence) else {
        return None;
    };
    (row == Row::Retry || record == Record::Sent).then_some(())?;
    in_turn(stream, state, by, sequence)?;
    state.budget.failures = state.budget.failures.checked_sub(1)?;
    state.park(stream, by, (sequence, row));
    if stream.has(Check::Batch) && row.waits() {
        // The later records are not written either, and wait.
        for later in state.relays[by].sent_after(stream, sequence) {
            state.park(stream, by, (later, Row::Blocked));
        }
    }
    Some(())
}

fn write(relay: &mut Relay) -> Option<()> {
    (relay.has_moved && relay.writing.is_none()).then_some(())?;
    relay.writing = Some(relay.published);
    relay.has_moved = false;
    Some(())
}

fn retry(stream: &Stream, state: &mut State, by: usize, sequence: u8) -> Option<()> {
    let relay = state.relays[by];
    (relay.phase == Phase::Reads && relay.retry.is_none()).then_some(())?;
    may_send(stream, state, by)?;
    let is_free = !relay.has_in_flight(stream, stream.key(sequence));
    (*state.row(sequence) == Some(Row::Retry) && is_free).then_some(())?;
    state.relays[by].retry = Some((sequence, Record::Sent));
    Some(())
}

/// `unpark`; then the next event of the key may be sent.
fn retry_acknowledged(stream: &Stream, state: &mut State, by: usize) -> Option<()> {
    let (sequence, record) = state.relays[by].retry?;
    (record == Record::Appended).then_some(())?;
    state.relays[by].retry = None;
    let row = state.row(sequence);
    *row = row.map(|row| {
        if row == Row::Retry {
            Row::Acknowledged
        } else {
            row
        }
    });
    state.delete_acknowledged();
    state.relays[by].release |= 1 << stream.key(sequence);
    Some(())
}

/// `park_again`; a dead letter no longer blocks its key.
fn retry_fails(stream: &Stream, state: &mut State, by: usize, row: Row) -> Option<()> {
    let (sequence, record) = state.relays[by].retry?;
    (row == Row::Retry || record == Record::Sent).then_some(())?;
    state.budget.failures = state.budget.failures.checked_sub(1)?;
    state.relays[by].retry = None;
    let parked = state.row(sequence);
    *parked = parked.map(|before| if before == Row::Retry { row } else { before });
    if row == Row::Dead {
        state.relays[by].release |= 1 << stream.key(sequence);
    }
    Some(())
}

fn release(stream: &Stream, state: &mut State, by: usize, key: u8) -> Option<()> {
    (state.relays[by].release & (1 << key) != 0).then_some(())?;
    state.relays[by].release &= !(1 << key);
    if state.release_key(stream, key) {
        state.relays[by].blocked &= !(1 << key);
    }
    Some(())
}

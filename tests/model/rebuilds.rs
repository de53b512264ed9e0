//! The steps of a rebuild.

use crate::protocol::{ATTEMPTS, Check, Gate, Protocol, Rebuild, State, USERS};
use crate::set_back;
use crate::steps::spend;

/// The first step, a separate transaction. It may happen at any moment.
pub fn raise(protocol: &Protocol, state: &mut State, by: usize) -> Option<()> {
    let beyond = match state.rebuilds[by] {
        Rebuild::Idle => 0,
        Rebuild::Ahead(epoch) => epoch,
        _ => return None,
    };
    spend(&mut state.left.raises)?;
    state.raise_epoch(protocol, beyond);
    state.store.closed = false;
    state.store.closed_after = [false; ATTEMPTS];
    state.rebuilds[by] = Rebuild::Raised(state.store.epoch);
    Some(())
}

/// The second step: reads the committed units, perhaps much later.
pub fn read(state: &mut State, by: usize) -> Option<()> {
    let Rebuild::Raised(epoch) = state.rebuilds[by] else {
        return None;
    };
    state.rebuilds[by] = Rebuild::Read {
        epoch,
        rows: state.store.rows,
    };
    Some(())
}

/// The third step: replaces the gate's state, if that moves the epoch forward.
pub fn swap(protocol: &Protocol, state: &mut State, by: usize) -> Option<()> {
    let Rebuild::Read { epoch, rows } = state.rebuilds[by] else {
        return None;
    };
    let is_done = replace(protocol, state, epoch, rows);
    state.rebuilds[by] = if protocol.budget.setbacks > 0 {
        Rebuild::Swapped((!is_done).then_some(epoch))
    } else {
        Rebuild::Idle
    };
    Some(())
}

/// The same; the call arrives once more.
pub fn swap_twice(protocol: &Protocol, state: &mut State, by: usize) -> Option<()> {
    let Rebuild::Read { epoch, rows } = state.rebuilds[by] else {
        return None;
    };
    spend(&mut state.left.repetitions)?;
    replace(protocol, state, epoch, rows);
    Some(())
}

fn replace(
    protocol: &Protocol,
    state: &mut State,
    epoch: u8,
    rows: [Option<u8>; ATTEMPTS],
) -> bool {
    let current = state.present_gate(protocol);
    if current.is_some_and(|gate| gate.epoch >= epoch) && protocol.has(Check::Forward) {
        return false;
    }
    let mut gate = Gate {
        epoch,
        rebuilt: epoch,
        run: state.run,
        units: 0,
        last_rank: 0,
        held: [0; USERS],
        holders: [None; USERS],
        leases: [None; ATTEMPTS],
        of_key: None,
        key_refused: state
            .begun()
            .map(|begun| begun && protocol.has(Check::KeyRebuild)),
        key_admitted: [true; ATTEMPTS],
    };
    for (id, rank) in rows.iter().enumerate() {
        if let Some(rank) = rank {
            let user = protocol.user_of[id];
            gate.units += 1;
            gate.last_rank = gate.last_rank.max(*rank);
            gate.held[user] += 1;
            gate.holders[user].get_or_insert(id);
        }
    }
    state.gate = Some(gate);
    true
}

/// The last step, where the store may be set back: a gate that is ahead of the store is replaced once more.
pub fn compare(protocol: &Protocol, state: &mut State, by: usize) -> Option<()> {
    let Rebuild::Swapped(refused) = state.rebuilds[by] else {
        return None;
    };
    let ahead = state.present_gate(protocol).map(|gate| gate.epoch);
    let ahead = ahead.filter(|epoch| *epoch > state.store.epoch || refused == Some(*epoch));
    state.rebuilds[by] = match ahead {
        Some(epoch) if protocol.has(Check::Ahead) => Rebuild::Ahead(epoch),
        _ => Rebuild::Idle,
    };
    set_back::rebuild_ended(state);
    Some(())
}

//! Faults, in a bounded number.

use crate::protocol::{Answer, Phase, Rebuild, State, Sweep};
use crate::steps::spend;

/// The process dies; its statements in flight are lost. Committed data stays.
pub fn attempt_dies(state: &mut State, id: usize) -> Option<()> {
    let attempt = &mut state.attempts[id];
    if matches!(attempt.phase, Phase::Ended(_)) && attempt.word.is_none() {
        return None;
    }
    spend(&mut state.left.crashes)?;
    attempt.word = None;
    if !matches!(attempt.phase, Phase::Ended(_)) {
        attempt.phase = Phase::Ended(Answer::Unknown);
    }
    Some(())
}

pub fn rebuilder_dies(state: &mut State, by: usize) -> Option<()> {
    if state.rebuilds[by] == Rebuild::Idle {
        return None;
    }
    spend(&mut state.left.crashes)?;
    state.rebuilds[by] = Rebuild::Idle;
    Some(())
}

pub fn sweeper_dies(state: &mut State, by: usize) -> Option<()> {
    if state.sweeps[by] == Sweep::Idle {
        return None;
    }
    spend(&mut state.left.crashes)?;
    state.sweeps[by] = Sweep::Idle;
    Some(())
}

pub fn gate_saves(state: &mut State) -> Option<()> {
    // What a replica lacks matters only where the first server returns.
    let is_used = state.left.restores > 0 || state.left.splits.min(state.left.returns) > 0;
    if !is_used || state.saved.is_some() {
        return None;
    }
    state.saved = Some(state.gate?);
    Some(())
}

pub fn gate_is_lost(state: &mut State) -> Option<()> {
    state.gate.as_ref()?;
    spend(&mut state.left.losses)?;
    state.gate = None;
    Some(())
}

/// The file may be older than the latest replies.
pub fn gate_is_restored(state: &mut State) -> Option<()> {
    let saved = state.saved?;
    spend(&mut state.left.restores)?;
    state.gate = Some(saved);
    state.saved = None;
    state.run += 1;
    Some(())
}

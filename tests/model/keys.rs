//! The steps of attempts that share an idempotency key: a rejection applies to all of them or to none.

use crate::protocol::{ATTEMPTS, Answer, Check, Gate, Phase, Protocol, State, Ticket, Word};
use crate::steps::spend;

/// An attempt whose key was rejected after it began releases its admission at once.
pub fn admitted(
    protocol: &Protocol,
    gate: &Gate,
    id: usize,
    ticket: Ticket,
) -> (Phase, Option<Word>) {
    if protocol.has_key(id) && gate.key_refused[id] {
        let word = Word::Release(ticket.epoch);
        (Phase::Ended(Answer::Unknown), Some(word))
    } else {
        (Phase::Admitted(ticket), None)
    }
}

/// An attempt begins, at any moment.
pub fn arrive(protocol: &Protocol, state: &mut State, id: usize) -> Option<()> {
    if state.attempts[id].phase != Phase::Coming {
        return None;
    }
    state.attempts[id].after = state.rejected(protocol);
    state.attempts[id].phase = Phase::Asking { not_in: 0 };
    Some(())
}

/// The gate rejects: without a key the client gets the response at once.
pub fn refuse(protocol: &Protocol, state: &mut State, id: usize, answer: Answer) -> Option<()> {
    state.attempts[id].phase = if protocol.has_key(id) {
        remember(protocol, state)?;
        state.gate.as_mut()?.key_admitted[id] = false;
        Phase::Refused(answer)
    } else {
        Phase::Ended(answer)
    };
    Some(())
}

/// The gate records the rejection of the key: it applies to all attempts that have begun.
fn remember(protocol: &Protocol, state: &mut State) -> Option<()> {
    if protocol.has(Check::KeyMemory) {
        let begun = state.begun();
        let gate = state.gate.as_mut()?;
        for (refused, begun) in gate.key_refused.iter_mut().zip(begun) {
            *refused |= begun;
        }
    }
    Some(())
}

/// The gate confirms the rejection, and the client gets it.
pub fn refuse_again(protocol: &Protocol, state: &mut State, id: usize) -> Option<()> {
    let Phase::Looked(answer) = state.attempts[id].phase else {
        return None;
    };
    let is_due = state.present_gate(protocol).is_some_and(|gate| {
        let is_leased = gate
            .of_key
            .is_some_and(|first| gate.leases[first].is_some());
        let is_current = gate.epoch == state.store.epoch || !protocol.has(Check::KeyEpoch);
        !is_leased && !gate.key_admitted[id] && is_current
    });
    let answer = if !protocol.has(Check::KeyAgain) {
        answer
    } else if is_due {
        remember(protocol, state)?;
        answer
    } else {
        Answer::Unknown
    };
    state.attempts[id].phase = Phase::Ended(answer);
    Some(())
}

/// An admission under the key: attempts that were rejected before do not know of it.
pub fn note_admission(gate: &mut Gate, id: usize) {
    gate.of_key = Some(id);
    gate.key_admitted = [true; ATTEMPTS];
}

/// An attempt with a key queries the store before it is rejected.
pub fn look(protocol: &Protocol, state: &mut State, id: usize) -> Option<()> {
    let Phase::Refused(answer) = state.attempts[id].phase else {
        return None;
    };
    state.attempts[id].phase = if state.key_led(protocol) && protocol.has(Check::KeyLook) {
        Phase::Ended(Answer::First)
    } else if state.store.closed {
        // An admission of the database path that the gate does not know.
        Phase::Ended(Answer::Unknown)
    } else {
        Phase::Looked(answer)
    };
    Some(())
}

pub fn campaign_ends(state: &mut State) -> Option<()> {
    spend(&mut state.left.ends)?;
    state.ended = true;
    Some(())
}

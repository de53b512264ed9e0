//! What differs for attempts that share an idempotency key: a no is said to all of them or to none.

use crate::protocol::{Answer, Attempt, Check, Gate, Phase, Protocol, State, Ticket, Word};
use crate::steps::spend;

/// Who has a key that was refused since gives back what it holds, at once.
pub fn admitted(protocol: &Protocol, gate: &Gate, id: usize, ticket: Ticket) -> Attempt {
    if protocol.has_key(id) && gate.key_refused {
        Attempt {
            phase: Phase::Ended(Answer::Unknown),
            word: Some(Word::Release(ticket.epoch)),
        }
    } else {
        Attempt {
            phase: Phase::Admitted(ticket),
            word: None,
        }
    }
}

/// A no of the gate: what has no key is told at once.
pub fn refuse(protocol: &Protocol, state: &mut State, id: usize, answer: Answer) -> Option<()> {
    state.attempts[id].phase = if protocol.has_key(id) {
        state.gate.as_mut()?.key_refused |= protocol.has(Check::KeyMemory);
        Phase::Refused(answer)
    } else {
        Phase::Ended(answer)
    };
    Some(())
}

/// Whoever has a key looks into the store before a no is said.
pub fn look(protocol: &Protocol, state: &mut State, id: usize) -> Option<()> {
    let Phase::Refused(answer) = state.attempts[id].phase else {
        return None;
    };
    let answer = if state.key_led(protocol) && protocol.has(Check::KeyLook) {
        Answer::First
    } else if state.store.closed {
        // What that admits, no gate knows.
        Answer::Unknown
    } else {
        answer
    };
    state.attempts[id].phase = Phase::Ended(answer);
    Some(())
}

pub fn campaign_ends(state: &mut State) -> Option<()> {
    spend(&mut state.left.ends)?;
    state.ended = true;
    Some(())
}

//! The effect of each action. An impossible action gives no state.

use crate::faults;
use crate::fence;
use crate::keys::{admitted, arrive, campaign_ends, look, note_admission, refuse, refuse_again};
use crate::late;
use crate::protocol::{Action, Answer, Check, Phase, Protocol, Seen, State, Sweep, Ticket, Word};
use crate::rebuilds;
use crate::servers;
use crate::set_back;

/// All actions that can be possible in this world.
pub fn all(protocol: &Protocol) -> Vec<Action> {
    let budget = protocol.budget;
    let mut actions = Vec::new();
    let mut add = |of: &[Action], is_possible: bool| {
        if is_possible {
            actions.extend_from_slice(of);
        }
    };
    let saves = budget.restores > 0 || budget.returns > 0;
    add(&[Action::GateSaves], saves);
    add(&[Action::GateIsLost], budget.losses > 0);
    add(&[Action::GateIsRestored], budget.restores > 0);
    add(&[Action::CampaignEnds], budget.ends > 0);
    let set_back = [Action::StoreIsCopied, Action::StoreIsSetBack];
    add(&set_back, budget.setbacks > 0);
    add(&[Action::Split, Action::Turn], budget.splits > 0);
    add(&[Action::Return], budget.returns > 0);
    for id in protocol.attempts() {
        add(&[Action::Ask(id)], true);
        let late = [Action::AskLate(id), Action::Answer(id)];
        add(&late, budget.late_answers > 0);
        add(&[Action::AskForNobody(id)], budget.repetitions > 0);
        add(&[Action::Arrive(id)], protocol.late.contains(&id));
        add(
            &[Action::Look(id), Action::Refuse(id)],
            protocol.has_key(id),
        );
        add(&[Action::Begin(id), Action::Commit(id)], true);
        add(&[Action::Direct(id)], budget.directs > 0);
        add(&[Action::Deliver(id), Action::LeaseEnds(id)], true);
        add(&[Action::AttemptDies(id)], budget.crashes > 0);
        for by in 0..protocol.replicas {
            add(&[Action::SweepSees(by, id)], true);
            add(&[Action::Advance(by, id)], budget.deaths > 0);
        }
    }
    for by in 0..protocol.replicas {
        let rebuild = [Action::Raise(by), Action::Read(by), Action::Swap(by)];
        add(&rebuild, budget.raises > 0);
        add(&[Action::SwapTwice(by)], budget.repetitions > 0);
        add(&[Action::Compare(by)], budget.setbacks > 0);
        add(&[Action::SweepLooks(by), Action::SweepEnds(by)], true);
        let deaths = [Action::RebuilderDies(by), Action::SweeperDies(by)];
        add(&deaths, budget.crashes > 0);
    }
    actions
}

/// The state after the action.
pub fn step(protocol: &Protocol, before: &State, action: Action) -> Option<State> {
    let mut state = *before;
    let done = match action {
        Action::Ask(id) => ask(protocol, &mut state, id),
        Action::AskLate(id) => late::ask(protocol, &mut state, id),
        Action::Answer(id) => late::answer(protocol, &mut state, id),
        Action::AskForNobody(id) => late::ask_for_nobody(protocol, &mut state, id),
        Action::Arrive(id) => arrive(protocol, &mut state, id),
        Action::Look(id) => look(protocol, &mut state, id),
        Action::Refuse(id) => refuse_again(protocol, &mut state, id),
        Action::Begin(id) => begin(protocol, &mut state, id),
        Action::Commit(id) => commit(protocol, &mut state, id),
        Action::Direct(id) => direct(protocol, &mut state, id),
        Action::Deliver(id) => deliver(protocol, &mut state, id),
        Action::LeaseEnds(id) => lease_ends(protocol, &mut state, id),
        Action::Raise(by) => rebuilds::raise(protocol, &mut state, by),
        Action::Read(by) => rebuilds::read(&mut state, by),
        Action::Swap(by) => rebuilds::swap(protocol, &mut state, by),
        Action::SwapTwice(by) => rebuilds::swap_twice(protocol, &mut state, by),
        Action::Compare(by) => rebuilds::compare(protocol, &mut state, by),
        Action::Advance(by, id) => fence::advance(protocol, &mut state, by, id),
        Action::SweepSees(by, id) => sweep_sees(protocol, &mut state, by, id),
        Action::SweepLooks(by) => sweep_looks(&mut state, by),
        Action::SweepEnds(by) => sweep_ends(protocol, &mut state, by),
        Action::AttemptDies(id) => faults::attempt_dies(&mut state, id),
        Action::RebuilderDies(by) => faults::rebuilder_dies(&mut state, by),
        Action::SweeperDies(by) => faults::sweeper_dies(&mut state, by),
        Action::GateSaves => faults::gate_saves(&mut state),
        Action::GateIsLost => faults::gate_is_lost(&mut state),
        Action::GateIsRestored => faults::gate_is_restored(&mut state),
        Action::CampaignEnds => campaign_ends(&mut state),
        Action::StoreIsCopied => set_back::copy(&mut state),
        Action::StoreIsSetBack => set_back::set_back(protocol, &mut state),
        Action::Split => servers::split(&mut state),
        Action::Turn => servers::turn(&mut state),
        Action::Return => servers::return_to_first(protocol, &mut state),
    };
    done?;
    // Replicas are interchangeable: the state does not depend on which one does it.
    state.rebuilds[..protocol.replicas].sort_unstable();
    state.sweeps[..protocol.replicas].sort_unstable();
    Some(state)
}

/// Uses one of a bounded number of faults, if there is one left.
pub fn spend(left: &mut u8) -> Option<()> {
    *left = left.checked_sub(1)?;
    Some(())
}

/// `admit`. The answer may be lost: this equals a crash directly after it.
pub fn ask(protocol: &Protocol, state: &mut State, id: usize) -> Option<()> {
    let Phase::Asking { not_in } = state.attempts[id].phase else {
        return None;
    };
    let user = protocol.user_of[id];
    let gate = state.present_gate(protocol)?;
    if gate.epoch == not_in {
        return None;
    }
    let has_key = protocol.has_key(id);
    let of_key = gate
        .of_key
        .filter(|_| has_key && protocol.has(Check::KeyLease));
    if let Some(mut ticket) = gate.leases[id] {
        if !protocol.has(Check::LeaseEpoch) {
            ticket.epoch = gate.epoch;
        }
        let (phase, word) = admitted(protocol, gate, id, ticket);
        (state.attempts[id].phase, state.attempts[id].word) = (phase, word);
    } else if of_key.is_some_and(|first| gate.leases[first].is_some()) {
        return None;
    } else if state.ended {
        refuse(protocol, state, id, Answer::Ended)?;
    } else if gate.held[user] >= protocol.limit {
        // While the first one is leased its outcome is unknown, so there is no reply.
        if gate.holders[user].is_some_and(|first| gate.leases[first].is_some()) {
            return None;
        }
        refuse(protocol, state, id, Answer::Already)?;
    } else if gate.units >= protocol.stock {
        refuse(protocol, state, id, Answer::SoldOut)?;
    } else {
        let gate = state.gate.as_mut()?;
        gate.units += 1;
        gate.last_rank += 1;
        gate.held[user] += 1;
        gate.holders[user].get_or_insert(id);
        let ticket = Ticket {
            epoch: gate.epoch,
            rank: gate.last_rank,
            over: false,
            swept: false,
        };
        gate.leases[id] = Some(ticket);
        if has_key {
            note_admission(gate, id);
        }
        let (phase, word) = admitted(protocol, gate, id, ticket);
        (state.attempts[id].phase, state.attempts[id].word) = (phase, word);
    }
    Some(())
}

/// The writer checks the lease: it begins a transaction, or releases the admission.
fn begin(protocol: &Protocol, state: &mut State, id: usize) -> Option<()> {
    let Phase::Admitted(ticket) = state.attempts[id].phase else {
        return None;
    };
    if ticket.over && protocol.has(Check::Lease) {
        state.attempts[id].word = Some(Word::Release(ticket.epoch));
        state.attempts[id].phase = Phase::Ended(Answer::Unknown);
    } else {
        state.attempts[id].phase = Phase::Writing(ticket);
    }
    Some(())
}

/// The transaction of the gate's path: all or nothing.
fn commit(protocol: &Protocol, state: &mut State, id: usize) -> Option<()> {
    let Phase::Writing(ticket) = state.attempts[id].phase else {
        return None;
    };
    let user = protocol.user_of[id];
    let again = Phase::Asking {
        not_in: ticket.epoch,
    };
    let release = Some(Word::Release(ticket.epoch));
    let (phase, word) = if state.store.epoch != ticket.epoch && protocol.has(Check::Epoch) {
        // Not released: the lease ended with its epoch.
        (again, None)
    } else if state.store.units >= protocol.stock && protocol.has(Check::Stock) {
        // Only the gate refuses a key.
        let phase = if protocol.has_key(id) {
            again
        } else {
            Phase::Ended(Answer::SoldOut)
        };
        (phase, release)
    } else if protocol.has_key(id) && state.key_led(protocol) {
        (Phase::Ended(Answer::First), release)
    } else if state.user_holds(protocol, user)
        || state.store.rows.contains(&Some(ticket.rank)) && protocol.has(Check::Ranks)
    {
        (again, release)
    } else {
        state.late_commit |= ticket.swept;
        state.lost[id] = false;
        insert(state, id, ticket.rank);
        let settle = Some(Word::Settle(ticket.epoch));
        (Phase::Ended(Answer::Yes), settle)
    };
    (state.attempts[id].phase, state.attempts[id].word) = (phase, word);
    Some(())
}

/// The transaction of the database path: closes the gate, and admits.
fn direct(protocol: &Protocol, state: &mut State, id: usize) -> Option<()> {
    let Phase::Asking { .. } = state.attempts[id].phase else {
        return None;
    };
    spend(&mut state.left.directs)?;
    let has_key = protocol.has_key(id);
    let refusal = if has_key && state.key_led(protocol) {
        Some(Answer::First)
    } else if state.ended {
        Some(Answer::Ended)
    } else if state.user_holds(protocol, protocol.user_of[id]) {
        Some(Answer::Already)
    } else if state.store.units >= protocol.stock {
        Some(Answer::SoldOut)
    } else if has_key
        && protocol.has(Check::KeyDirect)
        && (!state.store.closed || state.store.closed_after[id])
    {
        // The gate was open when it began.
        Some(Answer::Unknown)
    } else {
        None
    };
    // Rejecting a key closes the gate as well: its admissions cannot be committed.
    if (refusal.is_none() || has_key) && protocol.has(Check::Closing) && !state.store.closed {
        state.raise_epoch(protocol, 0);
        state.store.closed = true;
        state.store.closed_after = state.begun();
    }
    state.attempts[id].phase = if let Some(refusal) = refusal {
        Phase::Ended(refusal)
    } else {
        let last = state.store.rows.iter().flatten().max();
        let rank = last.copied().unwrap_or(0) + 1;
        insert(state, id, rank);
        Phase::Ended(Answer::Yes)
    };
    Some(())
}

fn insert(state: &mut State, id: usize, rank: u8) {
    state.store.units += 1;
    state.store.rows[id] = Some(rank);
    state.store.outbox[id] += 1;
}

/// A settle or release of the writer arrives.
fn deliver(protocol: &Protocol, state: &mut State, id: usize) -> Option<()> {
    match state.attempts[id].word.take()? {
        Word::Settle(_) => settle(state, id),
        Word::Release(epoch) => {
            release(protocol, state, id, epoch);
        }
    }
    Some(())
}

fn settle(state: &mut State, id: usize) {
    if let Some(gate) = &mut state.gate {
        gate.leases[id] = None;
    }
}

/// Ends a lease of this epoch. Returns whether there was one.
fn release(protocol: &Protocol, state: &mut State, id: usize, seen_in: u8) -> bool {
    let Some(gate) = &mut state.gate else {
        return false;
    };
    let seen_in = if protocol.has(Check::SameLease) {
        seen_in
    } else {
        gate.epoch
    };
    let Some(lease) = gate.leases[id].filter(|lease| lease.epoch == seen_in) else {
        return false;
    };
    gate.leases[id] = None;
    let since = if protocol.has(Check::Rebuilt) {
        gate.rebuilt
    } else {
        gate.epoch
    };
    if lease.epoch >= since {
        let user = protocol.user_of[id];
        gate.units -= 1;
        gate.held[user] = gate.held[user].saturating_sub(1);
        if gate.held[user] == 0 || gate.holders[user] == Some(id) {
            gate.holders[user] = None;
        }
    }
    true
}

/// Time passes: the lease expires in the gate and for its owner.
fn lease_ends(protocol: &Protocol, state: &mut State, id: usize) -> Option<()> {
    if let Phase::Writing(_) = state.attempts[id].phase
        && protocol.has(Check::Margin)
    {
        return None;
    }
    let mut ended = None;
    let lease = state
        .gate
        .as_mut()
        .and_then(|gate| gate.leases[id].as_mut());
    let held = match &mut state.attempts[id].phase {
        Phase::Admitted(ticket) => Some(ticket),
        Phase::Called(ticket) if protocol.has(Check::Asked) => Some(ticket),
        _ => None,
    };
    for ticket in lease.into_iter().chain(held) {
        if !ticket.over {
            ticket.over = true;
            ended = Some(());
        }
    }
    ended
}

/// The sweeper reads an expired lease, or one that was left behind in an old epoch.
fn sweep_sees(protocol: &Protocol, state: &mut State, by: usize, id: usize) -> Option<()> {
    let gate = state.gate.as_ref()?;
    let lease = gate.leases[id]?;
    if state.sweeps[by] != Sweep::Idle {
        return None;
    }
    if !lease.over && lease.epoch == gate.epoch {
        fence::take_for_dead_at_once(protocol, state)?;
    }
    state.sweeps[by] = Sweep::Saw {
        attempt: id,
        seen: Seen {
            epoch: lease.epoch,
            rank: lease.rank,
        },
    };
    Some(())
}

/// The sweep queries the store, a moment later.
fn sweep_looks(state: &mut State, by: usize) -> Option<()> {
    let Sweep::Saw { attempt, seen } = state.sweeps[by] else {
        return None;
    };
    state.sweeps[by] = Sweep::Knows {
        attempt,
        seen,
        committed: state.store.rows[attempt].is_some(),
    };
    Some(())
}

/// It settles or releases, a moment later still.
fn sweep_ends(protocol: &Protocol, state: &mut State, by: usize) -> Option<()> {
    let Sweep::Knows {
        attempt,
        seen,
        committed,
    } = state.sweeps[by]
    else {
        return None;
    };
    state.sweeps[by] = Sweep::Idle;
    if committed {
        settle(state, attempt);
        return Some(());
    }
    let lease = state.gate.and_then(|gate| gate.leases[attempt]);
    let is_same = lease.is_some_and(|lease| lease.rank == seen.rank);
    let was_released =
        (is_same || !protocol.has(Check::SameEnd)) && release(protocol, state, attempt, seen.epoch);
    if let Phase::Called(held) | Phase::Admitted(held) | Phase::Writing(held) =
        &mut state.attempts[attempt].phase
    {
        held.swept |= was_released && lease.is_some_and(|lease| lease.epoch == held.epoch);
    }
    Some(())
}

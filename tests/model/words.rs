//! A path through the states, in words.

use std::fmt::Write as _;

use crate::protocol::{Action, Answer, Phase, Protocol, Rebuild, State, Sweep, Ticket, Word};

/// Numbered lines: each step, and the state after it.
pub fn path(protocol: &Protocol, steps: &[(State, Option<Action>)]) -> String {
    let mut text = String::new();
    for (nth, pair) in steps.windows(2).enumerate() {
        let (before, action, after) = (&pair[0].0, pair[0].1, &pair[1].0);
        if let Some(action) = action {
            let what = happened(protocol, action, before, after);
            writeln!(text, "{:>3}. {what}", nth + 1).unwrap();
        }
    }
    if let Some((last, _)) = steps.last() {
        writeln!(text, "  => {}", standing(last)).unwrap();
    }
    text
}

fn name(id: usize) -> char {
    char::from(b'A' + u8::try_from(id).unwrap())
}

fn names(ids: impl Iterator<Item = usize>) -> String {
    let names: Vec<String> = ids.map(|id| name(id).to_string()).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn standing(state: &State) -> String {
    let store = &state.store;
    let committed = names((0..store.rows.len()).filter(|id| store.rows[*id].is_some()));
    let gate = state
        .gate
        .map_or("the gate has no state".to_owned(), |gate| {
            let leased = names((0..gate.leases.len()).filter(|id| gate.leases[*id].is_some()));
            let (epoch, units, last) = (gate.epoch, gate.units, gate.last_rank);
            format!("the gate of epoch {epoch} counts {units}, last rank {last}, leased: {leased}")
        });
    format!("the store of epoch {} has {committed}; {gate}", store.epoch)
}

fn held(ticket: Ticket) -> String {
    format!(
        "admitted in epoch {} with rank {}",
        ticket.epoch, ticket.rank
    )
}

fn answer_text(answer: Answer) -> &'static str {
    match answer {
        Answer::Yes => "committed, accepted",
        Answer::SoldOut => "rejected: sold out",
        Answer::Already => "rejected: already participated",
        Answer::Ended => "rejected: ended",
        Answer::First => "answered with the first response to its key",
        Answer::Unknown => "answered 503",
    }
}

fn became(phase: Phase) -> String {
    match phase {
        Phase::Asking { not_in } => {
            format!("rejected, requests admission at a gate newer than epoch {not_in}")
        }
        Phase::Coming => String::new(),
        Phase::Refused(_) => "rejected, with a key".to_owned(),
        Phase::Looked(_) => "nothing found".to_owned(),
        Phase::Called(ticket) | Phase::Admitted(ticket) => held(ticket),
        Phase::Writing(_) => "lease checked, the transaction begins".to_owned(),
        Phase::Ended(answer) => answer_text(answer).to_owned(),
    }
}

fn happened(protocol: &Protocol, action: Action, before: &State, after: &State) -> String {
    let of = |id: usize| became(after.attempts[id].phase);
    match action {
        Action::Ask(id) => {
            let user = protocol.user_of[id] + 1;
            format!("{} (user {user}) requests admission: {}", name(id), of(id))
        }
        Action::AskLate(id) => format!(
            "{} requests admission: {}; the answer is late",
            name(id),
            of(id)
        ),
        Action::Answer(id) => format!("{} gets the answer", name(id)),
        Action::AskForNobody(id) => {
            format!("a call for {} that was given up is executed", name(id))
        }
        Action::Arrive(id) => format!("{} begins", name(id)),
        Action::Refuse(id) => format!(
            "{} confirms the rejection at the gate: {}",
            name(id),
            of(id)
        ),
        Action::Look(id) => format!("{} queries the store: {}", name(id), of(id)),
        Action::Begin(id) => format!("{}'s writer: {}", name(id), of(id)),
        Action::Commit(id) => format!("{}'s transaction: {}", name(id), of(id)),
        Action::Direct(id) => {
            let (name, of, epoch) = (name(id), of(id), after.store.epoch);
            format!("{name} on the database path: {of}; epoch {epoch}")
        }
        Action::Deliver(id) => {
            let is = match before.attempts[id].word {
                Some(Word::Settle(_)) => "committed",
                _ => "not committed",
            };
            format!("the writer notifies the gate that {} is {is}", name(id))
        }
        Action::LeaseEnds(id) => format!("the lease of {} expires", name(id)),
        Action::Raise(_) => format!("a rebuild raises the epoch to {}", after.store.epoch),
        Action::Read(by) => match before.rebuilds[by] {
            Rebuild::Raised(epoch) => {
                let rows = after.store.rows;
                let found = names((0..rows.len()).filter(|id| rows[*id].is_some()));
                format!("the rebuild of epoch {epoch} reads the committed participations: {found}")
            }
            _ => String::new(),
        },
        Action::Compare(by) => match after.rebuilds[by] {
            Rebuild::Ahead(epoch) => {
                format!("the rebuild finds the gate in epoch {epoch}, ahead of the store")
            }
            _ => "the rebuild ends".to_owned(),
        },
        Action::SwapTwice(_) => {
            "its state is swapped into the gate; the call will be executed again".to_owned()
        }
        Action::Swap(by) => match before.rebuilds[by] {
            Rebuild::Read { epoch, .. } if before.gate != after.gate => {
                format!("its state of epoch {epoch} is swapped into the gate")
            }
            _ => "its state is older than the gate's and is dropped".to_owned(),
        },
        Action::Advance(_, id) => taken_for_dead(id, before, after),
        Action::SweepSees(_, id) => format!("a sweeper finds the lease of {}", name(id)),
        Action::SweepLooks(by) | Action::SweepEnds(by) => swept(before.sweeps[by], after),
        _ => fault(action, after),
    }
}

fn fault(action: Action, after: &State) -> String {
    match action {
        Action::AttemptDies(id) => format!("the process that serves {} dies", name(id)),
        Action::RebuilderDies(_) => "the process that rebuilds dies".to_owned(),
        Action::SweeperDies(_) => "the process that sweeps dies".to_owned(),
        Action::GateSaves => "the gate's server writes a file".to_owned(),
        Action::GateIsLost => "the gate loses everything".to_owned(),
        Action::CampaignEnds => "the campaign ends".to_owned(),
        Action::StoreIsCopied => "the store is copied".to_owned(),
        Action::StoreIsSetBack => format!(
            "the store is set back to the copy, of epoch {}",
            after.store.epoch
        ),
        Action::Split => "a replica of the gate is promoted beside the primary".to_owned(),
        Action::Turn => "the next steps happen at the other primary".to_owned(),
        Action::Return => {
            "this primary becomes a replica of the other one, and is promoted again".to_owned()
        }
        Action::GateIsRestored => "the gate's server restarts from its file".to_owned(),
        _ => String::new(),
    }
}

fn taken_for_dead(id: usize, before: &State, after: &State) -> String {
    let (name, epoch) = (name(id), after.store.epoch);
    if before.gate == after.gate {
        return format!("the replica of {name} is taken for dead; the gate has another epoch");
    }
    format!(
        "the replica of {name} is taken for dead: the gate moves to epoch {epoch} without its lease"
    )
}

/// The next step of a sweep that had come this far.
fn swept(sweep: Sweep, after: &State) -> String {
    match sweep {
        Sweep::Idle => String::new(),
        Sweep::Saw { attempt, .. } => {
            let is = after.store.rows[attempt].map_or("not committed", |_| "committed");
            format!("the sweeper queries the store: {} is {is}", name(attempt))
        }
        Sweep::Knows {
            attempt, committed, ..
        } => {
            let does = if committed { "settles" } else { "releases" };
            format!("the sweeper {does} the lease of {}", name(attempt))
        }
    }
}

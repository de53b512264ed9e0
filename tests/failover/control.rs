//! The control: with asynchronous replication the last transactions are lost, and the judge must say so. All other
//! promises hold.

use std::collections::HashSet;

use uuid::Uuid;

use crate::evidence::Evidence;
use crate::judge::Breach;
use crate::ledger::{Answer, Outcome};

/// The violations without those that nobody can avoid who has lost the last transactions: lost acceptances, their keys,
/// and their records in the topic. It is a violation if there are none of these.
pub fn avoidable(found: Vec<Breach>, evidence: &Evidence) -> Vec<Breach> {
    let is_unavoidable = |breach: &Breach| ["I5", "key", "I4"].contains(&breach.promise.as_str());
    let (unavoidable, mut others): (Vec<Breach>, Vec<Breach>) =
        found.into_iter().partition(is_unavoidable);
    if unavoidable.is_empty() {
        others.push(Breach::new("control", "the judge found no lost answer"));
    }
    for breach in &unavoidable {
        eprintln!("    as expected: {}: {}", breach.promise, breach.what);
    }
    others.extend(unpublished(evidence));
    let waiting = evidence.pending.len() + evidence.parked.len();
    if waiting > 0 {
        others.push(Breach::new("I4", format!("{waiting} events wait")));
    }
    others
}

/// Accepted participations that do not exist.
pub fn lost(evidence: &Evidence, answers: &[Answer]) -> usize {
    let rows = evidence.participations.iter();
    let rows: HashSet<Uuid> = rows.map(|row| row.id).collect();
    let is_lost = |answer: &&Answer| match &answer.outcome {
        Outcome::Yes(yes) => !rows.contains(&yes.participation),
        _ => false,
    };
    answers.iter().filter(is_lost).count()
}

/// Events of the new primary that are not in the topic.
fn unpublished(evidence: &Evidence) -> Option<Breach> {
    let records = evidence.records.iter();
    let records: HashSet<Uuid> = records.map(|record| record.event).collect();
    let missing = evidence
        .events
        .iter()
        .filter(|event| !records.contains(&event.id));
    let missing: Vec<String> = missing
        .map(|event| format!("{} of campaign {}", event.place.1, event.place.0))
        .collect();
    let what = || format!("{} events were never published: {missing:?}", missing.len());
    (!missing.is_empty()).then(|| Breach::new("I4", what()))
}

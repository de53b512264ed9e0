//! Holds what clients were told, what is in the database and what is in the topic against each other.
//! Pure: it is shown to fail on planted violations.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;
use uuid::Uuid;

use crate::evidence::{Evidence, Participation, Seen};
use crate::ledger::{Answer, Outcome, Phase};
use crate::load::sends_keys;
use crate::schedule::Key;

/// Examples of the same breach that are told.
const EXAMPLES_MAX: usize = 5;

/// A promise that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// `I1` to `I8`, or a word for what is promised besides.
    pub promise: String,
    pub what: String,
}

impl Breach {
    pub fn new(promise: &str, what: impl Into<String>) -> Self {
        Self {
            promise: promise.to_owned(),
            what: what.into(),
        }
    }
}

/// All that is wrong.
pub fn judge(evidence: &Evidence, answers: &[Answer]) -> Vec<Breach> {
    let mut found = Found::default();
    stock(evidence, &mut found);
    users(evidence, &mut found);
    ranks(evidence, &mut found);
    outbox(evidence, &mut found);
    // The embedded broker's topic went with its process.
    if evidence.key.is_some() {
        topic(evidence, &mut found);
    }
    yeses(evidence, answers, &mut found);
    refusals(evidence, answers, &mut found);
    keys(evidence, answers, &mut found);
    found.breaches()
}

/// What was found, by promise: a few examples each, and how many there are.
#[derive(Default)]
struct Found(BTreeMap<&'static str, Vec<String>>);

impl Found {
    fn hold(&mut self, promise: &'static str, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.entry(promise).or_default().push(what());
        }
    }

    fn breaches(self) -> Vec<Breach> {
        let mut breaches = Vec::new();
        for (promise, whats) in self.0 {
            let more = whats.len().saturating_sub(EXAMPLES_MAX);
            let told = whats.into_iter().take(EXAMPLES_MAX);
            breaches.extend(told.map(|what| Breach::new(promise, what)));
            if more > 0 {
                breaches.push(Breach::new(promise, format!("… and {more} more")));
            }
        }
        breaches
    }
}

fn stock(evidence: &Evidence, found: &mut Found) {
    for campaign in &evidence.campaigns {
        let (id, held) = (campaign.id, evidence.units(campaign.id));
        let rows = |row: &&Participation| row.campaign == id;
        let count = evidence.participations.iter().filter(rows).count() as u64;
        if let Some(total) = campaign.total {
            let oversold = || format!("campaign {id}: {held} units of {total}");
            found.hold("I1", held <= total, oversold);
            let left =
                || format!("campaign {id}: {held} of {total} units sold, and no more could be");
            found.hold("I7", held >= total, left);
        }
        let committed = campaign.committed;
        found.hold("I1", committed == held, || {
            format!("campaign {id} counts {committed} units, its participations hold {held}")
        });
        found.hold("I1", campaign.count == count, || {
            format!(
                "campaign {id} counts {} participations, there are {count}",
                campaign.count
            )
        });
    }
}

fn users(evidence: &Evidence, found: &mut Found) {
    let mut held: BTreeMap<(i64, i64), u64> = BTreeMap::new();
    for row in &evidence.participations {
        *held.entry((row.campaign, row.user)).or_default() += u64::from(row.quantity);
    }
    for campaign in &evidence.campaigns {
        let limit = campaign.per_user_limit;
        for ((_, user), units) in held.range((campaign.id, i64::MIN)..=(campaign.id, i64::MAX)) {
            found.hold("I2", *units <= limit, || {
                format!(
                    "user {user} holds {units} of at most {limit} in campaign {}",
                    campaign.id
                )
            });
        }
        let rows = evidence.participations.iter();
        for row in rows.filter(|row| row.campaign == campaign.id) {
            found.hold(
                "I2",
                u64::from(row.quantity) <= campaign.max_quantity,
                || format!("{} takes {} units at once", row.id, row.quantity),
            );
        }
    }
}

fn ranks(evidence: &Evidence, found: &mut Found) {
    let mut seen = HashMap::new();
    for row in &evidence.participations {
        let other = seen.insert((row.campaign, row.rank), row.id);
        found.hold("rank", other.is_none() && row.rank > 0, || {
            format!(
                "campaign {}: rank {} is {}'s and {other:?}'s",
                row.campaign, row.rank, row.id
            )
        });
    }
}

fn outbox(evidence: &Evidence, found: &mut Found) {
    let mut events: HashMap<&str, u64> = HashMap::new();
    for event in &evidence.events {
        *events.entry(&event.participation).or_default() += 1;
    }
    for row in &evidence.participations {
        let count = events.remove(row.id.to_string().as_str()).unwrap_or(0);
        let what = || format!("participation {} has {count} outbox rows", row.id);
        found.hold("I3", count == 1, what);
    }
    for (participation, _) in events {
        let what = || format!("an outbox row tells of {participation}, which there is not");
        found.hold("I3", false, what);
    }
    found.hold("I4", evidence.pending == 0, || {
        format!("{} events are still pending", evidence.pending)
    });
    found.hold("I4", evidence.parked.is_empty(), || {
        format!(
            "{} events are parked: {:?}",
            evidence.parked.len(),
            evidence.parked
        )
    });
}

fn topic(evidence: &Evidence, found: &mut Found) {
    for what in &evidence.unreadable {
        found.hold("I8", false, || what.clone());
    }
    let known: HashSet<Uuid> = evidence.events.iter().map(|event| event.id).collect();
    let firsts = first_comings(&evidence.records);
    let seen: HashSet<Uuid> = firsts.iter().map(|record| record.event).collect();
    for record in &firsts {
        let id = record.event;
        found.hold("I4", known.contains(&id), || {
            format!("event {id} is in the topic and not ours")
        });
    }
    for event in evidence
        .events
        .iter()
        .filter(|event| !seen.contains(&event.id))
    {
        found.hold("I4", false, || {
            format!(
                "event {} of {} was never published",
                event.id, event.participation
            )
        });
    }
    let mut last_change: HashMap<Uuid, u32> = HashMap::new();
    let mut last_event: HashMap<(&str, i64), (Uuid, i32)> = HashMap::new();
    for record in &firsts {
        let last = last_change.insert(record.participation, record.sequence);
        found.hold("I8", record.sequence == last.unwrap_or(0) + 1, || {
            format!(
                "change {} of {} came after {last:?}",
                record.sequence, record.participation
            )
        });
        if evidence.key == Some(Key::Participation) {
            continue;
        }
        // Under a key that participations share, ids are in order of commit.
        let here = (record.event, record.partition);
        let key = (record.key.as_str(), record.campaign);
        if let Some((last, partition)) = last_event.insert(key, here) {
            found.hold(
                "I8",
                partition == record.partition && last < record.event,
                || {
                    format!(
                        "key {} of campaign {}: {} came after {last}",
                        key.0, key.1, record.event
                    )
                },
            );
        }
    }
}

/// Every event's first record. Partitions come mixed, but each in its order.
fn first_comings(records: &[Seen]) -> Vec<&Seen> {
    let mut seen = HashSet::new();
    let is_first = |record: &&Seen| seen.insert(record.event);
    records.iter().filter(is_first).collect()
}

/// Records whose event had come before.
pub fn redelivered(evidence: &Evidence) -> u64 {
    (evidence.records.len() - first_comings(&evidence.records).len()) as u64
}

fn yeses(evidence: &Evidence, answers: &[Answer], found: &mut Found) {
    let rows: HashMap<Uuid, &Participation> = evidence
        .participations
        .iter()
        .map(|row| (row.id, row))
        .collect();
    for answer in answers {
        let Outcome::Yes(yes) = &answer.outcome else {
            continue;
        };
        let asked = &answer.asked;
        found.hold(
            "I5",
            (yes.campaign, yes.user, yes.quantity) == (asked.campaign, asked.user, asked.quantity),
            || format!("{asked:?} was answered {yes:?}"),
        );
        let Some(row) = rows.get(&yes.participation) else {
            found.hold("I5", false, || {
                format!(
                    "yes at {:.2?} by replica {}, and no such row: {yes:?}",
                    answer.at, answer.replica
                )
            });
            continue;
        };
        let is_same = (row.campaign, row.user, row.quantity, row.rank)
            == (yes.campaign, yes.user, yes.quantity, yes.rank);
        found.hold("I5", is_same, || format!("told {yes:?}, kept {row:?}"));
    }
}

fn refusals(evidence: &Evidence, answers: &[Answer], found: &mut Found) {
    let theirs: HashSet<(Uuid, i64, i64)> = evidence
        .participations
        .iter()
        .map(|row| (row.id, row.campaign, row.user))
        .collect();
    for answer in answers {
        let asked = &answer.asked;
        match &answer.outcome {
            Outcome::Odd { status, body } => found.hold("answer", false, || {
                format!(
                    "{status} at {:.2?} by replica {}: {body}",
                    answer.at, answer.replica
                )
            }),
            Outcome::No { code, first } if code == "ALREADY_PARTICIPATED" => {
                let is_theirs = |id: &Uuid| theirs.contains(&(*id, asked.campaign, asked.user));
                found.hold("I5", first.as_ref().is_some_and(is_theirs), || {
                    format!(
                        "user {} was told of {first:?}, which is not theirs",
                        asked.user
                    )
                });
            }
            Outcome::No { code, .. } if answer.phase == Phase::Healing && code != "SOLD_OUT" => {
                found.hold("answer", false, || {
                    format!(
                        "a user nobody knew, {}, was refused with {code}",
                        asked.user
                    )
                });
            }
            _ => {}
        }
    }
}

/// A key leads to one participation, however often it is sent.
fn keys(evidence: &Evidence, answers: &[Answer], found: &mut Found) {
    let used: HashMap<(i64, &str), Uuid> = evidence
        .keys
        .iter()
        .map(|used| ((used.user, used.key.as_str()), used.participation))
        .collect();
    let mut sent: BTreeMap<(i64, i64), BTreeSet<&str>> = BTreeMap::new();
    for answer in answers {
        let Some(key) = &answer.asked.key else {
            continue;
        };
        let asked = &answer.asked;
        let of_user = sent.entry((asked.campaign, asked.user)).or_default();
        of_user.insert(key);
        if let Outcome::Yes(yes) = &answer.outcome {
            let kept = used.get(&(asked.user, key.as_str()));
            found.hold("key", kept == Some(&yes.participation), || {
                format!(
                    "key {key} was answered {}, and led to {kept:?}",
                    yes.participation
                )
            });
        }
    }
    let mut rows: BTreeMap<(i64, i64), usize> = BTreeMap::new();
    for row in &evidence.participations {
        *rows.entry((row.campaign, row.user)).or_default() += 1;
    }
    for ((campaign, user), keys) in sent.into_iter().filter(|((_, user), _)| sends_keys(*user)) {
        let made = rows.get(&(campaign, user)).copied().unwrap_or(0);
        found.hold("key", made <= keys.len(), || {
            format!(
                "user {user} sent {} keys and has {made} participations in campaign {campaign}",
                keys.len()
            )
        });
    }
}

//! Whether the records of a topic are what the relay promises: fed one after the other, it tells
//! first comings from re-deliveries and counts records out of order and gaps. Pure: who reads the
//! topic is not its business, and neither is what to do about what it finds.
//!
//! Order is what Kafka keeps: within a partition. The id of every event and the last change of every
//! participation are held: 46 bytes for an event that is the only one of its participation, in hash
//! tables that are 7/16 to 7/8 full. So a million events take 55 to 110 MB, and for a moment half as
//! much again while a table grows.

mod difference;
mod presence;
mod record;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};

use serde::Serialize;

use crate::domain::{CampaignId, ParticipationId};

pub use difference::{Difference, Differences, agree};
use presence::Arrivals;
pub use presence::Presence;
pub use record::{Sighting, feed};
pub use verdict::{CampaignVerdict, Expected, Gone, TopicVerdict, judge, table};

/// Examples of what is wrong that are kept.
const EXAMPLES_MAX: usize = 20;

/// How the records of one campaign came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Records, re-deliveries included.
    pub records: u64,
    /// Events: different ids.
    pub distinct: u64,
    /// Records whose event had come before. At-least-once delivery allows them.
    pub redelivered: u64,
    /// Events that came first after a later one of their key.
    pub out_of_order: u64,
    /// Events that came though the change before theirs never did. Means nothing where the beginning
    /// of the topic is gone, so it is not shown by itself.
    #[serde(skip)]
    pub gaps: u64,
    /// Events on another partition than the one before of their key: partitions were added since, and
    /// between the two there is no order.
    pub moved: u64,
}

/// What came of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By campaign.
    pub campaigns: BTreeMap<CampaignId, Tally>,
    /// Records that are not as the relay writes them, and so belong to no campaign.
    pub unreadable: u64,
    /// A few of the records that are wrong, by key and place.
    pub examples: Vec<String>,
    /// A few of the gaps.
    pub examples_of_gaps: Vec<String>,
    /// The events.
    pub presence: Presence,
}

/// Where the changes of one participation stand.
#[derive(Clone, Copy, Debug)]
struct Changes {
    partition: i32,
    /// 1 to this have all come.
    whole: u32,
}

/// The changes of one participation that came though one before them has not.
#[derive(Debug)]
struct Ahead {
    campaign: CampaignId,
    sequences: BTreeSet<u32>,
}

/// Takes the records of one topic, those of a partition in the order of their offsets.
#[derive(Debug, Default)]
pub struct Checker {
    events: Arrivals,
    participations: HashMap<ParticipationId, Changes>,
    ahead: HashMap<ParticipationId, Ahead>,
    /// The latest position of a campaign under a key that several participations share, by the hash of
    /// both: whole keys would take most of the memory.
    shared: HashMap<u64, (i32, u64)>,
    hasher: RandomState,
    report: Report,
}

impl Checker {
    /// Takes one record.
    pub fn see(&mut self, sighting: &Sighting<'_>) {
        let tally = self.report.campaigns.entry(sighting.campaign).or_default();
        tally.records += 1;
        if !self.events.see(sighting) {
            tally.redelivered += 1;
            return;
        }
        tally.distinct += 1;
        let by_change = self.place_change(sighting);
        let by_key = self.place_event(sighting);
        let moved = by_change == Place::Elsewhere || by_key == Place::Elsewhere;
        let late = by_change == Place::Late || by_key == Place::Late;
        let tally = self.report.campaigns.entry(sighting.campaign).or_default();
        tally.moved += u64::from(moved);
        tally.out_of_order += u64::from(late);
        if late {
            keep(&mut self.report.examples, || {
                format!(
                    "campaign {}, key {}: event {} (change {} of {}) at partition {} offset {} came after a later one",
                    sighting.campaign,
                    sighting.key,
                    sighting.event,
                    sighting.sequence,
                    sighting.participation,
                    sighting.partition,
                    sighting.offset,
                )
            });
        }
    }

    /// Counts a record that is not as the relay writes them.
    pub fn see_unreadable(&mut self, partition: i32, offset: i64, what: &str) {
        self.report.unreadable += 1;
        let example = || format!("partition {partition} offset {offset}: {what}");
        keep(&mut self.report.examples, example);
    }

    /// What came of it.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let mut ahead: Vec<_> = std::mem::take(&mut self.ahead).into_iter().collect();
        ahead.sort_by_key(|(participation, _)| *participation);
        for (participation, ahead) in ahead {
            for sequence in &ahead.sequences {
                // What stands in `ahead` begins after a gap, so 1 never does.
                if ahead.sequences.contains(&(sequence - 1)) {
                    continue;
                }
                let tally = self.report.campaigns.entry(ahead.campaign).or_default();
                tally.gaps += 1;
                let campaign = ahead.campaign;
                let gap = || {
                    format!(
                        "campaign {campaign}: change {sequence} of {participation} came without the one before it"
                    )
                };
                keep(&mut self.report.examples_of_gaps, gap);
            }
        }
        self.report.presence = self.events.finish();
        self.report
    }

    /// Changes of one participation come as 1, 2, 3, …, whatever the key.
    fn place_change(&mut self, sighting: &Sighting<'_>) -> Place {
        let (subject, sequence) = (sighting.participation, sighting.sequence);
        let changes = self.participations.entry(subject).or_insert(Changes {
            partition: sighting.partition,
            whole: 0,
        });
        let is_elsewhere = changes.partition != sighting.partition;
        changes.partition = sighting.partition;
        let ahead = self.ahead.get(&subject);
        let last = ahead.and_then(|ahead| ahead.sequences.last().copied());
        // Another event with a number that has come already is late, too.
        let is_late = sequence <= last.unwrap_or(changes.whole);
        if sequence == changes.whole + 1 {
            changes.whole = sequence;
            self.join(subject);
        } else if sequence > changes.whole {
            let ahead = self.ahead.entry(subject).or_insert_with(|| Ahead {
                campaign: sighting.campaign,
                sequences: BTreeSet::new(),
            });
            ahead.sequences.insert(sequence);
        }
        Place::of(is_elsewhere, is_late)
    }

    /// Takes over what came ahead and now has everything before it.
    fn join(&mut self, subject: ParticipationId) {
        let Some(changes) = self.participations.get_mut(&subject) else {
            return;
        };
        let Some(ahead) = self.ahead.get_mut(&subject) else {
            return;
        };
        while ahead.sequences.remove(&(changes.whole + 1)) {
            changes.whole += 1;
        }
        if ahead.sequences.is_empty() {
            self.ahead.remove(&subject);
        }
    }

    /// Under a key that participations share, the events of a campaign come in the order of its stream.
    fn place_event(&mut self, sighting: &Sighting<'_>) -> Place {
        if sighting.is_keyed_by_participation() {
            return Place::Next;
        }
        let key = self.hasher.hash_one((sighting.key, sighting.campaign));
        let here = (sighting.partition, sighting.position);
        let latest = self.shared.entry(key).or_insert(here);
        let is_elsewhere = latest.0 != sighting.partition;
        let is_late = sighting.position < latest.1;
        *latest = if is_elsewhere {
            here
        } else {
            (latest.0, latest.1.max(sighting.position))
        };
        Place::of(is_elsewhere, is_late)
    }
}

/// A few examples are enough, and their number has a bound.
fn keep(examples: &mut Vec<String>, example: impl FnOnce() -> String) {
    if examples.len() < EXAMPLES_MAX {
        examples.push(example());
    }
}

/// How an event stands to those of its key that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Next,
    Late,
    Elsewhere,
}

impl Place {
    fn of(is_elsewhere: bool, is_late: bool) -> Self {
        match (is_elsewhere, is_late) {
            // Nothing says which of two partitions is to be read first.
            (true, _) => Self::Elsewhere,
            (false, true) => Self::Late,
            (false, false) => Self::Next,
        }
    }
}

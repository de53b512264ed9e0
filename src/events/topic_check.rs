//! Checks the records of a topic against the promises of the relay: counts redeliveries, events out of order, and
//! gaps. Pure: it does not read the topic, and does not decide what to do about its findings.
//!
//! Kafka orders records within a partition only. The checker stores the id of every event and the last change of
//! every participation. An event that is the only one of its participation takes 46 bytes, in hash tables that are
//! 7/16 to 7/8 full. So a million events take 55 to 110 MB, and 50 % more while a table grows.

mod difference;
mod highest;
mod late;
mod latest;
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
pub use highest::HighestIds;
pub use late::{LateEvent, LateEvents};
pub use latest::{LatestChange, LatestChanges};
pub use presence::Presence;
use presence::PresenceBuilder;
pub use record::{ChangeRecord, feed};
pub use verdict::{CampaignVerdict, Expected, TopicVerdict, Truncation, judge, table};

/// Largest number of examples of one kind.
const EXAMPLES_MAX: usize = 20;

/// Counts of one campaign's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Records, re-deliveries included.
    pub records: u64,
    /// Events: distinct ids.
    pub distinct: u64,
    /// Records of an event that was already seen. At-least-once delivery allows them.
    pub redelivered: u64,
    /// Events whose first record follows that of a later event with the same key, except for the replayed ones.
    pub out_of_order: u64,
    /// Replayed dead letters among the late events: later events of their key may come before them.
    pub replayed: u64,
    /// Events whose preceding change of the same participation is missing. Meaningless if the topic is truncated, so
    /// it is not shown by itself.
    #[serde(skip)]
    pub gaps: u64,
    /// Events in another partition than the previous event with the same key, because partitions were added. There
    /// is no order between partitions.
    pub moved: u64,
}

/// The findings about a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By campaign.
    pub campaigns: BTreeMap<CampaignId, Tally>,
    /// Records that the relay did not write. They belong to no campaign.
    pub unreadable: u64,
    /// The events out of order. Until the replayed ones are known, these are all late events.
    pub late: LateEvents,
    /// A few of the records that the relay did not write, with partition and offset.
    pub examples: Vec<String>,
    /// A few of the gaps.
    pub examples_of_gaps: Vec<String>,
    /// The events in the topic.
    pub presence: Presence,
}

/// The changes of one participation, up to its first gap.
#[derive(Clone, Copy, Debug)]
struct Changes {
    partition: i32,
    /// All changes from 1 to this one were seen.
    complete_to: u32,
}

/// The changes of one participation after a gap.
#[derive(Debug)]
struct Ahead {
    campaign: CampaignId,
    sequences: BTreeSet<u32>,
}

/// Adds the records of one topic; those of a partition in the order of their offsets.
#[derive(Debug, Default)]
pub struct Checker {
    events: PresenceBuilder,
    participations: HashMap<ParticipationId, Changes>,
    ahead: HashMap<ParticipationId, Ahead>,
    /// The partition and latest position of each campaign and shared key, by the hash of both: the keys themselves
    /// would take most of the memory.
    shared: HashMap<u64, (i32, u64)>,
    hasher: RandomState,
    report: Report,
}

impl Checker {
    /// Adds one record.
    pub fn add(&mut self, record: &ChangeRecord<'_>) {
        let tally = self.report.campaigns.entry(record.campaign).or_default();
        tally.records += 1;
        if !self.events.add(record) {
            tally.redelivered += 1;
            return;
        }
        tally.distinct += 1;
        let by_change = self.check_change(record);
        let by_key = self.check_key(record);
        let moved = by_change == Order::OtherPartition || by_key == Order::OtherPartition;
        let late = by_change == Order::Late || by_key == Order::Late;
        let tally = self.report.campaigns.entry(record.campaign).or_default();
        tally.moved += u64::from(moved);
        tally.out_of_order += u64::from(late);
        if late {
            self.report.late.add(record);
        }
    }

    /// Counts a record that the relay did not write.
    pub fn add_unreadable(&mut self, partition: i32, offset: i64, problem: &str) {
        self.report.unreadable += 1;
        let example = || format!("partition {partition} offset {offset}: {problem}");
        add_example(&mut self.report.examples, example);
    }

    /// The findings.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let mut ahead: Vec<_> = std::mem::take(&mut self.ahead).into_iter().collect();
        ahead.sort_by_key(|(participation, _)| *participation);
        for (participation, ahead) in ahead {
            for sequence in &ahead.sequences {
                // `ahead` begins after a gap, so it never contains 1.
                if ahead.sequences.contains(&(sequence - 1)) {
                    continue;
                }
                let tally = self.report.campaigns.entry(ahead.campaign).or_default();
                tally.gaps += 1;
                let campaign = ahead.campaign;
                let gap = || {
                    format!(
                        "campaign {campaign}: change {sequence} of {participation} has no preceding change"
                    )
                };
                add_example(&mut self.report.examples_of_gaps, gap);
            }
        }
        self.report.presence = self.events.finish();
        self.report
    }

    /// The changes of one participation are numbered 1, 2, 3, …, with any kind of key.
    fn check_change(&mut self, record: &ChangeRecord<'_>) -> Order {
        let (subject, sequence) = (record.participation, record.sequence);
        let changes = self.participations.entry(subject).or_insert(Changes {
            partition: record.partition,
            complete_to: 0,
        });
        let is_other_partition = changes.partition != record.partition;
        changes.partition = record.partition;
        let ahead = self.ahead.get(&subject);
        let last = ahead.and_then(|ahead| ahead.sequences.last().copied());
        // A different event with a known number is also late.
        let is_late = sequence <= last.unwrap_or(changes.complete_to);
        if sequence == changes.complete_to + 1 {
            changes.complete_to = sequence;
            self.close_gap(subject);
        } else if sequence > changes.complete_to {
            let ahead = self.ahead.entry(subject).or_insert_with(|| Ahead {
                campaign: record.campaign,
                sequences: BTreeSet::new(),
            });
            ahead.sequences.insert(sequence);
        }
        Order::of(is_other_partition, is_late)
    }

    /// Advances `complete_to` over changes that no longer follow a gap.
    fn close_gap(&mut self, subject: ParticipationId) {
        let Some(changes) = self.participations.get_mut(&subject) else {
            return;
        };
        let Some(ahead) = self.ahead.get_mut(&subject) else {
            return;
        };
        while ahead.sequences.remove(&(changes.complete_to + 1)) {
            changes.complete_to += 1;
        }
        if ahead.sequences.is_empty() {
            self.ahead.remove(&subject);
        }
    }

    /// With a key that several participations share, the events of a campaign are in the order of its stream.
    fn check_key(&mut self, record: &ChangeRecord<'_>) -> Order {
        if record.is_keyed_by_participation() {
            return Order::Next;
        }
        let key = self.hasher.hash_one((record.key, record.campaign));
        let here = (record.partition, record.position);
        let latest = self.shared.entry(key).or_insert(here);
        let is_other_partition = latest.0 != record.partition;
        let is_late = record.position < latest.1;
        *latest = if is_other_partition {
            here
        } else {
            (latest.0, latest.1.max(record.position))
        };
        Order::of(is_other_partition, is_late)
    }
}

/// Adds an example, up to the maximum.
fn add_example(examples: &mut Vec<String>, example: impl FnOnce() -> String) {
    if examples.len() < EXAMPLES_MAX {
        examples.push(example());
    }
}

/// The order of an event and the earlier ones with the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Next,
    Late,
    OtherPartition,
}

impl Order {
    fn of(is_other_partition: bool, is_late: bool) -> Self {
        match (is_other_partition, is_late) {
            // There is no order between two partitions.
            (true, _) => Self::OtherPartition,
            (false, true) => Self::Late,
            (false, false) => Self::Next,
        }
    }
}

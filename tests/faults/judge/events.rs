//! Checks that the outbox and the topic contain every change once, and in order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::Found;
use crate::evidence::{Campaign, Event, Evidence, Participation, Seen};
use crate::key::Key;

/// A campaign, and a sequence in its stream.
type StreamPlace = (i64, i64);

/// The common prefix of event types.
const KIND: &str = "firstcome.participation.";

pub(super) fn judge(evidence: &Evidence, found: &mut Found) {
    outbox(evidence, found);
    // The topic of the embedded broker ended with its process.
    if evidence.key.is_some() {
        topic(evidence, found);
    }
}

fn outbox(evidence: &Evidence, found: &mut Found) {
    let mut events: HashMap<&str, Vec<&Event>> = HashMap::new();
    for event in &evidence.events {
        events.entry(&event.participation).or_default().push(event);
    }
    for row in &evidence.participations {
        let its = events.remove(row.id.to_string().as_str());
        changes(evidence, row, its.unwrap_or_default(), found);
    }
    for (participation, _) in events {
        let what = || format!("an outbox row tells of {participation}, which there is not");
        found.hold("I3", false, what);
    }
    for (campaign, purged) in &evidence.purged {
        let theirs = |event: &&Event| event.is_purged && event.place.0 == *campaign;
        let published = evidence.events.iter().filter(theirs).count() as u64;
        found.hold("I4", published == *purged, || {
            format!("campaign {campaign}: {purged} events were deleted, and {published} of them published")
        });
    }
    let mut streams: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for event in &evidence.events {
        let (campaign, sequence) = event.place;
        streams.entry(campaign).or_default().insert(sequence);
    }
    for (campaign, sequences) in streams {
        let last = i64::try_from(sequences.len()).unwrap();
        found.hold("I3", sequences.iter().copied().eq(1..=last), || {
            format!(
                "the stream of campaign {campaign} has a gap: {} events",
                sequences.len()
            )
        });
    }
    found.hold("I4", evidence.pending.is_empty(), || {
        format!("events are still pending: {:?}", evidence.pending)
    });
    found.hold("I4", evidence.parked.is_empty(), || {
        format!(
            "{} events are parked: {:?}",
            evidence.parked.len(),
            evidence.parked
        )
    });
}

/// There is an event for each change, from the first to the current state.
fn changes(evidence: &Evidence, row: &Participation, mut its: Vec<&Event>, found: &mut Found) {
    its.sort_by_key(|event| event.sequence);
    let sequences: Vec<u32> = its.iter().map(|event| event.sequence).collect();
    if !sequences.iter().copied().eq(1..=row.version) {
        found.hold("I3", false, || {
            format!(
                "participation {} changed {} times, its outbox rows tell of changes {sequences:?}",
                row.id, row.version
            )
        });
        return;
    }
    let campaigns = &evidence.campaigns;
    let campaign = campaigns.iter().find(|one| one.id == row.campaign);
    let words: Vec<&str> = its
        .iter()
        .map(|event| event.kind.strip_prefix(KIND).unwrap_or(&event.kind))
        .collect();
    let before = std::iter::once(None).chain(words.iter().copied().map(Some));
    let mut steps = before.zip(&words);
    // A line of an order is reserved first, and follows its order.
    let is_lawful = if evidence.lines.contains(&row.id) {
        let can_be_cancelled = campaign.is_some_and(|one| one.is_cancellable);
        let is_paid = campaign.is_some_and(|one| one.is_paid);
        match words[..] {
            ["reserved"] | ["reserved", "confirmed" | "cancelled"] => true,
            ["reserved", "expired"] => is_paid,
            ["reserved", "confirmed", "cancelled"] => can_be_cancelled,
            _ => false,
        }
    } else {
        campaign.is_some_and(|one| steps.all(|(from, to)| can_become(one, from, to)))
    };
    let is_last = words.last() == Some(&row.status.as_str());
    found.hold("I3", is_lawful && is_last, || {
        format!(
            "participation {} is {}, and its events are {words:?}",
            row.id, row.status
        )
    });
}

/// The allowed changes; at first there is no state.
fn can_become(campaign: &Campaign, from: Option<&str>, to: &str) -> bool {
    match (from, to) {
        (None, "reserved") => campaign.is_paid,
        (None, "confirmed") => !campaign.is_paid,
        (Some("reserved"), "confirmed" | "cancelled" | "expired") => true,
        (Some("confirmed"), "cancelled") => campaign.is_cancellable,
        _ => false,
    }
}

fn topic(evidence: &Evidence, found: &mut Found) {
    for what in &evidence.unreadable {
        found.hold("I8", false, || what.clone());
    }
    let known: HashMap<Uuid, &Event> = evidence.events.iter().map(|one| (one.id, one)).collect();
    let firsts = first_comings(&evidence.records);
    let seen: HashSet<Uuid> = firsts.iter().map(|record| record.event).collect();
    for record in &firsts {
        let id = record.event;
        let stored = known.get(&id);
        let is_same = stored.is_some_and(|stored| {
            stored.participation == record.participation.to_string()
                && stored.sequence == record.sequence
        });
        found.hold("I4", is_same, || {
            format!("event {id} is {record:?} in the topic and {stored:?} in the outbox")
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
    let order = Order {
        firsts,
        known,
        replayed: &evidence.replayed,
    };
    order.of_changes(found);
    match evidence.key {
        Some(Key::Participation) => {}
        _ if evidence.keys_moved => order.of_moved_keys(found),
        _ => order.of_shared_keys(found),
    }
}

/// The order of the topic. A replayed dead letter may come after later events of its key, and no other event may.
struct Order<'a> {
    /// The first record of each event.
    firsts: Vec<&'a Seen>,
    known: HashMap<Uuid, &'a Event>,
    replayed: &'a HashSet<Uuid>,
}

impl Order<'_> {
    fn may_be_late(&self, record: &Seen) -> bool {
        self.replayed.contains(&record.event)
    }

    /// The records of stored events, with their places.
    fn placed(&self) -> impl Iterator<Item = (&Seen, StreamPlace)> {
        let place = |record: &Seen| self.known.get(&record.event).map(|event| event.place);
        let records = self.firsts.iter();
        records.filter_map(move |record| Some((*record, place(record)?)))
    }

    /// The changes of a participation come in order, each once, and none is missing.
    fn of_changes(&self, found: &mut Found) {
        let mut seen: BTreeMap<Uuid, BTreeSet<u32>> = BTreeMap::new();
        for record in &self.firsts {
            let before = seen.entry(record.participation).or_default();
            let last = before.last().copied();
            let is_next = last < Some(record.sequence) || self.may_be_late(record);
            let is_new = before.insert(record.sequence);
            found.hold("I8", is_new && is_next, || {
                let (change, of) = (record.sequence, record.participation);
                format!("change {change} of {of} came after {last:?}")
            });
        }
        for (participation, changes) in seen {
            let is_complete = (1..).zip(&changes).all(|(nth, change)| nth == *change);
            found.hold("I8", is_complete, || {
                format!("of {participation} only changes {changes:?} came")
            });
        }
    }

    /// Under a key that participations share, events come in the order of their stream.
    fn of_shared_keys(&self, found: &mut Found) {
        let mut keys: HashMap<(&str, i64), (StreamPlace, i32)> = HashMap::new();
        for (record, place) in self.placed() {
            let key = (record.key.as_str(), record.campaign);
            let Some((last, partition)) = keys.get_mut(&key) else {
                keys.insert(key, (place, record.partition));
                continue;
            };
            let is_next = *last < place || self.may_be_late(record);
            found.hold("I8", *partition == record.partition && is_next, || {
                format!(
                    "key {} of campaign {}: {place:?} came after {last:?}",
                    key.0, key.1
                )
            });
            *last = place.max(*last);
        }
    }

    /// After partitions were added, a key is in one or two of them: in order in each, and first in the old one. Replayed
    /// dead letters are in either.
    fn of_moved_keys(&self, found: &mut Found) {
        let mut keys: BTreeMap<(&str, i64), BTreeMap<i32, Vec<StreamPlace>>> = BTreeMap::new();
        for (record, place) in self.placed() {
            let key = (record.key.as_str(), record.campaign);
            let places = keys.entry(key).or_default().entry(record.partition);
            let places = places.or_default();
            places.extend((!self.may_be_late(record)).then_some(place));
        }
        moved_keys(keys, found);
    }
}

fn moved_keys(keys: BTreeMap<(&str, i64), BTreeMap<i32, Vec<StreamPlace>>>, found: &mut Found) {
    for ((key, campaign), partitions) in keys {
        let mut partitions: Vec<(i32, Vec<StreamPlace>)> = partitions.into_iter().collect();
        partitions.sort_by_key(|(_, places)| places.iter().min().copied());
        let places: Vec<StreamPlace> = partitions
            .iter()
            .flat_map(|(_, places)| places.iter().copied())
            .collect();
        let is_ordered = partitions.len() <= 2 && places.is_sorted();
        found.hold("I8", is_ordered, || {
            format!("key {key} of campaign {campaign}, by partition: {partitions:?}")
        });
    }
}

/// The first record of each event. Partitions are mixed, each in its order.
fn first_comings(records: &[Seen]) -> Vec<&Seen> {
    let mut seen = HashSet::new();
    let is_first = |record: &&Seen| seen.insert(record.event);
    records.iter().filter(is_first).collect()
}

/// Events that came after a later one of their key.
pub fn late(evidence: &Evidence) -> u64 {
    let mut latest: HashMap<(&str, i64), i64> = HashMap::new();
    let mut late = 0;
    for record in first_comings(&evidence.records) {
        let key = (record.key.as_str(), record.campaign);
        let latest = latest.entry(key).or_insert(record.position);
        late += u64::from(record.position < *latest);
        *latest = record.position.max(*latest);
    }
    late
}

/// Records of an event that was already read.
pub fn redelivered(evidence: &Evidence) -> u64 {
    (evidence.records.len() - first_comings(&evidence.records).len()) as u64
}

//! The events in a topic, by id and by segment, to compare their sums with the sums of the published events in the
//! database.

use std::collections::{BTreeMap, HashMap};

use super::ChangeRecord;
use crate::domain::EventId;
use crate::parts::store::{EventSums, Segment};

/// Collects events in the order of the topic.
#[derive(Debug, Default)]
pub(super) struct PresenceBuilder {
    /// The number of the segment of each event. Segments are numbered in the order in which they are seen.
    events: HashMap<EventId, u32>,
    numbers: HashMap<Segment, u32>,
    /// By number of the segment.
    sums: Vec<(Segment, EventSums)>,
}

impl PresenceBuilder {
    /// Adds an event, and returns whether it is the first with this id.
    pub(super) fn add(&mut self, record: &ChangeRecord<'_>) -> bool {
        let segment = Segment::of(record.campaign, record.rank);
        let next = u32::try_from(self.sums.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(segment).or_insert(next);
        if number == next {
            self.sums.push((segment, EventSums::default()));
        }
        if self.events.contains_key(&record.event) {
            return false;
        }
        self.events.insert(record.event, number);
        let nth = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some((_, sums)) = self.sums.get_mut(nth) {
            sums.add(record.rank, record.sequence, record.event);
        }
        true
    }

    pub(super) fn finish(self) -> Presence {
        let mut events: Vec<(u32, EventId)> = Vec::with_capacity(self.events.len());
        events.extend(
            self.events
                .into_iter()
                .map(|(event, number)| (number, event)),
        );
        events.sort_unstable();
        Presence {
            events,
            numbers: self.numbers.into_iter().collect(),
            sums: self.sums.into_iter().collect(),
        }
    }
}

/// The events in a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Ordered by the number of their segment, then by id.
    events: Vec<(u32, EventId)>,
    numbers: BTreeMap<Segment, u32>,
    sums: BTreeMap<Segment, EventSums>,
}

impl Presence {
    /// The sums over the events of each segment.
    #[must_use]
    pub const fn sums(&self) -> &BTreeMap<Segment, EventSums> {
        &self.sums
    }

    /// The events of a segment, in order of id.
    pub fn within(&self, segment: Segment) -> impl Iterator<Item = EventId> + '_ {
        let number = self.numbers.get(&segment).copied();
        let from = self.events.partition_point(|(of, _)| Some(*of) < number);
        let rest = self.events.get(from..).unwrap_or_default();
        rest.iter()
            .take_while(move |(of, _)| Some(*of) == number)
            .map(|(_, event)| *event)
    }
}

//! Which events a topic has: by id, and by the segment of their campaign, so that what they sum up to there
//! can be compared with what the database says was published.

use std::collections::{BTreeMap, HashMap};

use super::Sighting;
use crate::domain::EventId;
use crate::parts::store::{EventSums, Segment};

/// Takes events as they come.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// By event: the number of its segment among those seen.
    events: HashMap<EventId, u32>,
    numbers: HashMap<Segment, u32>,
    /// In the order of the numbers.
    sums: Vec<(Segment, EventSums)>,
}

impl Arrivals {
    /// Takes one; whether it is the first with this id.
    pub(super) fn see(&mut self, sighting: &Sighting<'_>) -> bool {
        let segment = Segment::of(sighting.campaign, sighting.rank);
        let next = u32::try_from(self.sums.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(segment).or_insert(next);
        if number == next {
            self.sums.push((segment, EventSums::default()));
        }
        if self.events.contains_key(&sighting.event) {
            return false;
        }
        self.events.insert(sighting.event, number);
        let nth = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some((_, sums)) = self.sums.get_mut(nth) {
            sums.add(sighting.rank, sighting.sequence, sighting.event);
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

/// The events of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// In order, each with the number of its segment.
    events: Vec<(u32, EventId)>,
    numbers: BTreeMap<Segment, u32>,
    sums: BTreeMap<Segment, EventSums>,
}

impl Presence {
    /// What the events of each segment sum up to.
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

//! What a topic lacks of what was published, and has of what never was.

use std::collections::BTreeMap;

use super::Presence;
use crate::domain::{CampaignId, EventId};
use crate::parts::store::{EventRow, EventSums, Purged, Segment};

/// Missing events that are remembered for a second look, in all.
const MISSING_MAX: usize = 100_000;

/// What differs of one campaign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Events that are published and not in the topic.
    missing_count: u64,
    /// The same of those that are deleted in the database.
    lost_purged: u64,
    /// Events in the topic that the database does not have.
    pub phantoms: u64,
    /// Those of the first that are remembered, in order of id.
    pub missing: Vec<EventRow>,
    /// A few phantoms.
    pub examples: Vec<EventId>,
}

impl Difference {
    /// Events that are published and not in the topic.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.missing_count + self.lost_purged
    }
}

/// What differs, by campaign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Those in which something does.
    pub campaigns: BTreeMap<CampaignId, Difference>,
    remembered: usize,
}

/// Whether the two sides of a segment agree by their sums. What is deleted is known by the changes it was
/// about, and not by its ids: where only a part of a segment is, its events are to be compared one by one.
#[must_use]
pub fn agree(topic: EventSums, published: EventSums, purged: Purged) -> bool {
    let is_same_changes = topic.events == published.events + purged.events
        && topic.changes == published.changes.wrapping_add(purged.digest);
    let is_same_ids = match (published.events, purged.events) {
        (_, 0) => topic.ids == published.ids,
        (0, _) => true,
        _ => false,
    };
    is_same_changes && is_same_ids
}

impl Differences {
    /// Compares a segment event by event. `events` were read after the topic, so whatever is in it has its
    /// row, unless it is deleted or never was.
    pub fn compare(
        &mut self,
        segment: Segment,
        presence: &Presence,
        mut events: Vec<EventRow>,
        purged: Purged,
    ) {
        events.sort_unstable_by_key(|event| event.id);
        let mut found = Difference::default();
        let mut known = EventSums::default();
        let mut unknown = 0_u64;
        let mut rows = events.iter().peekable();
        for id in presence.within(segment) {
            while let Some(lacking) = rows.next_if(|row| row.id < id) {
                self.miss(&mut found, lacking);
            }
            if let Some(row) = rows.next_if(|row| row.id == id) {
                known.add(row.rank, row.sequence, row.id);
            } else {
                unknown += 1;
                if found.examples.len() < super::EXAMPLES_MAX {
                    found.examples.push(id);
                }
            }
        }
        for lacking in rows {
            self.miss(&mut found, lacking);
        }
        let sums = presence.sums().get(&segment).copied().unwrap_or_default();
        let changes = sums.changes.wrapping_sub(known.changes);
        found.phantoms = unknown.saturating_sub(purged.events);
        found.lost_purged = purged.events.saturating_sub(unknown);
        if unknown == purged.events && changes != purged.digest {
            // As many as were deleted, and not the same: one of each at least.
            (found.phantoms, found.lost_purged) = (1, 1);
        }
        if purged.events > 0 {
            // Which of them are the deleted ones is not known.
            found.examples.clear();
        }
        self.add(segment.campaign, found);
    }

    fn miss(&mut self, found: &mut Difference, event: &EventRow) {
        if event.waits {
            return;
        }
        found.missing_count += 1;
        if self.remembered < MISSING_MAX {
            self.remembered += 1;
            found.missing.push(*event);
        }
    }

    fn add(&mut self, campaign: CampaignId, found: Difference) {
        if found == Difference::default() {
            return;
        }
        let of = self.campaigns.entry(campaign).or_default();
        of.missing_count += found.missing_count;
        of.lost_purged += found.lost_purged;
        of.phantoms += found.phantoms;
        of.missing.extend(found.missing);
        of.missing.sort_unstable_by_key(|event| event.id);
        of.examples.extend(found.examples);
        of.examples.truncate(super::EXAMPLES_MAX);
    }

    /// Whether an event is missing that may have come to the topic after it was read.
    #[must_use]
    pub fn is_lacking(&self) -> bool {
        self.campaigns.values().any(|one| !one.missing.is_empty())
    }

    /// Leaves out what was not missing before, at an earlier look: it was published since.
    #[must_use]
    pub fn since(mut self, earlier: &Self) -> Self {
        for (campaign, one) in &mut self.campaigns {
            let before = earlier.campaigns.get(campaign);
            // Where they were too many to be remembered, they did not come since.
            if before.is_some_and(|it| it.missing_count > count(&it.missing)) {
                continue;
            }
            let before = before.map_or(&[][..], |it| &it.missing);
            one.missing.retain(|event| {
                let found = before.binary_search_by_key(&event.id, |event| event.id);
                found.is_ok()
            });
            one.missing_count = count(&one.missing);
        }
        self
    }
}

fn count(events: &[EventRow]) -> u64 {
    u64::try_from(events.len()).unwrap_or(u64::MAX)
}

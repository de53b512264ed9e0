//! Compares the events in a topic with the published events in the database: lost events and phantoms.

use std::collections::BTreeMap;

use super::Presence;
use crate::domain::{CampaignId, EventId};
use crate::parts::store::{EventRow, EventSums, Purged, Segment};

/// Largest number of missing events that are stored for the second check.
const MISSING_MAX: usize = 100_000;

/// The differences of one campaign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Published events that are not in the topic.
    missing_count: u64,
    /// Purged events that are not in the topic.
    lost_purged: u64,
    /// Events in the topic that the database does not have.
    pub phantoms: u64,
    /// The missing events, in order of id, up to a bound for all campaigns.
    pub missing: Vec<EventRow>,
    /// A few phantoms.
    pub examples: Vec<EventId>,
}

impl Difference {
    /// Published events that are not in the topic, purged ones included.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.missing_count + self.lost_purged
    }
}

/// The differences, by campaign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// The campaigns with differences.
    pub campaigns: BTreeMap<CampaignId, Difference>,
    stored: usize,
}

/// Whether the sums of a segment are equal in the topic and in the database. For purged events the database knows the
/// changes but not the ids, so a partly purged segment must be compared event by event.
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
    /// Compares a segment event by event. `events` were read after the topic, so every event of the topic has a row,
    /// unless it was purged or never existed.
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
            while let Some(missing) = rows.next_if(|row| row.id < id) {
                self.add_missing(&mut found, missing);
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
        for missing in rows {
            self.add_missing(&mut found, missing);
        }
        let sums = presence.sums().get(&segment).copied().unwrap_or_default();
        let changes = sums.changes.wrapping_sub(known.changes);
        found.phantoms = unknown.saturating_sub(purged.events);
        found.lost_purged = purged.events.saturating_sub(unknown);
        if unknown == purged.events && changes != purged.digest {
            // As many as were purged, but not the same events: at least one lost event and one phantom.
            (found.phantoms, found.lost_purged) = (1, 1);
        }
        if purged.events > 0 {
            // It is unknown which of them were purged.
            found.examples.clear();
        }
        self.add(segment.campaign, found);
    }

    fn add_missing(&mut self, found: &mut Difference, event: &EventRow) {
        if event.waits {
            return;
        }
        found.missing_count += 1;
        if self.stored < MISSING_MAX {
            self.stored += 1;
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

    /// Whether events are missing. They may have been published after the topic was read.
    #[must_use]
    pub fn has_missing(&self) -> bool {
        self.campaigns.values().any(|one| !one.missing.is_empty())
    }

    /// Selects the events that were also missing in an earlier check: the others were published since.
    #[must_use]
    pub fn missing_since(mut self, earlier: &Self) -> Self {
        for (campaign, one) in &mut self.campaigns {
            let before = earlier.campaigns.get(campaign);
            // The earlier check did not store all of them, so all count as missing.
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

//! Events that came after a later one of their key. Only replayed dead letters are
//! allowed to.

use std::collections::BTreeSet;
use std::fmt;

use super::ChangeRecord;
use crate::domain::{CampaignId, EventId, ParticipationId};

/// Most late events that are stored, of about 150 bytes each. Those beyond are violations, even if they were replayed.
const LATE_MAX: usize = 100_000;

/// An event whose first record follows that of a later event with the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateEvent {
    /// The event.
    pub event: EventId,
    /// Its campaign.
    pub campaign: CampaignId,
    key: Box<str>,
    participation: ParticipationId,
    sequence: u32,
    partition: i32,
    offset: i64,
}

impl fmt::Display for LateEvent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "campaign {}, key {}: event {} (change {} of {}) at partition {} offset {} follows a later one",
            self.campaign,
            self.key,
            self.event,
            self.sequence,
            self.participation,
            self.partition,
            self.offset,
        )
    }
}

/// The late events of a topic, in the order in which they were read, up to a bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LateEvents(Vec<LateEvent>);

impl LateEvents {
    pub(super) fn add(&mut self, record: &ChangeRecord<'_>) {
        if self.0.len() < LATE_MAX {
            self.0.push(LateEvent {
                event: record.event,
                campaign: record.campaign,
                key: record.key.into(),
                participation: record.participation,
                sequence: record.sequence,
                partition: record.partition,
                offset: record.offset,
            });
        }
    }

    /// Their ids.
    #[must_use]
    pub fn ids(&self) -> BTreeSet<EventId> {
        self.0.iter().map(|late| late.event).collect()
    }

    /// Those that were replayed, and the others.
    pub(super) fn split(self, replayed: &BTreeSet<EventId>) -> (Vec<LateEvent>, Vec<LateEvent>) {
        let was_replayed = |late: &LateEvent| replayed.contains(&late.event);
        self.0.into_iter().partition(was_replayed)
    }
}

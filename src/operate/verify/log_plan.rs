//! Decides which segments of a stream are read, and for which the stored sums are used. Pure.

use super::plan::{Part, divide, last_number};
use crate::parts::store::{CampaignCounters, SEGMENT_RANKS, Segment, StoredLogSums};

/// How the stream of a campaign is verified: by segments of sequences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogPlan {
    /// Stored sums to use.
    pub(super) stored: Vec<StoredLogSums>,
    /// Parts to read.
    pub(super) parts: Vec<Part>,
}

impl LogPlan {
    /// The plan for a stream with these stored sums, in order of segment. A sum is used if `is_trusted`.
    pub(super) fn of(
        counters: &CampaignCounters,
        stored: &[StoredLogSums],
        is_trusted: impl Fn(&StoredLogSums) -> bool,
    ) -> Self {
        // A stream has a few events for each participation.
        let end = Segment::of(counters.id, counters.event_sequence);
        let last = last_number(counters, end, 4, stored.len());
        let is_usable = |stored: &StoredLogSums| holds(stored, counters) && is_trusted(stored);
        let (stored, parts) = divide(
            counters.id,
            last,
            stored,
            |stored| stored.segment,
            is_usable,
        );
        Self { stored, parts }
    }

    /// Approximate number of events to read.
    pub(super) fn rows(&self, counters: &CampaignCounters) -> u64 {
        let known: u64 = self.stored.iter().map(|stored| stored.events).sum();
        counters
            .event_sequence
            .saturating_sub(known + counters.purged_events)
    }
}

/// Whether sums are still valid: nothing was appended to the segment, and no event of the stream was deleted.
const fn holds(stored: &StoredLogSums, counters: &CampaignCounters) -> bool {
    stored.last == last_of(stored.segment, counters)
        && stored.purged_events == counters.purged_events
}

/// The last existing sequence of a segment.
pub(super) const fn last_of(segment: Segment, counters: &CampaignCounters) -> u64 {
    let end = (segment.number + 1) * SEGMENT_RANKS;
    if end < counters.event_sequence {
        end
    } else {
        counters.event_sequence
    }
}

#[cfg(test)]
mod tests {
    use super::super::gate;
    use super::*;
    use crate::domain::{CampaignId, State};

    fn counters(event_sequence: u64, state: State) -> CampaignCounters {
        CampaignCounters {
            state,
            published: event_sequence,
            ..gate::tests::counters(event_sequence)
        }
    }

    fn stored(number: u64, last: u64) -> StoredLogSums {
        StoredLogSums {
            segment: Segment {
                campaign: CampaignId(1),
                number,
            },
            last,
            purged_events: 0,
            events: SEGMENT_RANKS,
            digest: 0,
        }
    }

    const END: u64 = 2 * SEGMENT_RANKS + 10;

    fn numbers(plan: &LogPlan) -> Vec<u64> {
        plan.parts
            .iter()
            .map(|part| part.segment().number)
            .collect()
    }

    fn all() -> [StoredLogSums; 3] {
        [
            stored(0, SEGMENT_RANKS),
            stored(1, 2 * SEGMENT_RANKS),
            stored(2, END),
        ]
    }

    #[test]
    fn a_stream_that_did_not_grow_is_not_read() {
        let counters = counters(END, State::Closed);
        let plan = LogPlan::of(&counters, &all(), |_| true);
        assert_eq!((plan.stored.len(), plan.parts.len()), (3, 0));
        let plan = LogPlan::of(&counters, &all(), |stored| stored.segment.number != 1);
        assert_eq!(numbers(&plan), [1]);
    }

    #[test]
    fn a_stream_that_grew_is_read_from_its_last_segment() {
        let counters = counters(END + 1, State::Closed);
        let plan = LogPlan::of(&counters, &all(), |_| true);
        assert_eq!(numbers(&plan), [2]);
        assert!(matches!(plan.parts[0], Part::From(_)));
    }

    #[test]
    fn a_stream_with_newly_deleted_events_is_read() {
        let mut counters = counters(END, State::Closed);
        counters.purged_events = 5;
        assert_eq!(
            numbers(&LogPlan::of(&counters, &all(), |_| true)),
            [0, 1, 2]
        );
    }

    #[test]
    fn a_huge_counter_does_not_scan_empty_segments() {
        let mut counters = counters(u64::MAX, State::Open);
        counters.participation_count = 1;
        let plan = LogPlan::of(&counters, &[], |_| true);
        assert!(plan.parts.len() < 100);
        assert!(matches!(plan.parts.last(), Some(Part::From(_))));
    }
}

//! Decides which segments of a stream are read, and for which the stored sums are used. Pure.

use super::plan::{Part, divide, last_number};
use crate::parts::store::{Books, KeptLog, SEGMENT_RANKS, Segment};

/// How the stream of a campaign is verified: by segments of sequences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogPlan {
    /// Stored sums to use.
    pub(super) kept: Vec<KeptLog>,
    /// Parts to read.
    pub(super) parts: Vec<Part>,
}

impl LogPlan {
    /// The plan for a stream with these stored sums, in order of segment. A sum is used if `is_trusted`.
    pub(super) fn of(
        books: &Books,
        kept: &[KeptLog],
        is_trusted: impl Fn(&KeptLog) -> bool,
    ) -> Self {
        // A stream has few events for each participation.
        let end = Segment::of(books.id, books.event_sequence);
        let last = last_number(books, end, 4, kept.len());
        let is_usable = |kept: &KeptLog| holds(kept, books) && is_trusted(kept);
        let (kept, parts) = divide(books.id, last, kept, |kept| kept.segment, is_usable);
        Self { kept, parts }
    }

    /// Approximate number of events to read.
    pub(super) fn rows(&self, books: &Books) -> u64 {
        let known: u64 = self.kept.iter().map(|kept| kept.events).sum();
        books
            .event_sequence
            .saturating_sub(known + books.purged_events)
    }
}

/// Whether sums are still valid: nothing was appended to the segment, and no event of the stream was deleted.
const fn holds(kept: &KeptLog, books: &Books) -> bool {
    kept.last == last_of(kept.segment, books) && kept.purged_events == books.purged_events
}

/// The last existing sequence of a segment.
pub(super) const fn last_of(segment: Segment, books: &Books) -> u64 {
    let end = (segment.number + 1) * SEGMENT_RANKS;
    if end < books.event_sequence {
        end
    } else {
        books.event_sequence
    }
}

#[cfg(test)]
mod tests {
    use super::super::gate;
    use super::*;
    use crate::domain::{CampaignId, State};

    fn books(event_sequence: u64, state: State) -> Books {
        Books {
            state,
            published: event_sequence,
            ..gate::tests::books(event_sequence)
        }
    }

    fn kept(number: u64, last: u64) -> KeptLog {
        KeptLog {
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

    fn all() -> [KeptLog; 3] {
        [
            kept(0, SEGMENT_RANKS),
            kept(1, 2 * SEGMENT_RANKS),
            kept(2, END),
        ]
    }

    #[test]
    fn a_stream_that_did_not_grow_is_not_read() {
        let books = books(END, State::Closed);
        let plan = LogPlan::of(&books, &all(), |_| true);
        assert_eq!((plan.kept.len(), plan.parts.len()), (3, 0));
        let plan = LogPlan::of(&books, &all(), |kept| kept.segment.number != 1);
        assert_eq!(numbers(&plan), [1]);
    }

    #[test]
    fn a_stream_that_grew_is_read_from_its_last_segment() {
        let books = books(END + 1, State::Closed);
        let plan = LogPlan::of(&books, &all(), |_| true);
        assert_eq!(numbers(&plan), [2]);
        assert!(matches!(plan.parts[0], Part::From(_)));
    }

    #[test]
    fn a_stream_with_newly_deleted_events_is_read() {
        let mut books = books(END, State::Closed);
        books.purged_events = 5;
        assert_eq!(numbers(&LogPlan::of(&books, &all(), |_| true)), [0, 1, 2]);
    }

    #[test]
    fn a_huge_counter_does_not_scan_empty_segments() {
        let mut books = books(u64::MAX, State::Open);
        books.participation_count = 1;
        let plan = LogPlan::of(&books, &[], |_| true);
        assert!(plan.parts.len() < 100);
        assert!(matches!(plan.parts.last(), Some(Part::From(_))));
    }
}

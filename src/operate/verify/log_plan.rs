//! What of a stream is to be read, and what is known already. Pure.

use super::plan::Part;
use crate::parts::store::{Books, KeptLog, SEGMENT_RANKS, Segment};

/// How the stream of a campaign is verified: by segments of sequences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogPlan {
    /// From what was read before.
    pub(super) kept: Vec<KeptLog>,
    /// By reading.
    pub(super) parts: Vec<Part>,
}

impl LogPlan {
    /// The plan for a stream of which this is kept, in order, and trusted where `is_trusted`.
    pub(super) fn of(
        books: &Books,
        kept: &[KeptLog],
        is_trusted: impl Fn(&KeptLog) -> bool,
    ) -> Self {
        let last = last_number(books, kept.len());
        let mut plan = Self::default();
        let mut kept = kept.iter().peekable();
        for number in 0..=last {
            while kept.next_if(|kept| kept.segment.number < number).is_some() {}
            let found = kept.next_if(|kept| kept.segment.number == number);
            let segment = Segment {
                campaign: books.id,
                number,
            };
            match found.filter(|kept| holds(kept, books) && is_trusted(kept)) {
                Some(kept) => plan.kept.push(*kept),
                None if last == 0 => plan.parts.push(Part::Whole(books.id)),
                None if number == last => plan.parts.push(Part::From(segment)),
                None => plan.parts.push(Part::Within(segment)),
            }
        }
        plan
    }

    /// Roughly how many events it reads.
    pub(super) fn rows(&self, books: &Books) -> u64 {
        let known: u64 = self.kept.iter().map(|kept| kept.events).sum();
        books
            .event_sequence
            .saturating_sub(known + books.purged_events)
    }
}

/// Whether sums still hold: nothing was appended to the segment, nothing of the campaign was deleted, and no campaign
/// event of it is behind the position.
fn holds(kept: &KeptLog, books: &Books) -> bool {
    kept.last == last_of(kept.segment, books)
        && kept.purged_events == books.purged_events
        && (kept.campaign_events == 0 || kept.last <= books.published)
}

/// The last sequence of a segment that there is.
pub(super) const fn last_of(segment: Segment, books: &Books) -> u64 {
    let end = (segment.number + 1) * SEGMENT_RANKS;
    if end < books.event_sequence {
        end
    } else {
        books.event_sequence
    }
}

/// The number of the last segment. A stream has few events for each participation; a counter far beyond that is a
/// mistake, and is read with the last segment instead of leading through millions of empty ones.
fn last_number(books: &Books, kept: usize) -> u64 {
    let filled = books.participation_count / SEGMENT_RANKS;
    let kept = u64::try_from(kept).unwrap_or_default();
    let most = filled.saturating_mul(4).saturating_add(kept) + 64;
    Segment::of(books.id, books.event_sequence).number.min(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CampaignId, State};

    fn books(event_sequence: u64, state: State) -> Books {
        Books {
            id: CampaignId(1),
            state,
            total_stock: None,
            committed_units: event_sequence,
            participation_count: event_sequence,
            event_sequence,
            published: event_sequence,
            purged_events: 0,
            per_user_limit: 1,
            max_quantity: 1,
            returns: 0,
            gate_epoch: 1,
            version: 1,
            opens_at: None,
            closes_at: None,
            last_rank: event_sequence,
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
            campaign_events: 0,
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
    fn campaign_events_behind_the_position_are_read() {
        let mut books = books(END, State::Closed);
        books.published = SEGMENT_RANKS;
        let with = all().map(|kept| KeptLog {
            campaign_events: 1,
            ..kept
        });
        assert_eq!(numbers(&LogPlan::of(&books, &with, |_| true)), [1, 2]);
        assert!(LogPlan::of(&books, &all(), |_| true).parts.is_empty());
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

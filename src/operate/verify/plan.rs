//! Decides which segments of a campaign are read, and for which the stored sums are used. Pure.

use crate::domain::CampaignId;
use crate::parts::store::{Books, Ground, Kept, SEGMENT_RANKS, Segment};

/// A part of a campaign to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A whole campaign of at most one segment.
    Whole(CampaignId),
    /// A segment that is not the last one.
    Within(Segment),
    /// The last segment, and any rows after it, which would be a mistake.
    From(Segment),
}

impl Part {
    /// Its first or only segment.
    pub(super) const fn segment(&self) -> Segment {
        match *self {
            Self::Whole(campaign) => Segment {
                campaign,
                number: 0,
            },
            Self::Within(segment) | Self::From(segment) => segment,
        }
    }

    /// The same, for the store.
    pub(super) const fn ground(&self) -> Ground<'_> {
        match self {
            Self::Whole(campaign) => Ground::Whole(std::slice::from_ref(campaign)),
            Self::Within(segment) => Ground::Within(*segment),
            Self::From(segment) => Ground::From(*segment),
        }
    }

    /// Whether its sums may be stored: it gets no further participations.
    pub(super) const fn is_final(&self, books: &Books) -> bool {
        matches!(self, Self::Within(_)) || books.is_over()
    }
}

/// How a campaign is verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Stored sums to use.
    pub(super) kept: Vec<Kept>,
    /// Parts to read.
    pub(super) parts: Vec<Part>,
}

impl Plan {
    /// The plan for a campaign with these stored sums, in order of segment. A sum is used if `is_trusted`.
    pub(super) fn of(books: &Books, kept: &[Kept], is_trusted: impl Fn(&Kept) -> bool) -> Self {
        // Ranks have few gaps, so a campaign has about as many segments as its participations fill.
        let last = last_number(books, books.last_segment(), 2, kept.len());
        let is_usable = |kept: &Kept| {
            let is_settled = kept.segment.number < last || books.is_over();
            let is_within = kept.per_user_limit <= books.per_user_limit;
            kept.is_valid && is_settled && is_within && is_trusted(kept)
        };
        let (kept, parts) = divide(books.id, last, kept, |kept| kept.segment, is_usable);
        Self { kept, parts }
    }

    /// Approximate number of participations to read.
    pub(super) fn rows(&self, books: &Books) -> u64 {
        let known: u64 = self.kept.iter().map(|kept| kept.participations).sum();
        books.participation_count.saturating_sub(known)
    }
}

/// The number of the last segment of a plan: that of `end`, unless it is far beyond `times` the segments that the
/// participations fill. A rank or sequence that far away is a mistake; it is read together with the last segment, instead
/// of reading millions of empty segments.
pub(super) fn last_number(books: &Books, end: Segment, times: u64, kept: usize) -> u64 {
    let filled = books.participation_count / SEGMENT_RANKS;
    let kept = u64::try_from(kept).unwrap_or_default();
    let most = filled.saturating_mul(times).saturating_add(kept) + 64;
    end.number.min(most)
}

/// Divides the segments of a campaign up to `last` into those whose sums are usable, and the parts to read. The sums are
/// in order of segment.
pub(super) fn divide<K: Copy>(
    campaign: CampaignId,
    last: u64,
    sums: &[K],
    segment_of: impl Fn(&K) -> Segment,
    is_usable: impl Fn(&K) -> bool,
) -> (Vec<K>, Vec<Part>) {
    let (mut kept, mut parts) = (Vec::new(), Vec::new());
    let mut sums = sums.iter().peekable();
    for number in 0..=last {
        while sums
            .next_if(|sums| segment_of(sums).number < number)
            .is_some()
        {}
        let found = sums.next_if(|sums| segment_of(sums).number == number);
        let segment = Segment { campaign, number };
        match found.filter(|sums| is_usable(sums)) {
            Some(sums) => kept.push(*sums),
            None if last == 0 => parts.push(Part::Whole(campaign)),
            None if number == last => parts.push(Part::From(segment)),
            None => parts.push(Part::Within(segment)),
        }
    }
    (kept, parts)
}

#[cfg(test)]
mod tests {
    use super::super::gate;
    use super::*;
    use crate::domain::State;

    fn books(last_rank: u64, state: State) -> Books {
        Books {
            state,
            per_user_limit: 2,
            ..gate::tests::books(last_rank)
        }
    }

    fn segment(number: u64) -> Segment {
        Segment {
            campaign: CampaignId(1),
            number,
        }
    }

    fn kept(number: u64) -> Kept {
        Kept {
            segment: segment(number),
            generation: 0,
            participations: SEGMENT_RANKS,
            units: SEGMENT_RANKS,
            changes: SEGMENT_RANKS,
            digest: 0,
            per_user_limit: 2,
            is_valid: true,
        }
    }

    #[test]
    fn the_last_segment_of_a_live_campaign_is_always_read() {
        let sells = books(3 * SEGMENT_RANKS, State::Open);
        let plan = Plan::of(&sells, &[0, 1, 2].map(kept), |_| true);
        assert_eq!(plan.kept, [0, 1].map(kept));
        assert_eq!(plan.parts, [Part::From(segment(2))]);
        assert_eq!(plan.rows(&sells), SEGMENT_RANKS);
        let over = books(3 * SEGMENT_RANKS, State::Closed);
        let plan = Plan::of(&over, &[0, 1, 2].map(kept), |_| true);
        assert_eq!(plan.parts, []);
    }

    #[test]
    fn rows_missing_invalid_or_due_are_read() {
        let books = books(5 * SEGMENT_RANKS, State::Archived);
        let invalid = Kept {
            is_valid: false,
            ..kept(1)
        };
        // The limit was three then; now it is two.
        let other_limit = Kept {
            per_user_limit: 3,
            ..kept(2)
        };
        let found = [invalid, other_limit, kept(3), kept(4)];
        let plan = Plan::of(&books, &found, |kept| kept.segment.number != 3);
        assert_eq!(plan.kept, [kept(4)]);
        let parts: Vec<u64> = plan
            .parts
            .iter()
            .map(|part| part.segment().number)
            .collect();
        assert_eq!(parts, [0, 1, 2, 3]);
    }

    #[test]
    fn a_small_campaign_is_read_at_once() {
        for last_rank in [0, 1, SEGMENT_RANKS] {
            let plan = Plan::of(&books(last_rank, State::Open), &[], |_| true);
            assert_eq!(plan.parts, [Part::Whole(CampaignId(1))]);
        }
    }

    #[test]
    fn a_huge_rank_does_not_scan_empty_segments() {
        let books = Books {
            last_rank: u64::MAX,
            participation_count: 1,
            ..books(1, State::Open)
        };
        let plan = Plan::of(&books, &[], |_| true);
        assert!(plan.parts.len() < 100);
        assert!(matches!(plan.parts.last(), Some(Part::From(_))));
    }
}

//! Decides which segments of a campaign are read, and for which the stored sums are used. Pure.

use crate::domain::CampaignId;
use crate::parts::store::{CampaignCounters, RowSelection, SEGMENT_RANKS, Segment, StoredSums};

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
    pub(super) const fn selection(&self) -> RowSelection<'_> {
        match self {
            Self::Whole(campaign) => RowSelection::Whole(std::slice::from_ref(campaign)),
            Self::Within(segment) => RowSelection::Within(*segment),
            Self::From(segment) => RowSelection::From(*segment),
        }
    }

    /// Whether its sums may be stored: it gets no further participations.
    pub(super) const fn is_final(&self, counters: &CampaignCounters) -> bool {
        matches!(self, Self::Within(_)) || counters.is_over()
    }
}

/// How a campaign is verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Stored sums to use.
    pub(super) stored: Vec<StoredSums>,
    /// Parts to read.
    pub(super) parts: Vec<Part>,
}

impl Plan {
    /// The plan for a campaign with these stored sums, in order of segment. A sum is used if `is_trusted`.
    pub(super) fn of(
        counters: &CampaignCounters,
        stored: &[StoredSums],
        is_trusted: impl Fn(&StoredSums) -> bool,
    ) -> Self {
        // Ranks have few gaps, so a campaign has about as many segments as its participations fill.
        let last = last_number(counters, counters.last_segment(), 2, stored.len());
        let is_usable = |stored: &StoredSums| {
            let is_settled = stored.segment.number < last || counters.is_over();
            let is_within = stored.per_user_limit <= counters.per_user_limit;
            stored.is_valid && is_settled && is_within && is_trusted(stored)
        };
        let (stored, parts) = divide(
            counters.id,
            last,
            stored,
            |stored| stored.segment,
            is_usable,
        );
        Self { stored, parts }
    }

    /// Approximate number of participations to read.
    pub(super) fn rows(&self, counters: &CampaignCounters) -> u64 {
        let known: u64 = self.stored.iter().map(|stored| stored.participations).sum();
        counters.participation_count.saturating_sub(known)
    }
}

/// The number of the last segment of a plan: that of `end`, unless it is far beyond `times` the segments that the
/// participations fill. A rank or sequence that far away is a mistake; it is read together with the last segment, instead
/// of reading millions of empty segments.
pub(super) fn last_number(
    counters: &CampaignCounters,
    end: Segment,
    times: u64,
    stored: usize,
) -> u64 {
    let filled = counters.participation_count / SEGMENT_RANKS;
    let stored = u64::try_from(stored).unwrap_or_default();
    let most = filled.saturating_mul(times).saturating_add(stored) + 64;
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
    let (mut stored, mut parts) = (Vec::new(), Vec::new());
    let mut sums = sums.iter().peekable();
    for number in 0..=last {
        while sums
            .next_if(|sums| segment_of(sums).number < number)
            .is_some()
        {}
        let found = sums.next_if(|sums| segment_of(sums).number == number);
        let segment = Segment { campaign, number };
        match found.filter(|sums| is_usable(sums)) {
            Some(sums) => stored.push(*sums),
            None if last == 0 => parts.push(Part::Whole(campaign)),
            None if number == last => parts.push(Part::From(segment)),
            None => parts.push(Part::Within(segment)),
        }
    }
    (stored, parts)
}

#[cfg(test)]
mod tests {
    use super::super::gate;
    use super::*;
    use crate::domain::State;

    fn counters(last_rank: u64, state: State) -> CampaignCounters {
        CampaignCounters {
            state,
            per_user_limit: 2,
            ..gate::tests::counters(last_rank)
        }
    }

    fn segment(number: u64) -> Segment {
        Segment {
            campaign: CampaignId(1),
            number,
        }
    }

    fn stored(number: u64) -> StoredSums {
        StoredSums {
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
        let sells = counters(3 * SEGMENT_RANKS, State::Open);
        let plan = Plan::of(&sells, &[0, 1, 2].map(stored), |_| true);
        assert_eq!(plan.stored, [0, 1].map(stored));
        assert_eq!(plan.parts, [Part::From(segment(2))]);
        assert_eq!(plan.rows(&sells), SEGMENT_RANKS);
        let over = counters(3 * SEGMENT_RANKS, State::Closed);
        let plan = Plan::of(&over, &[0, 1, 2].map(stored), |_| true);
        assert_eq!(plan.parts, []);
    }

    #[test]
    fn rows_missing_invalid_or_due_are_read() {
        let counters = counters(5 * SEGMENT_RANKS, State::Archived);
        let invalid = StoredSums {
            is_valid: false,
            ..stored(1)
        };
        // The limit was three then; now it is two.
        let other_limit = StoredSums {
            per_user_limit: 3,
            ..stored(2)
        };
        let found = [invalid, other_limit, stored(3), stored(4)];
        let plan = Plan::of(&counters, &found, |stored| stored.segment.number != 3);
        assert_eq!(plan.stored, [stored(4)]);
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
            let plan = Plan::of(&counters(last_rank, State::Open), &[], |_| true);
            assert_eq!(plan.parts, [Part::Whole(CampaignId(1))]);
        }
    }

    #[test]
    fn a_huge_rank_does_not_scan_empty_segments() {
        let counters = CampaignCounters {
            last_rank: u64::MAX,
            participation_count: 1,
            ..counters(1, State::Open)
        };
        let plan = Plan::of(&counters, &[], |_| true);
        assert!(plan.parts.len() < 100);
        assert!(matches!(plan.parts.last(), Some(Part::From(_))));
    }
}

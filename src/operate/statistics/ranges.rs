//! Finds the participations that a day can have, by campaign and rank, and cuts them into slices. Commit times grow with
//! the rank, except for the length of a lease and steps of the database's clock: a margin covers both.

use std::ops::Range;

use chrono::TimeDelta;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::domain::{CampaignId, Day, Timestamp};
use crate::parts::store::{CampaignSpan, RankRange, Store, StoreError};
use crate::runtime::retry::{self, retry};

/// A participation of a day has a rank between those that were committed this long before and after it.
const MARGIN: TimeDelta = TimeDelta::hours(1);
/// Up to this many ranks of a campaign are read without a search for the first and the last one of the day.
const UNSEARCHED_MAX: u64 = 4_096;
/// Campaigns looked at by one statement.
const CAMPAIGNS_MAX: u32 = 500;
/// Ranges in one slice: each costs the database some time to plan.
const RANGES_MAX: usize = 64;

/// Ranges that one statement reads.
pub(super) type Slice = Vec<RankRange>;

/// Number of ranks; those without a participation count.
pub(super) fn width(slice: &Slice) -> u64 {
    let widths = slice
        .iter()
        .map(|range| range.ranks.end - range.ranks.start);
    widths.sum()
}

/// How the ranks of a day are searched.
pub(super) struct Search<'a> {
    pub(super) store: &'a Store,
    pub(super) retry: &'a retry::Policy,
    /// Campaigns searched at the same time.
    pub(super) parallel_max: usize,
}

impl Search<'_> {
    /// The participations that the day can have, in slices of up to `ranks_max` ranks.
    pub(super) async fn slices(&self, day: Day, ranks_max: u32) -> Result<Vec<Slice>, StoreError> {
        let mut ranges = Vec::new();
        let mut after = Some(CampaignId(0));
        while let Some(from) = after {
            let page = retry(self.retry, StoreError::verdict, || {
                self.store.campaign_spans(from, CAMPAIGNS_MAX)
            });
            let page = page.await?;
            let found: Vec<Option<RankRange>> = stream::iter(page.spans)
                .map(|span| self.range(day, span))
                .buffered(self.parallel_max)
                .try_collect()
                .await?;
            ranges.extend(found.into_iter().flatten());
            after = page.last;
        }
        Ok(cut(ranges, u64::from(ranks_max)))
    }

    /// The ranks of a campaign that the day can have; none: it has none.
    async fn range(&self, day: Day, span: CampaignSpan) -> Result<Option<RankRange>, StoreError> {
        let (from, until) = (day.start() - MARGIN, day.end() + MARGIN);
        let CampaignSpan {
            campaign,
            first,
            last,
        } = span;
        let mut ranks = first.rank..last.rank + 1;
        if ranks.end - ranks.start > UNSEARCHED_MAX {
            if first.created_at < from {
                ranks.start = self.first_since(from, campaign, ranks.clone()).await?;
            }
            if last.created_at >= until {
                ranks.end = self.first_since(until, campaign, ranks.clone()).await?;
            }
        } else if last.created_at < from || first.created_at >= until {
            return Ok(None);
        }
        Ok((!ranks.is_empty()).then_some(RankRange { campaign, ranks }))
    }

    /// The lowest of these ranks so that participations from it on were committed at this time or later.
    async fn first_since(
        &self,
        time: Timestamp,
        campaign: CampaignId,
        ranks: Range<u64>,
    ) -> Result<u64, StoreError> {
        let (mut low, mut high) = (ranks.start, ranks.end);
        while low < high {
            let middle = low + (high - low) / 2;
            let upper_half = RankRange {
                campaign,
                ranks: middle..high,
            };
            let found = retry(self.retry, StoreError::verdict, || {
                self.store.first_of_ranks(&upper_half)
            });
            match found.await? {
                Some(found) if found.created_at < time => low = found.rank + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }
}

/// Cuts ranges into slices of up to `ranks_max` ranks.
fn cut(ranges: Vec<RankRange>, ranks_max: u64) -> Vec<Slice> {
    let (mut slices, mut slice, mut room) = (Vec::new(), Slice::new(), ranks_max);
    for RankRange { campaign, ranks } in ranges {
        let mut from = ranks.start;
        while from < ranks.end {
            let until = ranks.end.min(from + room);
            slice.push(RankRange {
                campaign,
                ranks: from..until,
            });
            room -= until - from;
            from = until;
            if room == 0 || slice.len() == RANGES_MAX {
                slices.push(std::mem::take(&mut slice));
                room = ranks_max;
            }
        }
    }
    if !slice.is_empty() {
        slices.push(slice);
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(campaign: i64, ranks: Range<u64>) -> RankRange {
        RankRange {
            campaign: CampaignId(campaign),
            ranks,
        }
    }

    #[test]
    fn slices_cover_all_ranks_once_within_their_bounds() {
        let slices = cut(vec![range(1, 1..26), range(2, 5..8), range(3, 1..3)], 10);
        assert_eq!(
            slices,
            [
                vec![range(1, 1..11)],
                vec![range(1, 11..21)],
                vec![range(1, 21..26), range(2, 5..8), range(3, 1..3)],
            ]
        );
        assert_eq!(slices.iter().map(width).sum::<u64>(), 30);
    }

    #[test]
    fn many_small_campaigns_share_slices_up_to_a_bound() {
        let ranges = (0..200).map(|campaign| range(campaign, 1..2)).collect();
        let slices = cut(ranges, 1_000);
        let lengths: Vec<usize> = slices.iter().map(Vec::len).collect();
        assert_eq!(lengths, [64, 64, 64, 8]);
    }
}

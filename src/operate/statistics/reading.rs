//! Reads a day in slices with a bounded number of rows, several at the same time, and adds up their sums. The memory does
//! not depend on the size of the day.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::{StreamExt, stream};

use super::ranges::{Search, Slice, width};
use crate::domain::{CampaignId, Day, DaySums, Timestamp};
use crate::parts::store::{Store, StoreError};
use crate::runtime::retry::{self, retry};

/// Time span of the counted rejections read by one statement.
const TALLIES: TimeDelta = TimeDelta::hours(1);

/// How a day is read.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) store: Store,
    pub(super) slice_rows: u32,
    pub(super) parallel_max: usize,
    pub(super) retry: retry::Policy,
}

/// No retries.
pub(super) const ONCE: retry::Policy = retry::Policy {
    initial: Duration::ZERO,
    max: Duration::ZERO,
    multiplier: 1.0,
    attempts_max: 1,
};

type Sums = BTreeMap<CampaignId, DaySums>;

impl Reader {
    /// The sums of each campaign on a day. After each slice, `seen` gets the share of the ranks that are read, in percent,
    /// and its number of participations.
    pub(super) async fn read(&self, day: Day, seen: impl Fn(u32, u64)) -> Result<Sums, StoreError> {
        let mut all = Sums::new();
        let search = Search {
            store: &self.store,
            retry: &self.retry,
            parallel_max: self.parallel_max,
        };
        let slices = search.slices(day, self.slice_rows).await?;
        let ranks: u64 = slices.iter().map(width).sum();
        let mut ranks_read = 0;
        let mut read = std::pin::pin!(
            stream::iter(slices)
                .map(|slice| self.clone().slice(day, slice))
                .buffer_unordered(self.parallel_max)
        );
        while let Some(slice) = read.next().await {
            let (width, sums) = slice?;
            ranks_read += width;
            let mut participations = 0;
            for (campaign, sums) in &sums {
                participations += sums.by_status.total();
                all.entry(*campaign).or_default().add(sums);
            }
            let percent = u32::try_from(ranks_read * 100 / ranks.max(1)).unwrap_or(100);
            seen(percent, participations);
        }
        let mut refused = std::pin::pin!(
            stream::iter(hours(day))
                .map(|(from, until)| self.clone().refusals(from, until))
                .buffer_unordered(self.parallel_max)
        );
        while let Some(hour) = refused.next().await {
            for (campaign, reason, count) in hour? {
                all.entry(campaign).or_default().refuse(&reason, count);
            }
        }
        Ok(all)
    }

    async fn slice(
        self,
        day: Day,
        slice: Slice,
    ) -> Result<(u64, Vec<(CampaignId, DaySums)>), StoreError> {
        let sums = retry(&self.retry, StoreError::verdict, || {
            self.store.sums_of_ranks(day, &slice)
        })
        .await?;
        Ok((width(&slice), sums))
    }

    async fn refusals(
        self,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<(CampaignId, String, u64)>, StoreError> {
        retry(&self.retry, StoreError::verdict, || {
            self.store.refusals_between(from, until)
        })
        .await
    }
}

/// The hours of a day; the last one may be shorter.
fn hours(day: Day) -> impl Iterator<Item = (Timestamp, Timestamp)> {
    let (start, end) = (day.start(), day.end());
    let step = move |from: &Timestamp| Some(*from + TALLIES).filter(|next| *next < end);
    std::iter::successors(Some(start), step).map(move |from| (from, end.min(from + TALLIES)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_day_cover_it_exactly() {
        for (date, zone, pieces) in [
            ("2026-03-29", "Europe/Berlin", 23),
            ("2026-10-25", "Europe/Berlin", 25),
            ("2026-04-05", "Australia/Lord_Howe", 25),
            ("2026-11-22", "UTC", 24),
        ] {
            let day = Day {
                date: date.parse().unwrap(),
                zone: zone.parse().unwrap(),
            };
            let all: Vec<_> = hours(day).collect();
            assert_eq!(all.len(), pieces);
            assert_eq!(all[0].0, day.start());
            assert_eq!(all[pieces - 1].1, day.end());
            assert!(all.windows(2).all(|pair| pair[0].1 == pair[1].0));
        }
    }
}

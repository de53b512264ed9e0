//! Reads a day in slices with a bounded number of rows, several at the same time, and adds up their sums. The memory does
//! not depend on the size of the day.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::{Stream, StreamExt, stream};
use uuid::Uuid;

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
    /// The sums of each campaign on a day. `seen` gets the end of each slice, and its number of participations.
    pub(super) async fn read(
        &self,
        day: Day,
        seen: impl Fn(Uuid, u64),
    ) -> Result<Sums, StoreError> {
        let mut all = Sums::new();
        let slices = self.clone().slices(day.ids());
        let mut read = std::pin::pin!(
            slices
                .map(|ids| self.clone().slice(day, ids))
                .buffer_unordered(self.parallel_max)
        );
        while let Some(slice) = read.next().await {
            let (end, sums) = slice?;
            let mut participations = 0;
            for (campaign, sums) in &sums {
                participations += sums.by_status.total();
                all.entry(*campaign).or_default().add(sums);
            }
            seen(end, participations);
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

    /// The slices of a range of ids, in order.
    fn slices(self, ids: Range<Uuid>) -> impl Stream<Item = Result<Range<Uuid>, StoreError>> {
        let until = ids.end;
        stream::unfold(Some((self, ids.start)), move |at| async move {
            let (reader, from) = at?;
            let rows = reader.slice_rows;
            let end = retry(&reader.retry, StoreError::verdict, || {
                reader.store.slice_end(from, until, rows)
            })
            .await;
            Some(match end {
                Ok(Some(end)) => (Ok(from..end), Some((reader, end))),
                Ok(None) => (Ok(from..until), None),
                Err(error) => (Err(error), None),
            })
        })
    }

    async fn slice(
        self,
        day: Day,
        ids: Result<Range<Uuid>, StoreError>,
    ) -> Result<(Uuid, Vec<(CampaignId, DaySums)>), StoreError> {
        let ids = ids?;
        let sums = retry(&self.retry, StoreError::verdict, || {
            self.store.slice_sums(day, &ids)
        })
        .await?;
        Ok((ids.end, sums))
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

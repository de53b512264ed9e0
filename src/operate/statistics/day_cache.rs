//! Cache of aggregated days. The result of a run does not change until another run aggregates the day again, so it
//! is read once for concurrent requests; only the campaigns' names may be as old as an entry.

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use moka::sync::Cache;

use crate::parts::store::{AggregatedDay, DailyRow};

/// How long an entry is cached.
const AGE_MAX: Duration = Duration::from_secs(10);
/// Rows of all days together.
const ROWS_MAX: u64 = 100_000;

/// The rows of a day, and the run that wrote them.
type CachedDay = (AggregatedDay, Arc<Vec<DailyRow>>);

/// Days of the configured zone.
pub(super) struct DayCache(Cache<NaiveDate, CachedDay>);

impl Default for DayCache {
    fn default() -> Self {
        let rows = |_: &NaiveDate, (_, rows): &CachedDay| {
            u32::try_from(rows.len()).unwrap_or(u32::MAX).max(1)
        };
        let days = Cache::builder()
            .max_capacity(ROWS_MAX)
            .weigher(rows)
            .time_to_live(AGE_MAX);
        Self(days.build())
    }
}

impl DayCache {
    /// The cached rows of a day, if this run wrote them.
    pub(super) fn get(&self, done: AggregatedDay) -> Option<Arc<Vec<DailyRow>>> {
        let (by, rows) = self.0.get(&done.date)?;
        (by == done).then_some(rows)
    }

    /// Caches the rows of a day.
    pub(super) fn insert(&self, done: AggregatedDay, rows: &Arc<Vec<DailyRow>>) {
        self.0.insert(done.date, (done, Arc::clone(rows)));
    }
}

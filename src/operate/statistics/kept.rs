//! Aggregated days that were asked for a moment ago. What a run has written down does not change until
//! another run has done the day again, so it is read once for all who ask meanwhile; only the campaigns'
//! names may be as old as this keeps them.

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use moka::sync::Cache;

use crate::parts::store::{DailyRow, Done};

/// How long a day is kept.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// Rows of all days together.
const ROWS_MAX: u64 = 100_000;

/// What a day came to, and by which run.
type Kept = (Done, Arc<Vec<DailyRow>>);

/// Days of the one zone there is.
pub(super) struct KeptDays(Cache<NaiveDate, Kept>);

impl Default for KeptDays {
    fn default() -> Self {
        let rows =
            |_: &NaiveDate, (_, rows): &Kept| u32::try_from(rows.len()).unwrap_or(u32::MAX).max(1);
        let days = Cache::builder()
            .max_capacity(ROWS_MAX)
            .weigher(rows)
            .time_to_live(KEPT_FOR);
        Self(days.build())
    }
}

impl KeptDays {
    /// The rows of a day, if they are kept as this run has written them.
    pub(super) fn get(&self, done: Done) -> Option<Arc<Vec<DailyRow>>> {
        let (by, rows) = self.0.get(&done.date)?;
        (by == done).then_some(rows)
    }

    /// Keeps the rows of a day.
    pub(super) fn keep(&self, done: Done, rows: &Arc<Vec<DailyRow>>) {
        self.0.insert(done.date, (done, Arc::clone(rows)));
    }
}

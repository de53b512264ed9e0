//! The clock. Nothing else reads the machine's clock, so tests can stop or set the time. Where the
//! database is a server of its own, its clock is the one that all replicas share, and the one to use.

mod database;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant as Moment};

use chrono::{DateTime, TimeDelta, Utc};

pub use self::database::{DatabaseClock, Told};
use crate::domain::Instant;

/// How far off the machine's clock is made to be, for tests of clocks that jump: milliseconds, by the
/// failpoint `clock.system`.
#[cfg(feature = "failpoints")]
fn shift() -> TimeDelta {
    let millis = |text: Option<String>| text.and_then(|text| text.parse().ok()).unwrap_or(0);
    fail::fail_point!("clock.system", |text| TimeDelta::milliseconds(millis(text)));
    TimeDelta::zero()
}

#[cfg(not(feature = "failpoints"))]
const fn shift() -> TimeDelta {
    TimeDelta::zero()
}

/// A source of wall-clock time, UTC.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that stops until it is set: milliseconds since the Unix epoch.
    Manual(Arc<AtomicI64>),
    /// The database's, as far as it is known here; the machine's until the database has told its time.
    Database(Arc<DatabaseClock>),
}

impl Clock {
    /// A clock that is stopped at `at`.
    #[must_use]
    pub fn manual(at: Instant) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(at.timestamp_millis())))
    }

    /// A clock that follows the database's.
    #[must_use]
    pub fn of_database() -> Self {
        Self::Database(Arc::default())
    }

    /// Follows what the database told, if it is a clock that does.
    pub fn follow(&self, told: Told) {
        if let Self::Database(database) = self {
            database.follow(told);
        }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Instant {
        match self {
            #[allow(
                clippy::disallowed_methods,
                reason = "this is the one place that asks the machine"
            )]
            Self::System => Utc::now() + shift(),
            Self::Manual(millis) => {
                DateTime::from_timestamp_millis(millis.load(Ordering::SeqCst)).unwrap_or_default()
            }
            Self::Database(database) => {
                let told = database.time_at(Moment::now());
                told.unwrap_or_else(|| Self::System.now())
            }
        }
    }

    /// The earliest and the latest that the time can be now, by the clock that decides. A "no" that
    /// depends on the time is certain only when it is right throughout.
    #[must_use]
    pub fn range(&self) -> RangeInclusive<Instant> {
        match self {
            Self::System | Self::Manual(_) => {
                let now = self.now();
                now..=now
            }
            Self::Database(database) => database.range_at(Moment::now()),
        }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_millis(&self) -> i64 {
        self.now().timestamp_millis()
    }

    /// Moves a manual clock forward; the machine's clock does not move for us.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(millis) = self {
            let by = TimeDelta::from_std(by).map_or(i64::MAX, |delta| delta.num_milliseconds());
            millis.fetch_add(by, Ordering::SeqCst);
        }
    }
}

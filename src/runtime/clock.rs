//! The clock. Nothing else reads the machine's clock, so tests can stop or set the time. If the database is a server, its
//! clock is used, because all replicas share it.

mod database;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

pub use self::database::{DatabaseClock, TimeReading};
use crate::domain::Timestamp;

/// A shift of the machine's clock in milliseconds, for tests of clocks that jump: the failpoint `clock.system`.
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
    /// The database's clock; the machine's until the first reading.
    Database(Arc<DatabaseClock>),
}

impl Clock {
    /// A clock that is stopped at `at`.
    #[must_use]
    pub fn manual(at: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(at.timestamp_millis())))
    }

    /// A clock that follows the database's.
    #[must_use]
    pub fn of_database() -> Self {
        Self::Database(Arc::default())
    }

    /// Follows a reading of the database's clock, if this clock follows it.
    pub fn follow(&self, reading: TimeReading) {
        if let Self::Database(database) = self {
            database.follow(reading);
        }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            #[allow(
                clippy::disallowed_methods,
                reason = "this is the only place that reads the machine's clock"
            )]
            Self::System => Utc::now() + shift(),
            Self::Manual(millis) => {
                DateTime::from_timestamp_millis(millis.load(Ordering::SeqCst)).unwrap_or_default()
            }
            Self::Database(database) => {
                let time = database.time_at(Instant::now());
                time.unwrap_or_else(|| Self::System.now())
            }
        }
    }

    /// The earliest and the latest possible time now, by the deciding clock. A rejection that depends on the time is certain
    /// only if it is right for the whole range.
    #[must_use]
    pub fn range(&self) -> RangeInclusive<Timestamp> {
        match self {
            Self::System | Self::Manual(_) => {
                let now = self.now();
                now..=now
            }
            Self::Database(database) => database.range_at(Instant::now()),
        }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_millis(&self) -> i64 {
        self.now().timestamp_millis()
    }

    /// Moves a manual clock forward; other clocks ignore this.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(millis) = self {
            let by = TimeDelta::from_std(by).map_or(i64::MAX, |delta| delta.num_milliseconds());
            millis.fetch_add(by, Ordering::SeqCst);
        }
    }
}

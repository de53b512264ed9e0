//! Follows the database's clock: its last reading, and the time since then by a monotonic clock. The machine's time of day
//! is not used, so it may be wrong. It makes no queries: the callers pass the readings.

use std::ops::RangeInclusive;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::Timestamp;

/// Tolerated drift of the machine's timer: one part of this many. Real timers are ten times better.
const DRIFT: u32 = 1_000;

/// A server's answer to a query for its time.
#[derive(Clone, Copy, Debug)]
pub struct TimeReading {
    /// When the query was sent.
    pub asked: Instant,
    /// Its time.
    pub time: Timestamp,
    /// When the answer arrived.
    pub answered: Instant,
}

/// A clock that follows the database's.
#[derive(Debug, Default)]
pub struct DatabaseClock {
    last: RwLock<Option<Estimate>>,
}

/// A time of the database, the moment of the machine's timer that it belongs to, and its maximum error. The database read
/// its clock between query and answer, so the middle is off by at most half of that time.
#[derive(Clone, Copy, Debug)]
struct Estimate {
    at: Instant,
    time: Timestamp,
    error: Duration,
}

impl Estimate {
    fn of(reading: TimeReading) -> Self {
        let error = reading.answered.saturating_duration_since(reading.asked) / 2;
        Self {
            at: reading.asked + error,
            time: reading.time,
            error,
        }
    }

    fn time_at(&self, moment: Instant) -> Timestamp {
        let since = moment.saturating_duration_since(self.at);
        moved(self.time, since)
    }

    fn error_at(&self, moment: Instant) -> Duration {
        self.error + moment.saturating_duration_since(self.at) / DRIFT
    }

    /// Whether `newer` replaces this one: it is more exact, or contradicts this one, because the database's clock was set or
    /// the machine slept.
    fn is_replaced_by(&self, newer: &Self) -> bool {
        let error = self.error_at(newer.at);
        let apart = (newer.time - self.time_at(newer.at)).abs();
        let possible = TimeDelta::from_std(error + newer.error).unwrap_or(TimeDelta::MAX);
        newer.error <= error || apart > possible
    }
}

fn moved(time: Timestamp, by: Duration) -> Timestamp {
    let by = TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
    time.checked_add_signed(by).unwrap_or(time)
}

impl DatabaseClock {
    /// Follows a reading from now on, unless the last one is more exact.
    pub fn follow(&self, reading: TimeReading) {
        let newer = Estimate::of(reading);
        let mut last = self.last.write().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.is_replaced_by(&newer)) {
            *last = Some(newer);
        }
    }

    /// The database's time at this moment; none: there is no reading yet.
    pub(super) fn time_at(&self, moment: Instant) -> Option<Timestamp> {
        Some(self.last()?.time_at(moment))
    }

    /// The earliest and the latest possible time of the database at this moment. They move apart with the age of the last
    /// reading; without a reading every time is possible.
    pub(super) fn range_at(&self, moment: Instant) -> RangeInclusive<Timestamp> {
        let Some(last) = self.last() else {
            return DateTime::<Utc>::MIN_UTC..=DateTime::<Utc>::MAX_UTC;
        };
        let (time, error) = (last.time_at(moment), last.error_at(moment));
        let error = TimeDelta::from_std(error).unwrap_or(TimeDelta::MAX);
        let earliest = time.checked_sub_signed(error);
        let latest = time.checked_add_signed(error);
        earliest.unwrap_or(DateTime::<Utc>::MIN_UTC)..=latest.unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    fn last(&self) -> Option<Estimate> {
        *self.last.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn noon() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    /// A reading of a query at `start + after` whose answer took `took`.
    fn reading(start: Instant, after: Duration, took: Duration, time: Timestamp) -> TimeReading {
        TimeReading {
            asked: start + after,
            time,
            answered: start + after + took,
        }
    }

    #[test]
    fn the_clock_continues_from_the_databases_answer() {
        let (clock, start) = (DatabaseClock::default(), Instant::now());
        assert_eq!(clock.time_at(start), None);
        clock.follow(reading(start, SECOND, 2 * SECOND, noon()));
        let hour = Duration::from_secs(3_600);
        assert_eq!(
            clock.time_at(start + 2 * SECOND + hour),
            Some(noon() + TimeDelta::hours(1))
        );
    }

    #[test]
    fn the_uncertainty_of_the_time_grows_with_latency_and_age() {
        let (clock, start) = (DatabaseClock::default(), Instant::now());
        let unknown = clock.range_at(start);
        assert!(unknown.contains(&DateTime::UNIX_EPOCH) && unknown.contains(&noon()));
        clock.follow(reading(start, Duration::ZERO, 2 * SECOND, noon()));
        let quick = clock.range_at(start + SECOND);
        let apart = |seconds| noon() + TimeDelta::seconds(seconds);
        assert_eq!(quick, apart(-1)..=apart(1));
        let later = clock.range_at(start + 1_001 * SECOND);
        assert_eq!(later, apart(998)..=apart(1_002));
    }

    #[test]
    fn a_slow_clock_reading_does_not_replace_a_more_exact_one() {
        let (clock, start) = (DatabaseClock::default(), Instant::now());
        clock.follow(reading(start, Duration::ZERO, Duration::ZERO, noon()));
        clock.follow(reading(
            start,
            SECOND,
            2 * SECOND,
            noon() + TimeDelta::seconds(1),
        ));
        let at = |clock: &DatabaseClock, after| clock.time_at(start + after).unwrap() - noon();
        assert_eq!(at(&clock, 9 * SECOND), TimeDelta::seconds(9));
        // The old reading may be off by more than that by now.
        clock.follow(reading(
            start,
            2_000 * SECOND,
            2 * SECOND,
            noon() + TimeDelta::seconds(2_000),
        ));
        assert_eq!(at(&clock, 2_001 * SECOND), TimeDelta::seconds(2_000));
    }

    #[test]
    fn an_adjusted_clock_is_followed_at_once_in_both_directions() {
        for set in [TimeDelta::hours(-1), TimeDelta::hours(1)] {
            let (clock, start) = (DatabaseClock::default(), Instant::now());
            clock.follow(reading(start, Duration::ZERO, Duration::ZERO, noon()));
            clock.follow(reading(start, SECOND, SECOND, noon() + set));
            let time = clock.time_at(start + SECOND + SECOND / 2).unwrap();
            assert_eq!(time, noon() + set);
        }
    }
}

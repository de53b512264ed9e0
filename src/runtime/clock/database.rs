//! The database's clock, followed from here: the time it told last, and how long ago that was by a clock
//! that never jumps. The machine's own time of day is not part of it, so a wrong one does no harm. It asks
//! nobody: whoever asks the database hands the answer over.

use std::ops::RangeInclusive;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant as Moment};

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::Instant;

/// How much the machine's timer may be fast or slow: as one part of this many. Real ones are ten times better.
const DRIFT: u32 = 1_000;

/// The database's answer to a query for its time.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// When the query was sent.
    pub asked: Moment,
    /// Its time.
    pub time: Instant,
    /// When the answer arrived.
    pub answered: Moment,
}

/// A clock that follows the database's.
#[derive(Debug, Default)]
pub struct DatabaseClock {
    last: RwLock<Option<Reading>>,
}

/// A time, the moment it belongs to, and how far off it may be. The database looked at its clock some time
/// between the question and the answer; the middle is off by half of that at most.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Moment,
    time: Instant,
    error: Duration,
}

impl Reading {
    fn of(told: Told) -> Self {
        let error = told.answered.saturating_duration_since(told.asked) / 2;
        Self {
            at: told.asked + error,
            time: told.time,
            error,
        }
    }

    fn time_at(&self, moment: Moment) -> Instant {
        let since = moment.saturating_duration_since(self.at);
        moved(self.time, since)
    }

    fn error_at(&self, moment: Moment) -> Duration {
        self.error + moment.saturating_duration_since(self.at) / DRIFT
    }

    /// Whether `newer` is to take the place of this one: it is more exact, or says something that cannot
    /// be true if this one is, because the database's clock was set or the machine slept.
    fn gives_way_to(&self, newer: &Self) -> bool {
        let error = self.error_at(newer.at);
        let apart = (newer.time - self.time_at(newer.at)).abs();
        let possible = TimeDelta::from_std(error + newer.error).unwrap_or(TimeDelta::MAX);
        newer.error <= error || apart > possible
    }
}

fn moved(time: Instant, by: Duration) -> Instant {
    let by = TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
    time.checked_add_signed(by).unwrap_or(time)
}

impl DatabaseClock {
    /// Follows what the database told from now on, unless what is known is more exact.
    pub fn follow(&self, told: Told) {
        let newer = Reading::of(told);
        let mut last = self.last.write().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.gives_way_to(&newer)) {
            *last = Some(newer);
        }
    }

    /// The database's time at this moment; none: it has told none yet.
    pub(super) fn time_at(&self, moment: Moment) -> Option<Instant> {
        Some(self.last()?.time_at(moment))
    }

    /// The earliest and the latest that the database's time can be at this moment. They move apart with
    /// the age of what it told last, and are as far apart as can be when it has told nothing.
    pub(super) fn range_at(&self, moment: Moment) -> RangeInclusive<Instant> {
        let Some(last) = self.last() else {
            return DateTime::<Utc>::MIN_UTC..=DateTime::<Utc>::MAX_UTC;
        };
        let (time, error) = (last.time_at(moment), last.error_at(moment));
        let error = TimeDelta::from_std(error).unwrap_or(TimeDelta::MAX);
        let earliest = time.checked_sub_signed(error);
        let latest = time.checked_add_signed(error);
        earliest.unwrap_or(DateTime::<Utc>::MIN_UTC)..=latest.unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    fn last(&self) -> Option<Reading> {
        *self.last.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn noon() -> Instant {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    /// Told so long after `start`, in an answer that took so long.
    fn told(start: Moment, after: Duration, took: Duration, time: Instant) -> Told {
        Told {
            asked: start + after,
            time,
            answered: start + after + took,
        }
    }

    #[test]
    fn the_clock_continues_from_the_databases_answer() {
        let (clock, start) = (DatabaseClock::default(), Moment::now());
        assert_eq!(clock.time_at(start), None);
        clock.follow(told(start, SECOND, 2 * SECOND, noon()));
        let hour = Duration::from_secs(3_600);
        assert_eq!(
            clock.time_at(start + 2 * SECOND + hour),
            Some(noon() + TimeDelta::hours(1))
        );
    }

    #[test]
    fn the_uncertainty_of_the_time_grows_with_latency_and_age() {
        let (clock, start) = (DatabaseClock::default(), Moment::now());
        let unknown = clock.range_at(start);
        assert!(unknown.contains(&DateTime::UNIX_EPOCH) && unknown.contains(&noon()));
        clock.follow(told(start, Duration::ZERO, 2 * SECOND, noon()));
        let quick = clock.range_at(start + SECOND);
        let apart = |seconds| noon() + TimeDelta::seconds(seconds);
        assert_eq!(quick, apart(-1)..=apart(1));
        let later = clock.range_at(start + 1_001 * SECOND);
        assert_eq!(later, apart(998)..=apart(1_002));
    }

    #[test]
    fn a_slow_clock_reading_does_not_replace_a_more_exact_one() {
        let (clock, start) = (DatabaseClock::default(), Moment::now());
        clock.follow(told(start, Duration::ZERO, Duration::ZERO, noon()));
        clock.follow(told(
            start,
            SECOND,
            2 * SECOND,
            noon() + TimeDelta::seconds(1),
        ));
        let at = |clock: &DatabaseClock, after| clock.time_at(start + after).unwrap() - noon();
        assert_eq!(at(&clock, 9 * SECOND), TimeDelta::seconds(9));
        // As old as it is by now, it may be off by more than that.
        clock.follow(told(
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
            let (clock, start) = (DatabaseClock::default(), Moment::now());
            clock.follow(told(start, Duration::ZERO, Duration::ZERO, noon()));
            clock.follow(told(start, SECOND, SECOND, noon() + set));
            let time = clock.time_at(start + SECOND + SECOND / 2).unwrap();
            assert_eq!(time, noon() + set);
        }
    }
}

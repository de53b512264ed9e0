//! A calendar day of a time zone: where it begins and ends.

use chrono::{DateTime, Days, Months, NaiveDate, NaiveTime, TimeDelta, TimeZone};

use super::Timestamp;

/// A time zone by its IANA name.
pub use chrono_tz::Tz as Zone;

/// How old a day may be, in months.
const AGE_MONTHS_MAX: Months = Months::new(12);

/// If a local time does not exist, the next existing one is searched in these steps, for a day and an hour at most.
const GAP_STEP: TimeDelta = TimeDelta::minutes(15);
const GAP_STEPS_MAX: usize = 100;

/// Why a day is not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DayError {
    /// It has not begun.
    #[error("the day has not begun")]
    Future,
    /// It is more than a year old.
    #[error("the day is more than a year ago")]
    TooOld,
}

/// A date in a time zone.
///
/// ```
/// use firstcome::domain::{Day, Zone};
///
/// let zone: Zone = "Asia/Seoul".parse().unwrap();
/// let date = chrono::NaiveDate::from_ymd_opt(2026, 3, 1).unwrap();
/// let day = Day { date, zone };
/// assert_eq!(day.start().to_rfc3339(), "2026-02-28T15:00:00+00:00");
/// assert_eq!(Day::of(day.end(), zone).date, date.succ_opt().unwrap());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// Which date.
    pub date: NaiveDate,
    /// Whose midnight it begins and ends at.
    pub zone: Zone,
}

impl Day {
    /// The day of `zone` that a moment is in.
    #[must_use]
    pub fn of(at: Timestamp, zone: Zone) -> Self {
        Self {
            date: at.with_timezone(&zone).date_naive(),
            zone,
        }
    }

    /// A day that has begun by `now` and is at most a year old.
    pub fn within_a_year(date: NaiveDate, zone: Zone, now: Timestamp) -> Result<Self, DayError> {
        let today = Self::of(now, zone).date;
        if date > today {
            return Err(DayError::Future);
        }
        if today
            .checked_sub_months(AGE_MONTHS_MAX)
            .is_some_and(|oldest| date < oldest)
        {
            return Err(DayError::TooOld);
        }
        Ok(Self { date, zone })
    }

    /// Its first moment.
    #[must_use]
    pub fn start(self) -> Timestamp {
        first_moment(self.date, self.zone)
    }

    /// The first moment after it.
    #[must_use]
    pub fn end(self) -> Timestamp {
        first_moment(self.plus(1).date, self.zone)
    }

    /// The day this many days later.
    #[must_use]
    pub fn plus(self, days: u32) -> Self {
        let date = self.date.checked_add_days(Days::new(days.into()));
        Self {
            date: date.unwrap_or(NaiveDate::MAX),
            ..self
        }
    }

    /// The day this many days earlier.
    #[must_use]
    pub fn minus(self, days: u32) -> Self {
        let date = self.date.checked_sub_days(Days::new(days.into()));
        Self {
            date: date.unwrap_or(NaiveDate::MIN),
            ..self
        }
    }

    /// Its hours, which are 23 or 25 where the clock is changed; one that is cut short counts.
    #[must_use]
    pub fn hours(self) -> usize {
        let minutes = (self.end() - self.start()).num_minutes();
        usize::try_from((minutes + 59) / 60).unwrap_or_default()
    }
}

/// Midnight; where the clock jumps over it, the moment it jumps to; where it comes twice, the first.
fn first_moment(date: NaiveDate, zone: Zone) -> Timestamp {
    let midnight = date.and_time(NaiveTime::MIN);
    let mut local = midnight;
    for _ in 0..GAP_STEPS_MAX {
        if let Some(at) = zone.from_local_datetime(&local).earliest() {
            return at.to_utc();
        }
        local = local.checked_add_signed(GAP_STEP).unwrap_or(local);
    }
    DateTime::from_naive_utc_and_offset(midnight, chrono::Utc)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(date: &str, zone: &str) -> Day {
        Day {
            date: date.parse().unwrap(),
            zone: zone.parse().unwrap(),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_begins_and_ends_at_its_zones_midnight() {
        let seoul = day("2026-11-22", "Asia/Seoul");
        assert_eq!(seoul.start(), at("2026-11-21T15:00:00Z"));
        assert_eq!(seoul.end(), at("2026-11-22T15:00:00Z"));
        assert_eq!(Day::of(at("2026-11-21T15:00:00Z"), seoul.zone), seoul);
        assert_eq!(
            Day::of(at("2026-11-21T14:59:59.999999Z"), seoul.zone),
            seoul.minus(1)
        );
    }

    #[test]
    fn days_of_clock_changes_are_shorter_and_longer() {
        assert_eq!(day("2026-03-29", "Europe/Berlin").hours(), 23);
        assert_eq!(day("2026-10-25", "Europe/Berlin").hours(), 25);
        assert_eq!(day("2026-10-26", "Europe/Berlin").hours(), 24);
        assert_eq!(
            day("2026-04-05", "Australia/Lord_Howe").hours(),
            25,
            "24.5 hours"
        );
    }

    #[test]
    fn a_day_without_midnight_begins_after_the_clock_change() {
        let santiago = day("2026-09-06", "America/Santiago");
        assert_eq!(santiago.start(), at("2026-09-06T04:00:00Z"));
        assert_eq!(santiago.minus(1).end(), santiago.start());
        assert_eq!(santiago.hours(), 23);
    }

    #[test]
    fn a_day_with_two_midnights_begins_at_the_first() {
        let havana = day("2026-11-01", "America/Havana");
        assert_eq!(havana.start(), at("2026-11-01T04:00:00Z"));
        assert_eq!(havana.hours(), 25);
    }

    #[test]
    fn days_follow_each_other_without_a_gap_in_every_zone() {
        for zone in chrono_tz::TZ_VARIANTS {
            let mut day = Day {
                date: NaiveDate::from_ymd_opt(2026, 1, 1).unwrap(),
                zone,
            };
            for _ in 0..365 {
                assert!(day.start() < day.end(), "{day:?}");
                assert_eq!(day.end(), day.plus(1).start());
                assert_eq!(Day::of(day.start(), zone), day);
                day = day.plus(1);
            }
        }
    }

    #[test]
    fn only_days_begun_within_the_last_year_are_read() {
        let now = at("2026-11-22T15:30:00Z");
        let ask = |date: &str, zone: &str| {
            let day = day(date, zone);
            Day::within_a_year(day.date, day.zone, now).map(|_| ())
        };
        assert_eq!(ask("2026-11-22", "UTC"), Ok(()));
        assert_eq!(ask("2026-11-23", "UTC"), Err(DayError::Future));
        assert_eq!(ask("2026-11-23", "Asia/Seoul"), Ok(()), "it has begun");
        assert_eq!(ask("2025-11-22", "UTC"), Ok(()));
        assert_eq!(ask("2025-11-21", "UTC"), Err(DayError::TooOld));
    }
}

//! Clocks. Leases and windows are told by the parts' own, so nothing is lost when they differ; but a
//! campaign then opens for some before it opens for others, and times in records do not compare.

use chrono::{DateTime, TimeDelta, Utc};

use super::Verdict::{Good, Warn};
use super::{Finding, finding};

/// How far clocks may be apart.
const APART_MAX: TimeDelta = TimeDelta::seconds(1);

/// What a part answered when it was asked for the time.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Which part.
    pub part: &'static str,
    /// This process's time when it was asked.
    pub asked: DateTime<Utc>,
    /// The part's time.
    pub told: DateTime<Utc>,
    /// This process's time when the answer was there.
    pub answered: DateTime<Utc>,
}

impl Reading {
    /// How far the part's clock is ahead of this process's, at least; the answer was given somewhere
    /// between the question and its arrival.
    fn ahead(&self) -> TimeDelta {
        if self.told > self.answered {
            self.told - self.answered
        } else if self.told < self.asked {
            self.told - self.asked
        } else {
            TimeDelta::zero()
        }
    }
}

/// Judges each clock against this process's.
#[must_use]
pub fn clocks(readings: &[Reading]) -> Vec<Finding> {
    let judge = |reading: &Reading| {
        let ahead = reading.ahead();
        let verdict = if ahead.abs() > APART_MAX {
            Warn("set both by NTP: campaigns open and close by several clocks")
        } else {
            Good
        };
        let seconds = ahead.as_seconds_f64();
        finding("clock", reading.part, &format!("{seconds:+.3} s"), verdict)
    };
    readings.iter().map(judge).collect()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::super::Level;
    use super::{Reading, clocks};

    fn judged(told_ms: i64, took_ms: i64) -> (Level, String) {
        let asked = DateTime::UNIX_EPOCH;
        let reading = Reading {
            part: "mysql",
            asked,
            told: asked + TimeDelta::milliseconds(told_ms),
            answered: asked + TimeDelta::milliseconds(took_ms),
        };
        let mut found = clocks(&[reading]);
        let found = found.remove(0);
        (found.level, found.value)
    }

    #[test]
    fn clocks_up_to_a_second_apart_have_no_findings() {
        assert_eq!(judged(3, 5), (Level::Ok, "+0.000 s".to_owned()));
        assert_eq!(judged(1_005, 5), (Level::Ok, "+1.000 s".to_owned()));
        assert_eq!(judged(-1_000, 5), (Level::Ok, "-1.000 s".to_owned()));
    }

    #[test]
    fn clocks_further_apart_are_named_in_either_direction() {
        assert_eq!(judged(1_006, 5), (Level::Warn, "+1.001 s".to_owned()));
        assert_eq!(judged(-90_000, 5), (Level::Warn, "-90.000 s".to_owned()));
    }

    #[test]
    fn a_slow_answer_is_no_clock_difference() {
        assert_eq!(judged(2_000, 4_000).0, Level::Ok);
    }
}

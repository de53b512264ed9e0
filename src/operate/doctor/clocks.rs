//! Clocks. Leases and windows use the clocks of the parts, so nothing is lost if clocks differ. But then a campaign
//! does not open for everybody at the same time, and times in records cannot be compared.

use chrono::{DateTime, TimeDelta, Utc};

use super::SettingJudgement::Warn;
use super::{Finding, finding, good_if};

/// Largest accepted difference between clocks.
const APART_MAX: TimeDelta = TimeDelta::seconds(1);

/// One reading of the clock of a part.
#[derive(Clone, Debug)]
pub struct ClockReading {
    /// Which part.
    pub part: &'static str,
    /// This process's time before the request.
    pub asked: DateTime<Utc>,
    /// The part's time.
    pub time: DateTime<Utc>,
    /// This process's time after the answer.
    pub answered: DateTime<Utc>,
}

impl ClockReading {
    /// The smallest possible lead of the part's clock: it was read between the request and the answer.
    fn ahead(&self) -> TimeDelta {
        self.time - self.time.clamp(self.asked, self.answered)
    }
}

/// Judges each clock against this process's.
#[must_use]
pub fn clocks(readings: &[ClockReading]) -> Vec<Finding> {
    let judge = |reading: &ClockReading| {
        let ahead = reading.ahead();
        let advice = Warn("synchronise both with NTP: campaigns open and close by several clocks");
        let verdict = good_if(ahead.abs() <= APART_MAX, advice);
        let seconds = ahead.as_seconds_f64();
        finding("clock", reading.part, &format!("{seconds:+.3} s"), verdict)
    };
    readings.iter().map(judge).collect()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::super::Level;
    use super::{ClockReading, clocks};

    fn judged(ahead_ms: i64, took_ms: i64) -> (Level, String) {
        let asked = DateTime::UNIX_EPOCH;
        let reading = ClockReading {
            part: "mysql",
            asked,
            time: asked + TimeDelta::milliseconds(ahead_ms),
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

//! The daily statistics of a campaign, and their addition. Values only.

use std::collections::BTreeMap;

use super::{Status, Timestamp};

/// Participations by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByStatus {
    /// Waiting for their payment.
    pub reserved: u64,
    /// Confirmed.
    pub confirmed: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Expired.
    pub expired: u64,
}

impl ByStatus {
    /// The number of one status.
    pub const fn of(&mut self, status: Status) -> &mut u64 {
        match status {
            Status::Reserved => &mut self.reserved,
            Status::Confirmed => &mut self.confirmed,
            Status::Cancelled => &mut self.cancelled,
            Status::Expired => &mut self.expired,
        }
    }

    /// The total.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.reserved + self.confirmed + self.cancelled + self.expired
    }
}

/// The statistics of a campaign, or of all campaigns, for one day or several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaySums {
    /// Participations committed in that time, by their status when they were counted.
    pub by_status: ByStatus,
    /// Units of all of them.
    pub units: u64,
    /// Units of participations that hold units.
    pub units_standing: u64,
    /// Rejected requests, by code.
    pub refusals: BTreeMap<String, u64>,
    /// When the first was committed.
    pub first_at: Option<Timestamp>,
    /// When the last was committed.
    pub last_at: Option<Timestamp>,
    /// Participations by hour, counted from the beginning of the day.
    pub hours: Vec<u64>,
}

impl DaySums {
    /// Rejected requests.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refusals.values().sum()
    }

    /// Counts rejections.
    pub fn refuse(&mut self, reason: &str, count: u64) {
        if let Some(known) = self.refusals.get_mut(reason) {
            *known += count;
        } else {
            self.refusals.insert(reason.to_owned(), count);
        }
    }

    /// Counts participations of one hour.
    pub fn count_hour(&mut self, hour: usize, count: u64) {
        if self.hours.len() <= hour {
            self.hours.resize(hour + 1, 0);
        }
        if let Some(known) = self.hours.get_mut(hour) {
            *known += count;
        }
    }

    /// Adds the other statistics to these.
    pub fn add(&mut self, other: &Self) {
        let (mine, others) = (&mut self.by_status, &other.by_status);
        mine.reserved += others.reserved;
        mine.confirmed += others.confirmed;
        mine.cancelled += others.cancelled;
        mine.expired += others.expired;
        self.units += other.units;
        self.units_standing += other.units_standing;
        for (reason, count) in &other.refusals {
            self.refuse(reason, *count);
        }
        for (hour, count) in other.hours.iter().enumerate() {
            self.count_hour(hour, *count);
        }
        let firsts = [self.first_at, other.first_at];
        self.first_at = firsts.into_iter().flatten().min();
        self.last_at = self.last_at.max(other.last_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_depend_on_the_order() {
        let at = |text: &str| text.parse::<Timestamp>().ok();
        let mut one = DaySums {
            units: 3,
            first_at: at("2026-11-22T10:00:00Z"),
            last_at: at("2026-11-22T10:00:00Z"),
            ..DaySums::default()
        };
        *one.by_status.of(Status::Confirmed) = 2;
        one.refuse("SOLD_OUT", 4);
        one.count_hour(10, 2);
        let mut other = DaySums::default();
        other.refuse("SOLD_OUT", 1);
        other.refuse("ENDED", 1);
        other.count_hour(3, 1);
        other.last_at = at("2026-11-22T11:00:00Z");
        let (mut there, mut back) = (one.clone(), other.clone());
        there.add(&other);
        back.add(&one);
        assert_eq!(there, back);
        assert_eq!(there.refused(), 6);
        assert_eq!(there.by_status.total(), 2);
        assert_eq!(there.first_at, at("2026-11-22T10:00:00Z"));
        assert_eq!(there.hours, [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn a_sum_of_days_has_the_units_of_both_and_their_participations_by_status() {
        let day = |counts: [u64; 4], units, units_standing| {
            let mut day = DaySums {
                units,
                units_standing,
                ..DaySums::default()
            };
            for (status, count) in Status::ALL.into_iter().zip(counts) {
                *day.by_status.of(status) = count;
            }
            day
        };
        let mut sum = day([1, 20, 300, 4_000], 50, 7);
        assert_eq!(sum.by_status.total(), 4_321);
        sum.add(&day([2, 30, 400, 5_000], 60, 8));
        assert_eq!(sum, day([3, 50, 700, 9_000], 110, 15));
    }
}

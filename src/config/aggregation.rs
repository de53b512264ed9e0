//! `[aggregation]`: the daily statistics.

use std::time::Duration;

use crate::domain::Zone;
use crate::operate::statistics::{self, Schedule, ScheduleError};
use crate::runtime::retry;
use crate::runtime::settings::{DAY, MILLISECOND, MINUTE, SECOND, settings};

settings! {
    /// `[aggregation]`: the daily statistics.
    Aggregation in "aggregation" {
        /// Whether `serve` aggregates days on schedule. An admin can start a run at any time
        enabled: bool = true;
        /// When: a cron expression (minute, hour, day of the month, month, day of the week), in the time zone `zone`
        schedule: String = "0 2 * * *".to_owned();
        /// Time zone of the days: an IANA name such as `Asia/Seoul`
        zone: String = "UTC".to_owned();
        /// Days back from yesterday that are aggregated if they were missed
        catch_up_days: u32 = 7, in 1..=365;
        /// Participations that one statement adds up
        slice_rows: u32 = 50_000, in 100..=1_000_000;
        /// Slices that are read at the same time, each on a connection of the pool
        parallel_max: usize = 2, in 1..=16;
        /// Campaigns that are written at the same time, each in a transaction on a connection of the pool. One connection
        /// stays free: fewer are written if `database.connections_max` is not above it (SQLite: at most 3)
        concurrency: usize = 4, in 1..=32;
        /// How long the lease of the aggregation is valid if its replica does not renew it
        lease: Duration = SECOND * 15, in SECOND * 3..=MINUTE * 10;
        /// Attempts before a slice or a campaign fails
        attempts_max: u32 = 6, in 1..=20;
        /// Wait after the first attempt; it doubles from there, with full jitter. At most `retry_max`
        retry_initial: Duration = MILLISECOND * 200;
        /// Longest wait between attempts
        retry_max: Duration = SECOND * 5, in ..=MINUTE;
        /// Retention of ended runs. Daily statistics are never deleted
        runs_kept: Duration = DAY * 90, in DAY..=DAY * 3_650;
    }
}

impl Aggregation {
    /// The configuration of the aggregator on a pool of this many connections, valid once the configuration was
    /// checked.
    pub fn settings(&self, connections_max: u32) -> Result<statistics::Settings, ScheduleError> {
        let zone = self.zone().unwrap_or(Zone::UTC);
        let connections_max = usize::try_from(connections_max).unwrap_or(usize::MAX);
        // One renews the lease of the run.
        let writing_max = connections_max.saturating_sub(1).max(1);
        Ok(statistics::Settings {
            zone,
            schedule: Schedule::parse(&self.schedule, zone)?,
            catch_up_days: self.catch_up_days,
            slice_rows: self.slice_rows,
            parallel_max: self.parallel_max,
            concurrency: self.concurrency.min(writing_max),
            lease: self.lease,
            retry: self.retry(),
            runs_kept: self.runs_kept,
        })
    }

    fn zone(&self) -> Option<Zone> {
        self.zone.parse().ok()
    }

    const fn retry(&self) -> retry::Policy {
        retry::Policy {
            initial: self.retry_initial,
            max: self.retry_max,
            multiplier: 2.0,
            attempts_max: self.attempts_max,
        }
    }

    /// Checks the rules that involve several settings.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            self.zone().is_some(),
            "aggregation.zone: must be the IANA name of a time zone, such as Asia/Seoul",
        );
        require(
            Schedule::parse(&self.schedule, Zone::UTC).is_ok(),
            "aggregation.schedule: must be a cron expression that matches some time, such as 0 2 * * *",
        );
        require(
            !self.retry_initial.is_zero() && self.retry_initial <= self.retry_max,
            "aggregation.retry_initial: must be above zero and at most aggregation.retry_max",
        );
    }
}

//! The section `[aggregation]` as the aggregator and the alerts take it, and what it must keep to.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::Aggregation;
use crate::domain::Zone;
use crate::operate::alert::AlertConfig;
use crate::operate::statistics::{self, Schedule, ScheduleError};
use crate::runtime::retry;
use crate::runtime::web;

impl Aggregation {
    /// What the aggregator is told. The check of the configuration has said what is wrong with it.
    pub fn settings(&self) -> Result<statistics::Settings, ScheduleError> {
        let zone = self.zone().unwrap_or(Zone::UTC);
        Ok(statistics::Settings {
            zone,
            schedule: Schedule::parse(&self.schedule, zone)?,
            catch_up_days: self.catch_up_days,
            slice_rows: self.slice_rows,
            parallel_max: self.parallel_max,
            lease: self.lease,
            retry: self.retry(),
            runs_kept: self.runs_kept,
        })
    }

    /// What the alerts are told.
    #[must_use]
    pub fn alerts(&self) -> AlertConfig {
        AlertConfig {
            webhook_url: self.webhook_url.clone(),
            timeout: self.webhook_timeout,
            retry: self.retry(),
        }
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

    /// Requires what must hold.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let day = minutes(24 * 60);
        require(
            self.zone().is_some(),
            "aggregation.zone: must be the IANA name of a time zone, as Asia/Seoul",
        );
        require(
            Schedule::parse(&self.schedule, Zone::UTC).is_ok(),
            "aggregation.schedule: must be a cron expression whose time comes, as 0 2 * * *",
        );
        require(
            (1..=365).contains(&self.catch_up_days),
            "aggregation.catch_up_days: must be between 1 and 365",
        );
        require(
            (100..=1_000_000).contains(&self.slice_rows),
            "aggregation.slice_rows: must be between 100 and 1000000",
        );
        require(
            (1..=16).contains(&self.parallel_max),
            "aggregation.parallel_max: must be between 1 and 16",
        );
        require(
            (Duration::from_secs(3)..=minutes(10)).contains(&self.lease),
            "aggregation.lease: must be between 3s and 10m",
        );
        require(
            (1..=20).contains(&self.attempts_max),
            "aggregation.attempts_max: must be between 1 and 20",
        );
        require(
            !self.retry_initial.is_zero() && self.retry_initial <= self.retry_max,
            "aggregation.retry_initial: must not be zero, nor above aggregation.retry_max",
        );
        require(
            self.retry_max <= minutes(1),
            "aggregation.retry_max: must be at most 60s",
        );
        require(
            (day..=day * 3_650).contains(&self.runs_kept),
            "aggregation.runs_kept: must be between 1day and 3650days",
        );
        let address = self.webhook_url.as_ref().map(ExposeSecret::expose_secret);
        require(
            address.is_none_or(|url| web::address(url).is_some()),
            "aggregation.webhook_url: must begin with https:// or http://",
        );
        require(
            (Duration::from_millis(100)..=minutes(1)).contains(&self.webhook_timeout),
            "aggregation.webhook_timeout: must be between 100ms and 60s",
        );
    }
}

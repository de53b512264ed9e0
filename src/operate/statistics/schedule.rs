//! The schedule of aggregation: a cron expression in the time zone of the days. A day without a completed run in the store
//! is missed, so it does not matter which replica was running at the scheduled time.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use croner::Cron;
use tokio_util::sync::CancellationToken;

use super::{AggregateError, Aggregator, Claim};
use crate::domain::{Day, Timestamp, Zone};
use crate::parts::store::{Cause, Redo, StoreError};
use crate::runtime::supervisor::Spawner;
use crate::runtime::telemetry::cause;

/// Longest wait until the next check: clocks can be adjusted, and failed days are repeated.
const WAIT_MAX: Duration = Duration::from_secs(60 * 60);
/// Pause after a failure of the store.
const FAILURE_PAUSE: Duration = Duration::from_secs(30);
/// Shortest wait.
const WAIT_MIN: Duration = Duration::from_millis(500);

/// A cron expression in a time zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Box<Cron>,
    zone: Zone,
}

/// An invalid cron expression.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// It cannot be parsed.
    #[error("read the cron expression")]
    Expression(#[source] croner::errors::CronError),
    /// It matches no time.
    #[error("the cron expression matches no time")]
    Never,
}

impl Schedule {
    /// Parses an expression.
    pub fn parse(expression: &str, zone: Zone) -> Result<Self, ScheduleError> {
        let cron = Cron::from_str(expression).map_err(ScheduleError::Expression)?;
        let schedule = Self {
            cron: Box::new(cron),
            zone,
        };
        match schedule.next(DateTime::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never),
        }
    }

    /// The first time at or after this one.
    fn next(&self, at: Timestamp) -> Option<Timestamp> {
        let local = at.with_timezone(&self.zone);
        let next = self.cron.find_next_occurrence(&local, true).ok()?;
        Some(next.to_utc())
    }

    /// Whether the scheduled time after the end of a day has passed.
    fn is_due(&self, day: Day, now: Timestamp) -> bool {
        self.next(day.end()).is_some_and(|at| at <= now)
    }
}

/// Aggregates days on schedule, and missed days.
pub fn start(spawner: &Spawner, aggregator: &Aggregator) {
    let aggregator = aggregator.clone();
    spawner.repeat("aggregate.schedule", Duration::ZERO, move |stop| {
        let aggregator = aggregator.clone();
        async move { aggregator.run_due(&stop).await }
    });
}

impl Aggregator {
    /// Runs the due aggregations. Returns the time until the next one.
    async fn run_due(&self, stop: &CancellationToken) -> Duration {
        match self.catch_up(stop).await {
            Ok(()) => self.until_next(),
            // If its replica dies, its lease has expired by then.
            Err(AggregateError::Running(_) | AggregateError::Busy) => self.inner.settings.lease,
            Err(error) => {
                tracing::warn!(
                    error = cause(&error),
                    "aggregation failed; it will be retried"
                );
                FAILURE_PAUSE
            }
        }
    }

    /// Aggregates the days that are due, the oldest first.
    pub async fn catch_up(&self, stop: &CancellationToken) -> Result<(), AggregateError> {
        self.purge_old_runs().await?;
        for day in self.due().await? {
            if stop.is_cancelled() {
                break;
            }
            let yesterday = Day::of(self.inner.dependencies.clock.now(), day.zone).minus(1);
            let cause = if day == yesterday {
                Cause::Schedule
            } else {
                Cause::CatchUp
            };
            if let Claim::Job(job) = self.claim(day, cause, Redo::No).await? {
                job.run_to_end(stop).await;
            }
        }
        Ok(())
    }

    /// Days that have ended, are due by the schedule and are not aggregated; none before the first campaign.
    async fn due(&self) -> Result<Vec<Day>, StoreError> {
        let settings = &self.inner.settings;
        let store = &self.inner.dependencies.store;
        let Some(first) = store.first_campaign_at().await? else {
            return Ok(Vec::new());
        };
        let now = self.inner.dependencies.clock.now();
        let today = Day::of(now, settings.zone);
        let oldest = today.minus(settings.catch_up_days).date;
        let oldest = oldest.max(Day::of(first, settings.zone).date);
        let done = store.days_done(settings.zone, (oldest, today.date)).await?;
        let is_done = |day: &Day| {
            done.iter()
                .any(|done| done.date == day.date && done.is_complete)
        };
        let days = (1..=settings.catch_up_days)
            .rev()
            .map(|ago| today.minus(ago));
        Ok(days
            .filter(|day| day.date >= oldest && !is_done(day))
            .filter(|day| settings.schedule.is_due(*day, now))
            .collect())
    }

    async fn purge_old_runs(&self) -> Result<(), StoreError> {
        let kept = self.inner.settings.runs_kept;
        while self.inner.dependencies.store.purge_runs(kept).await? > 0 {}
        Ok(())
    }

    fn until_next(&self) -> Duration {
        let now = self.inner.dependencies.clock.now();
        let next = self
            .inner
            .settings
            .schedule
            .next(now + TimeDelta::seconds(1));
        let wait = next.map_or(WAIT_MAX, |at| (at - now).to_std().unwrap_or_default());
        wait.clamp(WAIT_MIN, WAIT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(expression: &str, zone: &str) -> Schedule {
        Schedule::parse(expression, zone.parse().unwrap()).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn day(date: &str, zone: &str) -> Day {
        Day {
            date: date.parse().unwrap(),
            zone: zone.parse().unwrap(),
        }
    }

    #[test]
    fn yesterday_is_due_at_its_scheduled_time() {
        let nightly = schedule("0 2 * * *", "Asia/Seoul");
        let yesterday = day("2026-11-21", "Asia/Seoul");
        assert!(!nightly.is_due(yesterday, at("2026-11-21T16:59:59Z")));
        assert!(nightly.is_due(yesterday, at("2026-11-21T17:00:00Z")));
        assert!(!nightly.is_due(yesterday.plus(1), at("2026-11-21T17:00:00Z")));
    }

    #[test]
    fn a_skipped_or_repeated_local_time_is_one_instant() {
        let nightly = schedule("30 2 * * *", "Europe/Berlin");
        let spring = day("2026-03-28", "Europe/Berlin");
        assert!(!nightly.is_due(spring, at("2026-03-29T00:59:00Z")));
        assert!(
            nightly.is_due(spring, at("2026-03-29T01:30:00Z")),
            "a skipped time is not left out"
        );
        let autumn = day("2026-10-24", "Europe/Berlin");
        assert!(nightly.is_due(autumn, at("2026-10-25T01:30:00Z")));
    }

    #[test]
    fn a_weekly_schedule_makes_all_days_of_the_week_due() {
        let weekly = schedule("0 2 * * 0", "UTC");
        let (monday, saturday) = (day("2026-11-16", "UTC"), day("2026-11-21", "UTC"));
        assert!(!weekly.is_due(monday, at("2026-11-22T01:59:00Z")));
        assert!(weekly.is_due(monday, at("2026-11-22T02:00:00Z")));
        assert!(weekly.is_due(saturday, at("2026-11-22T02:00:00Z")));
    }

    #[test]
    fn an_expression_that_never_matches_is_rejected() {
        for wrong in ["", "at noon", "0 2 30 2 *", "61 2 * * *"] {
            assert!(Schedule::parse(wrong, Zone::UTC).is_err(), "{wrong}");
        }
    }
}

//! Lets published events go when they are older than they have to be kept. Works in small pieces and
//! rests after each in proportion to what it took, so that it never has more than a small share of
//! the database; looks at an event that has to stay once in a sweep, not once in a piece.
//!
//! It deletes bounded ranges of streams whose campaigns are over; what is parked stays.
//!
//! Only the relay that owns bucket 0 does it. That saves work and is no guarantee: two that overlap
//! delete and count each event once all the same, because the store does both in one transaction.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::domain::{self, LogPlace};
use crate::parts::store::StoreError;
use crate::runtime::settings::{out_of_bounds, settings};
use crate::runtime::supervisor::BoxError;

/// The bucket whose owner does what one relay is to do for all.
pub(super) const CHORES: u16 = 0;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

settings! {
    /// `[retention]`: how long published events and the audit log are kept, and the load of deleting them.
    Retention in "retention" {
        /// Age from which a published event may be deleted
        published_events: Duration = DAY * 7, in HOUR..=DAY * 36_500;
        /// Age from which an entry of the audit log is deleted. One replica at a time deletes them, `rows_max` at once
        audit_entries: Duration = DAY * 400, in DAY..=DAY * 36_500;
        /// How often such events and entries are looked for; one statement if there are none
        interval: Duration = SECOND * 60, in SECOND..;
        /// How often all old events are read again, because their campaigns may be over by now; at least `interval`
        sweep_interval: Duration = HOUR;
        /// Events that one statement reads, and one transaction deletes
        rows_max: u32 = 500, in 1..=1_000;
        /// Percentage of the time in which statements of a sweep may run: a statement of 10 ms is followed by a pause of
        /// 90 ms
        busy_percent_max: u32 = 10, in 1..=100;
    }
    beside {
        /// How often the length of the database's history is read.
        sample_interval: Duration = SECOND * 30;
    }
}

impl Retention {
    /// All mistakes in it. Tests use shorter intervals than the configuration allows.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = out_of_bounds(self);
        mistakes.retain(|mistake| !mistake.starts_with("interval:"));
        if self.interval.is_zero() || self.sample_interval.is_zero() {
            mistakes.push("interval: must not be zero".to_owned());
        }
        if self.sweep_interval < self.interval {
            mistakes.push("sweep_interval: must be at least retention.interval".to_owned());
        }
        mistakes
    }

    /// The pause after a statement that took this long.
    pub(crate) fn rest(&self, took: Duration) -> Duration {
        let busy = self.busy_percent_max.clamp(1, 100);
        (took * (100 - busy) / busy).min(self.interval)
    }
}

/// What a piece of work leaves to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Left {
    More,
    #[default]
    Nothing,
}

/// How far the purger has come. Kept in memory: a restart begins a sweep.
#[derive(Debug, Default)]
struct Sweep {
    /// When it began; none: not yet.
    began: Option<Instant>,
    /// The last event looked at.
    cursor: Option<LogPlace>,
    /// Whether there are events to look at that are old enough.
    left: Left,
    /// Since when the oldest event known to be overdue could have gone.
    overdue_since: Option<domain::Timestamp>,
    /// Deleted since it last said so.
    purged: u64,
}

impl Sweep {
    /// Goes back to the oldest event when it is time to; never before the newest was reached, or
    /// there might be some that are never reached.
    fn begin_when_due(&mut self, sweep_interval: Duration) {
        let rested = self.began.is_none_or(|at| at.elapsed() >= sweep_interval);
        if rested && self.left == Left::Nothing {
            self.began = Some(Instant::now());
            self.cursor = None;
        }
    }

    /// Notes that every event that is old enough was read.
    fn ends(&mut self) {
        self.overdue_since = None;
        if self.purged > 0 {
            tracing::info!(events = self.purged, "published events purged");
            self.purged = 0;
        }
    }
}

/// Runs until told to stop.
pub(super) async fn purge(context: Context, stop: CancellationToken) -> Result<(), BoxError> {
    let retention = &context.config.retention;
    let mut sweep = Sweep::default();
    loop {
        let began = Instant::now();
        let pause = if context.ownership.may_send(CHORES) {
            match purge_some(&context, &mut sweep).await {
                Ok(()) if sweep.left == Left::More => retention.rest(began.elapsed()),
                Ok(()) => retention.interval,
                Err(failure) => {
                    tracing::warn!(%failure, "published events not purged");
                    retention.interval
                }
            }
        } else {
            sweep = Sweep::default();
            retention.interval
        };
        show_lag(&context, &sweep);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One statement that looks, and when it finds something one transaction that deletes it.
async fn purge_some(context: &Context, sweep: &mut Sweep) -> Result<(), StoreError> {
    let retention = &context.config.retention;
    sweep.begin_when_due(retention.sweep_interval);
    let age = TimeDelta::from_std(retention.published_events).unwrap_or(TimeDelta::MAX);
    let now = context.clock.now();
    let rows_max = retention.rows_max;
    let page = context
        .store
        .purgeable(sweep.cursor, retention.published_events, rows_max)
        .await?;
    let since = page.purgeable.iter().map(|event| {
        let of_age = event.created_at.checked_add_signed(age);
        of_age.unwrap_or(now).max(event.over_at)
    });
    sweep.overdue_since = since.min().or(sweep.overdue_since);
    if !page.purgeable.is_empty() {
        show_lag(context, sweep);
        let purged = context.store.purge(&page.purgeable).await?;
        context.metrics.retention.purged.inc_by(purged);
        sweep.purged += purged;
    }
    sweep.cursor = page.last.or(sweep.cursor);
    // The next page is of the next stream.
    if page.last.is_some() {
        sweep.left = Left::More;
    } else {
        sweep.left = Left::Nothing;
        sweep.ends();
    }
    Ok(())
}

/// Says how long the oldest event that could go is overdue.
fn show_lag(context: &Context, sweep: &Sweep) {
    let overdue = sweep.overdue_since.map_or(0, |since| {
        let overdue = context.clock.now().signed_duration_since(since);
        overdue.num_seconds().max(0)
    });
    context.metrics.retention.purge_lag_seconds.set(overdue);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_proportional_to_the_work_and_at_most_the_interval() {
        let retention = Retention::default();
        let rest = |millis| retention.rest(Duration::from_millis(millis));
        assert_eq!(rest(10), Duration::from_millis(90));
        assert_eq!(rest(3_600_000), retention.interval);
        let eager = Retention {
            busy_percent_max: 100,
            ..retention
        };
        assert_eq!(eager.rest(Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn a_sweep_starts_only_after_the_previous_one_ended() {
        let mut sweep = Sweep {
            began: Some(Instant::now()),
            cursor: Some(LogPlace {
                stream: domain::StreamId::of_participations(domain::CampaignId(1)),
                sequence: 1,
            }),
            left: Left::More,
            ..Sweep::default()
        };
        sweep.begin_when_due(Duration::ZERO);
        assert!(sweep.cursor.is_some());
        sweep.left = Left::Nothing;
        sweep.begin_when_due(Duration::from_secs(3_600));
        assert!(sweep.cursor.is_some());
        sweep.begin_when_due(Duration::ZERO);
        assert_eq!(sweep.cursor, None);
    }

    #[test]
    fn each_error_is_named() {
        assert!(Retention::default().mistakes().is_empty());
        let wrong = Retention {
            published_events: Duration::from_secs(1),
            interval: Duration::ZERO,
            rows_max: 0,
            busy_percent_max: 101,
            ..Retention::default()
        };
        assert_eq!(wrong.mistakes().len(), 4);
    }
}

//! Deletes published events that are older than their retention. Works in small batches, with a pause after each in
//! proportion to its duration, so that its share of the database's time is bounded. In one sweep, an event that must
//! stay is read once.
//!
//! Deletes bounded ranges of streams of ended campaigns; parked events stay.
//!
//! Only the relay that owns bucket 0 purges. This saves work and is not required: two concurrent purgers delete and
//! count each event once, because the store does both in one transaction.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::domain::{self, LogPlace};
use crate::parts::store::StoreError;
use crate::runtime::settings::{DAY, SECOND, out_of_bounds, settings};
use crate::runtime::supervisor::BoxError;

/// The bucket whose owner does the chores of the whole installation.
pub(super) const CHORES: u16 = 0;

const HOUR: Duration = Duration::from_secs(3_600);

settings! {
    /// `[retention]`: how long published events, the audit log and refused orders are kept, and the load of deleting them.
    Retention in "retention" {
        /// Age from which a published event may be deleted
        published_events: Duration = DAY * 7, in HOUR..=DAY * 36_500;
        /// Age from which an entry of the audit log is deleted. One replica at a time deletes them, `rows_max` at once
        audit_entries: Duration = DAY * 400, in DAY..=DAY * 36_500;
        /// Age of the refusal from which a refused order is deleted, with its lines and its `Idempotency-Key`, up to about
        /// a quarter of that later. A request that repeats the key then places a new order
        refused_orders: Duration = DAY * 7, in HOUR..=DAY * 36_500;
        /// How often the service checks for such events and entries, with one statement if there are none
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

    /// The pause after a statement of this duration.
    pub(crate) fn rest(&self, took: Duration) -> Duration {
        let busy = self.busy_percent_max.clamp(1, 100);
        (took * (100 - busy) / busy).min(self.interval)
    }
}

/// Whether work remains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum RemainingWork {
    More,
    #[default]
    Nothing,
}

/// The progress of the purger. In memory only: after a restart a new sweep begins.
#[derive(Debug, Default)]
struct Sweep {
    /// When it began; none: not yet.
    began: Option<Instant>,
    /// The last event read.
    cursor: Option<LogPlace>,
    /// Whether there are unread events that are old enough.
    remaining: RemainingWork,
    /// When the oldest event known to be overdue became deletable.
    overdue_since: Option<domain::Timestamp>,
    /// Events deleted since the last log line.
    purged: u64,
}

impl Sweep {
    /// Begins a new sweep at the oldest event when it is due, but only after the previous sweep has reached the
    /// newest event; otherwise some events would never be reached.
    fn begin_when_due(&mut self, sweep_interval: Duration) {
        let rested = self.began.is_none_or(|at| at.elapsed() >= sweep_interval);
        if rested && self.remaining == RemainingWork::Nothing {
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

/// Runs until it is stopped.
pub(super) async fn purge(context: Context, stop: CancellationToken) -> Result<(), BoxError> {
    let retention = &context.config.retention;
    let mut sweep = Sweep::default();
    loop {
        let began = Instant::now();
        let pause = if context.ownership.may_send(CHORES) {
            match purge_some(&context, &mut sweep).await {
                Ok(()) if sweep.remaining == RemainingWork::More => retention.rest(began.elapsed()),
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

/// One statement that searches, and one transaction that deletes what it found.
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
        of_age.unwrap_or(now).max(event.ended_at)
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
        sweep.remaining = RemainingWork::More;
    } else {
        sweep.remaining = RemainingWork::Nothing;
        sweep.ends();
    }
    Ok(())
}

/// Sets the metric of how long the oldest deletable event is overdue.
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
            remaining: RemainingWork::More,
            ..Sweep::default()
        };
        sweep.begin_when_due(Duration::ZERO);
        assert!(sweep.cursor.is_some());
        sweep.remaining = RemainingWork::Nothing;
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

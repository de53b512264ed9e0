//! One run: reads the day, writes each campaign in a transaction of its own, and ends. It holds its turn
//! while it works and says how far it has come; when the turn is lost it stops, and writes nothing any
//! more, because every transaction holds the turn when it commits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::reading::Reader;
use super::{Desk, Parts};
use crate::domain::{CampaignId, Day, DaySums};
use crate::parts::store::{Ended, Progress, Run, RunFailure, StoreError};
use crate::runtime::failpoint;
use crate::runtime::retry::retry;

/// How often it says how far it has come, at least as often as its turn has to be renewed.
const REPORT: Duration = Duration::from_secs(1);
/// Campaigns that failed and are named.
const NAMED_MAX: usize = 100;
/// How long after its end a day is whole: by then what was under way is committed, and refusals that were
/// counted are written.
const SETTLED: TimeDelta = TimeDelta::minutes(1);

/// A run that has its turn.
pub(super) struct Job {
    desk: Arc<Desk>,
    pub(super) run: Run,
    report: Report,
}

/// How far it has come, as it goes.
#[derive(Default)]
struct Report {
    percent: AtomicU32,
    participations: AtomicU64,
    campaigns: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
}

impl Report {
    fn progress(&self) -> Progress {
        Progress {
            percent: self.percent.load(Ordering::Relaxed),
            participations: self.participations.load(Ordering::Relaxed),
            campaigns: self.campaigns.load(Ordering::Relaxed),
            campaigns_done: self.done.load(Ordering::Relaxed),
            campaigns_failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error("lost the lease of the run")]
    Lost,
    #[error("the process stops")]
    Stopped,
    #[error("aggregate the day")]
    Store(#[from] StoreError),
}

impl JobError {
    const fn code(&self) -> &'static str {
        match self {
            Self::Lost => "ABANDONED",
            Self::Stopped => "STOPPED",
            Self::Store(error) => error.code(),
        }
    }
}

impl Job {
    pub(super) fn new(desk: Arc<Desk>, run: Run) -> Self {
        Self {
            desk,
            run,
            report: Report::default(),
        }
    }

    /// Does all of it, unless it is told to stop.
    pub(super) async fn carry_out(self, stop: &CancellationToken) {
        let began = Instant::now();
        failpoint::point("aggregate.claimed");
        let mut failures = Vec::new();
        let worked = tokio::select! {
            worked = self.work(&mut failures) => worked,
            () = self.keep_turn() => Err(JobError::Lost),
            () = stop.cancelled() => Err(JobError::Stopped),
        };
        let error = match &worked {
            Ok(()) if failures.is_empty() => None,
            Ok(()) => Some("CAMPAIGNS_FAILED"),
            Err(error) => Some(error.code()),
        };
        if let Err(error) = &worked {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                run.id = %self.run.id,
                "aggregation ends early"
            );
        }
        self.end(failures, error, began.elapsed()).await;
    }

    async fn work(&self, failures: &mut Vec<RunFailure>) -> Result<(), JobError> {
        let sums = self.read().await?;
        let campaigns = u64::try_from(sums.len()).unwrap_or(u64::MAX);
        self.report.percent.store(100, Ordering::Relaxed);
        self.report.campaigns.store(campaigns, Ordering::Relaxed);
        self.write(&sums, failures).await
    }

    async fn read(&self) -> Result<BTreeMap<CampaignId, DaySums>, StoreError> {
        let settings = &self.desk.settings;
        let reader = Reader {
            // Nobody waits for it.
            store: self.desk.parts.store.patient(),
            slice_rows: settings.slice_rows,
            parallel_max: settings.parallel_max,
            retry: settings.retry,
        };
        let day = self.run.day;
        let report = &self.report;
        let read = reader.read(day, |end, participations| {
            report
                .participations
                .fetch_add(participations, Ordering::Relaxed);
            report
                .percent
                .fetch_max(percent_of(day, end), Ordering::Relaxed);
        });
        read.await
    }

    /// Writes each campaign. One that fails leaves the others standing; without the store there is no
    /// point in going on.
    async fn write(
        &self,
        sums: &BTreeMap<CampaignId, DaySums>,
        failures: &mut Vec<RunFailure>,
    ) -> Result<(), JobError> {
        let store = &self.desk.parts.store;
        for (campaign, sums) in sums {
            let write = || store.write_daily(&self.run, *campaign, sums);
            match retry(&self.desk.settings.retry, StoreError::verdict, write).await {
                Ok(true) => self.report.done.fetch_add(1, Ordering::Relaxed),
                Ok(false) => return Err(JobError::Lost),
                Err(error) if error.is_unavailable() => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        campaign.id = %campaign,
                        run.id = %self.run.id,
                        "a campaign is not aggregated"
                    );
                    if failures.len() < NAMED_MAX {
                        failures.push(RunFailure::of(*campaign, &error));
                    }
                    self.report.failed.fetch_add(1, Ordering::Relaxed)
                }
            };
            failpoint::point("aggregate.written");
        }
        Ok(())
    }

    /// Returns when the turn is lost, or may be because the store has said nothing for as long as it
    /// lasts.
    async fn keep_turn(&self) {
        let Parts { store, .. } = &self.desk.parts;
        let lease = self.desk.settings.lease;
        let mut kept = Instant::now();
        while kept.elapsed() < lease {
            tokio::time::sleep(REPORT.min(lease / 3)).await;
            let asked = Instant::now();
            match store
                .renew_run(&self.run, lease, &self.report.progress())
                .await
            {
                Ok(true) => kept = asked,
                Ok(false) => return,
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    run.id = %self.run.id,
                    "the turn to aggregate is not renewed"
                ),
            }
        }
    }

    async fn end(&self, failures: Vec<RunFailure>, error: Option<&'static str>, took: Duration) {
        let Parts { store, metrics, .. } = &self.desk.parts;
        failpoint::point("aggregate.ending");
        let ended = Ended {
            progress: self.report.progress(),
            failures,
            error,
            is_whole_day: self.run.started_at >= self.run.day.end() + SETTLED,
        };
        let noted = retry(&self.desk.settings.retry, StoreError::verdict, || {
            store.end_run(&self.run, &ended)
        });
        // Where it is not noted, the turn runs out and whoever takes it says that this was abandoned.
        match noted.await {
            Ok(true) => {}
            Ok(false) => tracing::warn!(run.id = %self.run.id, "a run ends without its turn"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                run.id = %self.run.id,
                "the end of a run is not noted"
            ),
        }
        let Progress {
            participations,
            campaigns_done,
            campaigns_failed,
            ..
        } = ended.progress;
        metrics.took(took, campaigns_failed);
        match error {
            None => {
                metrics.completed(self.desk.parts.clock.now());
                tracing::info!(
                    run.id = %self.run.id, participations, campaigns_done, ?took, "aggregation done"
                );
            }
            // It is taken up again by who is there next.
            Some("STOPPED") => metrics.ended("stopped"),
            Some(code) => {
                metrics.ended("failed");
                self.desk.alarm(format!(
                    "firstcome: aggregation of {} ({}) failed, run {}: {code}, {campaigns_failed} campaigns \
                     not written, {campaigns_done} written",
                    self.run.day.date, self.run.day.zone, self.run.id
                ));
            }
        }
    }
}

/// How much of a day's ids lies before this one.
fn percent_of(day: Day, end: Uuid) -> u32 {
    let ids = day.ids();
    // The time is in the first six bytes; the rest would not matter.
    let millis = |id: Uuid| u64::try_from(id.as_u128() >> 80).unwrap_or_default();
    let (from, until) = (millis(ids.start), millis(ids.end));
    let all = until.saturating_sub(from).max(1);
    let done = millis(end).saturating_sub(from).min(all);
    u32::try_from(done * 100 / all).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_day_is_half_of_it() {
        let day = Day {
            date: "2026-11-22".parse().unwrap(),
            zone: "UTC".parse().unwrap(),
        };
        let ids = day.ids();
        assert_eq!(percent_of(day, ids.start), 0);
        assert_eq!(percent_of(day, ids.end), 100);
        let middle = ids.start.as_u128() / 2 + ids.end.as_u128() / 2;
        assert!((49..=50).contains(&percent_of(day, Uuid::from_u128(middle))));
    }
}

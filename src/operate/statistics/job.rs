//! One aggregation run: reads the day, and writes each campaign in a transaction of its own, several at the same time.
//! It renews its lease and reports its progress. When the lease is lost it stops, and cannot write any more, because
//! every transaction checks the lease when it commits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::reading::Reader;
use super::{Dependencies, Inner};
use crate::domain::{CampaignId, DaySums};
use crate::operate::alert::AlertKind;
use crate::parts::store::{Progress, Run, RunFailure, RunResult, StoreError};
use crate::runtime::failpoint;
use crate::runtime::retry::retry;
use crate::runtime::telemetry::cause;

/// How often progress is reported, unless the lease has to be renewed more often.
const REPORT: Duration = Duration::from_secs(1);
/// Failed campaigns reported.
const FAILURES_MAX: usize = 100;
/// How long after its end a day is complete: by then open transactions have ended, and counted rejections are written.
const COMPLETE_AFTER: TimeDelta = TimeDelta::minutes(1);

/// A run that holds its lease.
pub(super) struct AggregationJob {
    inner: Arc<Inner>,
    pub(super) run: Run,
    progress: Mutex<Progress>,
}

/// Why a run stops early.
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

impl AggregationJob {
    pub(super) fn new(inner: Arc<Inner>, run: Run) -> Self {
        Self {
            inner,
            run,
            progress: Mutex::default(),
        }
    }

    /// Runs to the end, or until stopped.
    pub(super) async fn run_to_end(self, stop: &CancellationToken) {
        let began = Instant::now();
        failpoint::point("aggregate.claimed");
        let mut failures = Vec::new();
        let worked = tokio::select! {
            worked = self.work(&mut failures) => worked,
            () = self.renew_lease() => Err(JobError::Lost),
            () = stop.cancelled() => Err(JobError::Stopped),
        };
        let error = match &worked {
            Ok(()) if failures.is_empty() => None,
            Ok(()) => Some("CAMPAIGNS_FAILED"),
            Err(error) => Some(error.code()),
        };
        if let Err(error) = &worked {
            tracing::warn!(
                error = cause(error),
                run.id = %self.run.id,
                "the aggregation run ended early"
            );
        }
        self.end(failures, error, began.elapsed()).await;
    }

    fn progress<R>(&self, read: impl FnOnce(&mut Progress) -> R) -> R {
        read(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn work(&self, failures: &mut Vec<RunFailure>) -> Result<(), JobError> {
        let sums = self.read().await?;
        let campaigns = u64::try_from(sums.len()).unwrap_or(u64::MAX);
        self.progress(|progress| (progress.percent, progress.campaigns) = (100, campaigns));
        self.write(sums, failures).await
    }

    async fn read(&self) -> Result<BTreeMap<CampaignId, DaySums>, StoreError> {
        let settings = &self.inner.settings;
        let reader = Reader {
            // No request waits for this read.
            store: self.inner.dependencies.store.patient(),
            slice_rows: settings.slice_rows,
            parallel_max: settings.parallel_max,
            retry: settings.retry,
        };
        let day = self.run.day;
        let read = reader.read(day, |percent, participations| {
            self.progress(|progress| {
                progress.participations += participations;
                progress.percent = progress.percent.max(percent);
            });
        });
        read.await
    }

    /// Writes each campaign. A failed campaign does not stop the others; an unavailable store does.
    async fn write(
        &self,
        sums: BTreeMap<CampaignId, DaySums>,
        failures: &mut Vec<RunFailure>,
    ) -> Result<(), JobError> {
        let mut written = std::pin::pin!(
            stream::iter(sums)
                .map(|(campaign, sums)| self.write_one(campaign, sums))
                .buffer_unordered(self.inner.settings.concurrency)
        );
        while let Some(failure) = written.next().await {
            let Some(failure) = failure? else {
                continue;
            };
            // The first ones by campaign, in whatever order they failed.
            let place = failures.partition_point(|known| known.campaign < failure.campaign);
            failures.insert(place, failure);
            failures.truncate(FAILURES_MAX);
        }
        Ok(())
    }

    /// Writes a campaign. Returns how it failed, if it failed and the others can continue.
    async fn write_one(
        &self,
        campaign: CampaignId,
        sums: DaySums,
    ) -> Result<Option<RunFailure>, JobError> {
        let Dependencies { store, metrics, .. } = &self.inner.dependencies;
        let _writing = metrics.writing();
        let write = || store.write_daily(&self.run, campaign, &sums);
        let written = retry(&self.inner.settings.retry, StoreError::verdict, write).await;
        failpoint::point("aggregate.written");
        match written {
            Ok(true) => {
                self.progress(|progress| progress.campaigns_done += 1);
                Ok(None)
            }
            Ok(false) => Err(JobError::Lost),
            Err(error) if error.is_unavailable() => Err(error.into()),
            Err(error) => {
                tracing::warn!(
                    error = cause(&error),
                    campaign.id = %campaign,
                    run.id = %self.run.id,
                    "a campaign was not aggregated"
                );
                self.progress(|progress| progress.campaigns_failed += 1);
                Ok(Some(RunFailure::of(campaign, &error)))
            }
        }
    }

    /// Returns when the lease is lost, or may be lost because it could not be renewed in time.
    async fn renew_lease(&self) {
        let Dependencies { store, .. } = &self.inner.dependencies;
        let lease = self.inner.settings.lease;
        let mut renewed_at = Instant::now();
        while renewed_at.elapsed() < lease {
            tokio::time::sleep(REPORT.min(lease / 3)).await;
            let requested_at = Instant::now();
            match store
                .renew_run(&self.run, lease, &self.progress(|progress| *progress))
                .await
            {
                Ok(true) => renewed_at = requested_at,
                Ok(false) => return,
                Err(error) => tracing::warn!(
                    error = cause(&error),
                    run.id = %self.run.id,
                    "the lease of the run was not renewed"
                ),
            }
        }
    }

    async fn end(&self, failures: Vec<RunFailure>, error: Option<&'static str>, took: Duration) {
        let Dependencies { store, metrics, .. } = &self.inner.dependencies;
        failpoint::point("aggregate.ending");
        let ended = RunResult {
            progress: self.progress(|progress| *progress),
            failures,
            error,
            is_whole_day: self.run.started_at >= self.run.day.end() + COMPLETE_AFTER,
        };
        let noted = retry(&self.inner.settings.retry, StoreError::verdict, || {
            store.end_run(&self.run, &ended)
        });
        // If the end is not recorded, the lease expires, and the next owner reports the run as abandoned.
        match noted.await {
            Ok(true) => {}
            Ok(false) => tracing::warn!(run.id = %self.run.id, "a run ended without its lease"),
            Err(error) => tracing::warn!(
                error = cause(&error),
                run.id = %self.run.id,
                "the end of a run was not recorded"
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
                metrics.completed(self.inner.dependencies.clock.now());
                tracing::info!(
                    run.id = %self.run.id, participations, campaigns_done, ?took, "aggregation done"
                );
            }
            // The next replica runs it again.
            Some("STOPPED") => metrics.ended("stopped"),
            Some(code) => {
                metrics.ended("failed");
                let text = format!(
                    "firstcome: aggregation of {} ({}) failed, run {}: {code}, {campaigns_failed} campaigns \
                     not written, {campaigns_done} written",
                    self.run.day.date, self.run.day.zone, self.run.id
                );
                self.inner.alert(AlertKind::AggregationFailed, text);
            }
        }
    }
}

//! Works on one partition for as long as it is ours: batch by batch, in order, each tried until it is done.
//! Failures pass or are waited for; a batch is given up only with its partition.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::metrics::Counts;
use super::{ConsumerConfig, Parts};
use crate::domain::Consumer;
use crate::parts::broker::PublishError;
use crate::parts::broker::kafka::OwnedPartition;
use crate::parts::store::StoreError;
use crate::runtime::telemetry::cause;

/// How long an attempt may go on after the partition was taken away. What comes of it then is not known,
/// and found out by whoever has the partition next.
const GRACE: Duration = Duration::from_secs(4);
/// Longest pause where somebody else was at the same rows: they are done in a moment.
const CONTENDED_PAUSE_MAX: Duration = Duration::from_millis(50);

/// What all partitions of a consumer have in common.
pub(super) struct Worker {
    pub(super) consumer: Consumer,
    pub(super) parts: Parts,
    pub(super) config: ConsumerConfig,
    pub(super) topic: String,
    pub(super) dead_letter_topic: String,
    pub(super) permits: Semaphore,
    pub(super) counts: Counts,
}

/// The partition was taken away before the work was done.
pub(super) struct Revoked;

/// A failure of an attempt, and what it says about the next.
pub(super) trait Passing: std::error::Error + 'static {
    /// Whether it was lost against somebody else who will be done in a moment.
    fn is_contention(&self) -> bool;
}

impl Passing for StoreError {
    fn is_contention(&self) -> bool {
        matches!(self, Self::Contended(_) | Self::Constraint(_))
    }
}

impl Passing for Arc<StoreError> {
    fn is_contention(&self) -> bool {
        self.as_ref().is_contention()
    }
}

impl Passing for PublishError {
    fn is_contention(&self) -> bool {
        false
    }
}

impl Worker {
    /// Works until the partition is taken away.
    pub(super) async fn run(self: Arc<Self>, mut owned: OwnedPartition) {
        let mut records = Vec::with_capacity(self.config.batch_records_max);
        loop {
            let came = tokio::select! {
                biased;
                () = owned.revoked.cancelled() => return,
                came = owned.records.recv_many(&mut records, self.config.batch_records_max) => came,
            };
            let Some(last) = records.last().map(|record| record.offset) else {
                debug_assert_eq!(came, 0, "only a closed queue gives nothing");
                return;
            };
            let began = Instant::now();
            if let Err(Revoked) = self.work_on(&owned, &records, began).await {
                return;
            }
            owned.done(last);
            records.clear();
        }
    }

    /// Does something until it succeeds. `Err(Ok(…))` is a failure that `is_final` says no attempt mends.
    pub(super) async fn insist<T, E: Passing, F>(
        &self,
        owned: &OwnedPartition,
        what: &'static str,
        is_final: impl Fn(&E, u32) -> bool,
        mut attempt: impl FnMut() -> F,
    ) -> Result<Result<T, E>, Revoked>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut failures = 0;
        loop {
            let failure = tokio::select! {
                biased;
                done = attempt() => match done {
                    Ok(done) => return Ok(Ok(done)),
                    Err(failure) => failure,
                },
                () = overdue(owned) => return Err(Revoked),
            };
            failures += 1;
            if is_final(&failure, failures) {
                return Ok(Err(failure));
            }
            self.counts.retries.inc();
            let pause = self.pause(&failure, failures);
            self.tell(owned, what, &failure, failures);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = owned.revoked.cancelled() => return Err(Revoked),
            }
        }
    }

    fn pause(&self, failure: &impl Passing, failures: u32) -> Duration {
        let pause = self.config.retry().pause(failures);
        if failure.is_contention() {
            pause.min(CONTENDED_PAUSE_MAX)
        } else {
            pause
        }
    }

    /// A line for the first failure and then for every tenth: an outage is not a flood of lines.
    fn tell(
        &self,
        owned: &OwnedPartition,
        what: &'static str,
        failure: &impl Passing,
        failures: u32,
    ) {
        if failure.is_contention() && failures < 10 {
            return;
        }
        if failures == 1 || failures.is_multiple_of(10) {
            tracing::warn!(
                consumer = self.consumer.as_str(),
                partition = owned.partition,
                attempt = failures,
                error = cause(failure),
                "{what}: tried again"
            );
        }
    }
}

async fn overdue(owned: &OwnedPartition) {
    owned.revoked.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

//! Processes one partition while this process owns it: batch by batch, in order. A batch is retried until it succeeds
//! or the partition is revoked.

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

/// How long an attempt may continue after its partition was revoked. Then its result is unknown; the next owner of
/// the partition repeats the batch.
const GRACE: Duration = Duration::from_secs(4);
/// Longest pause after a conflict with another transaction; such conflicts are short.
pub(super) const CONTENDED_PAUSE_MAX: Duration = Duration::from_millis(50);

/// What the partitions of a consumer share.
pub(super) struct Worker {
    pub(super) consumer: Consumer,
    pub(super) parts: Parts,
    pub(super) config: ConsumerConfig,
    pub(super) topic: String,
    pub(super) dead_letter_topic: String,
    pub(super) permits: Semaphore,
    pub(super) counts: Counts,
}

/// The partition was revoked before the batch was done.
pub(super) struct Revoked;

/// A failure of an attempt that may be retried.
pub(super) trait AttemptError: std::error::Error + 'static {
    /// Whether it was a conflict with another transaction; such conflicts are short.
    fn is_contention(&self) -> bool;
}

impl AttemptError for StoreError {
    fn is_contention(&self) -> bool {
        matches!(self, Self::Contended(_) | Self::Constraint(_))
    }
}

impl AttemptError for Arc<StoreError> {
    fn is_contention(&self) -> bool {
        self.as_ref().is_contention()
    }
}

impl AttemptError for PublishError {
    fn is_contention(&self) -> bool {
        false
    }
}

impl Worker {
    /// Processes batches until the partition is revoked.
    pub(super) async fn run(self: Arc<Self>, mut owned: OwnedPartition) {
        let mut records = Vec::with_capacity(self.config.batch_records_max);
        loop {
            let count = tokio::select! {
                biased;
                () = owned.revoked.cancelled() => return,
                count = owned.records.recv_many(&mut records, self.config.batch_records_max) => count,
            };
            let Some(last) = records.last().map(|record| record.offset) else {
                debug_assert_eq!(count, 0, "only a closed queue returns no records");
                return;
            };
            let began = Instant::now();
            if let Err(Revoked) = self.process(&owned, &records, began).await {
                return;
            }
            owned.done(last);
            records.clear();
        }
    }

    /// Retries until the attempt succeeds. `Ok(Err(…))` is a failure that is final according to `is_final`.
    pub(super) async fn retry<T, E: AttemptError, F>(
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
            self.log_failure(owned, what, &failure, failures);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = owned.revoked.cancelled() => return Err(Revoked),
            }
        }
    }

    fn pause(&self, failure: &impl AttemptError, failures: u32) -> Duration {
        let pause = self.config.retry().pause(failures);
        if failure.is_contention() {
            pause.min(CONTENDED_PAUSE_MAX)
        } else {
            pause
        }
    }

    /// Logs the first failure and then every tenth, so that an outage does not flood the log.
    fn log_failure(
        &self,
        owned: &OwnedPartition,
        what: &'static str,
        failure: &impl AttemptError,
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
                "{what}: failed, will be retried"
            );
        }
    }
}

async fn overdue(owned: &OwnedPartition) {
    owned.revoked.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

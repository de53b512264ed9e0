//! Deletes acknowledged rows from `outbox_pending`, in batches. It may lag: a row that is deleted
//! late is published again at worst after a crash, never lost.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Context, Signal};
use crate::parts::store::{PendingKey, StoreError};
use crate::runtime::failpoint;
use crate::runtime::supervisor::BoxError;

/// Attempts on a database that fails while the process is stopping.
const STOPPING_ATTEMPTS_MAX: u32 = 5;

#[derive(Debug)]
pub(super) struct Settler {
    context: Context,
    inbox: mpsc::Receiver<PendingKey>,
    signals: mpsc::Sender<Signal>,
}

impl Settler {
    pub(super) fn new(
        context: &Context,
        inbox: mpsc::Receiver<PendingKey>,
        signals: mpsc::Sender<Signal>,
    ) -> Self {
        Self {
            context: Context::clone(context),
            inbox,
            signals,
        }
    }

    /// Runs until told to stop and everything acknowledged is settled.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), BoxError> {
        loop {
            let first = tokio::select! {
                biased;
                first = self.inbox.recv() => first,
                () = stop.cancelled(), if !self.inbox.is_closed() => {
                    self.inbox.close();
                    continue;
                }
            };
            let Some(first) = first else {
                return Ok(());
            };
            let batch = self.collect(first, &stop).await;
            failpoint::point("relay.acknowledged");
            self.settle(&batch, &stop).await?;
            let ids = batch.into_iter().map(|key| key.event_id).collect();
            tell(&self.signals, Signal::Settled(ids)).await;
        }
    }

    async fn collect(&mut self, first: PendingKey, stop: &CancellationToken) -> Vec<PendingKey> {
        let config = &self.context.config;
        let rows_max = usize::try_from(config.settle_rows_max).unwrap_or(usize::MAX);
        let mut batch = vec![first];
        let until = tokio::time::sleep(config.settle_delay);
        tokio::pin!(until);
        while batch.len() < rows_max {
            let room = rows_max - batch.len();
            tokio::select! {
                biased;
                taken = self.inbox.recv_many(&mut batch, room) => if taken == 0 { break },
                () = &mut until => break,
                () = stop.cancelled() => break,
            }
        }
        batch
    }

    async fn settle(
        &self,
        batch: &[PendingKey],
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let store = &self.context.store;
        let deleted = persist(&self.context, stop, || store.delete_pending(batch)).await?;
        let rows = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        if deleted < rows {
            // Another relay settled or moved them: what was acknowledged stays acknowledged.
            tracing::info!(rows = rows - deleted, "acknowledged rows had moved on");
        }
        Ok(())
    }
}

/// Does `operation` until the database takes it: its result must not be lost. Bounded only once the
/// process is stopping.
pub(super) async fn persist<T, F>(
    context: &Context,
    stop: &CancellationToken,
    mut operation: impl FnMut() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut failures = 0;
    loop {
        let failure = match operation().await {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        failures += 1;
        tracing::warn!(failures, failure = ?failure, "result of a publish not recorded");
        if stop.is_cancelled() && failures >= STOPPING_ATTEMPTS_MAX {
            return Err(failure);
        }
        tokio::time::sleep(context.config.probe.pause(failures)).await;
    }
}

/// Tells the dispatcher, which is gone first when the process stops.
pub(super) async fn tell(signals: &mpsc::Sender<Signal>, signal: Signal) {
    if signals.send(signal).await.is_err() {
        tracing::debug!("the dispatcher has stopped");
    }
}

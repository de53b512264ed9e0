//! Writes the positions of streams, those that moved in one statement. It may lag: an event whose position is written
//! late is published again at worst after a crash, never lost.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::window::Claim;
use super::{Context, Map};
use crate::domain::StreamId;
use crate::parts::store::{PublishedEvent, StoreError};
use crate::runtime::failpoint;
use crate::runtime::supervisor::BoxError;

/// Attempts on a database that fails while the process is stopping.
const STOPPING_ATTEMPTS_MAX: u32 = 5;
/// How long the last positions wait for the parker, when the process stops.
const PARKER_MAX: std::time::Duration = std::time::Duration::from_secs(10);
/// Positions written in one statement.
const POSITIONS_MAX: usize = 500;
/// Offsets written in one statement.
const OFFSETS_MAX: usize = 500;

/// Positions that moved and are not written yet.
#[derive(Debug, Default)]
pub(super) struct Positions {
    moved: Mutex<Map<StreamId, u64>>,
    changed: Notify,
}

impl Positions {
    /// Wakes the writer.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    pub(super) fn moved(&self, stream: StreamId, published: u64) {
        let mut moved = self.lock();
        let position = moved.entry(stream).or_default();
        *position = published.max(*position);
        drop(moved);
        self.changed.notify_one();
    }

    fn unwritten(&self) -> Vec<(StreamId, u64)> {
        let moved = self.lock();
        moved.iter().map(|(stream, at)| (*stream, *at)).collect()
    }

    /// Forgets positions that are written, unless they have moved since.
    fn written(&self, positions: &[(StreamId, u64)]) {
        let mut moved = self.lock();
        for (stream, at) in positions {
            if moved.get(stream) == Some(at) {
                moved.remove(stream);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Map<StreamId, u64>> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until told to stop and every position is written.
pub(super) async fn write(context: Context, stop: CancellationToken) -> Result<(), BoxError> {
    loop {
        let changed = stop.run_until_cancelled(context.positions.changed.notified());
        if changed.await.is_some() {
            // Others follow soon, and share the statement.
            let company = tokio::time::sleep(context.config.settle_delay);
            stop.run_until_cancelled(company).await;
        }
        if stop.is_cancelled() {
            // What it parks moves positions, too.
            let ended = context.parker_ended.cancelled();
            tokio::time::timeout(PARKER_MAX, ended).await.ok();
        }
        let kept = keep_offsets(&context, &stop).await?;
        let moved = context.positions.unwritten();
        for positions in moved.chunks(POSITIONS_MAX) {
            failpoint::point("relay.acknowledged");
            persist(&context, &stop, || context.store.advance(positions)).await?;
            context.positions.written(positions);
        }
        if stop.is_cancelled() && moved.is_empty() && kept == 0 {
            return Ok(());
        }
    }
}

/// Writes where events were published, if that is kept, and lets the positions pass them: how many there were.
async fn keep_offsets(context: &Context, stop: &CancellationToken) -> Result<usize, StoreError> {
    let acknowledged = context.offsets.take();
    let count = acknowledged.len();
    let (claims, events): (Vec<Claim>, Vec<PublishedEvent>) = acknowledged.into_iter().unzip();
    for events in events.chunks(OFFSETS_MAX) {
        persist(context, stop, || context.store.keep_published(events)).await?;
        failpoint::point("relay.offsets_kept");
    }
    claims.into_iter().for_each(Claim::done);
    Ok(count)
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

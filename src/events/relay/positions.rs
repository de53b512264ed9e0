//! Writes the positions of streams, many in one statement. A position may be written late: after a crash its events
//! are published again, and never lost.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::window::{Claim, Position};
use super::{Context, Map};
use crate::domain::StreamId;
use crate::parts::store::{PublishedEvent, StoreError};
use crate::runtime::failpoint;
use crate::runtime::supervisor::BoxError;

/// Attempts on a database that fails while the process is stopping.
const STOPPING_ATTEMPTS_MAX: u32 = 5;
/// How long the process waits at its stop for the parker, before it writes the last positions.
const PARKER_MAX: std::time::Duration = std::time::Duration::from_secs(10);
/// Positions written in one statement.
const POSITIONS_MAX: usize = 500;
/// Offsets written in one statement.
const OFFSETS_MAX: usize = 500;

/// Positions that moved and are not written yet.
#[derive(Debug, Default)]
pub(super) struct Positions {
    moved: Mutex<Map<StreamId, Position>>,
    changed: Notify,
}

impl Positions {
    /// Wakes the writer.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Of two windows, the later one has read the stream again.
    pub(super) fn moved(&self, stream: StreamId, position: Position) {
        let mut moved = self.lock();
        let last = moved.entry(stream).or_insert(position);
        if (last.read_at, last.published) < (position.read_at, position.published) {
            *last = position;
        }
        drop(moved);
        self.changed.notify_one();
    }

    fn unwritten(&self) -> Vec<(StreamId, Position)> {
        let moved = self.lock();
        moved.iter().map(|(stream, at)| (*stream, *at)).collect()
    }

    /// Forgets written positions, unless they have moved since.
    fn written(&self, positions: &[(StreamId, Position)]) {
        let mut moved = self.lock();
        for (stream, at) in positions {
            if moved.get(stream) == Some(at) {
                moved.remove(stream);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Map<StreamId, Position>> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until it is stopped and every position is written.
pub(super) async fn write(context: Context, stop: CancellationToken) -> Result<(), BoxError> {
    loop {
        let changed = stop.run_until_cancelled(context.positions.changed.notified());
        if changed.await.is_some() {
            // Other positions follow soon, and share the statement.
            let company = tokio::time::sleep(context.config.settle_delay);
            stop.run_until_cancelled(company).await;
        }
        if stop.is_cancelled() {
            // The parker's last rows also move positions.
            let ended = context.parker_ended.cancelled();
            tokio::time::timeout(PARKER_MAX, ended).await.ok();
        }
        let kept = keep_offsets(&context, &stop).await?;
        let moved = context.positions.unwritten();
        for positions in moved.chunks(POSITIONS_MAX) {
            failpoint::point("relay.acknowledged");
            persist(&context, &stop, || advance(&context, positions)).await?;
            context.positions.written(positions);
        }
        if stop.is_cancelled() && moved.is_empty() && kept == 0 {
            return Ok(());
        }
    }
}

/// Writes positions, except those of streams that were read before another server became the primary: it may have other
/// events in their places.
async fn advance(context: &Context, moved: &[(StreamId, Position)]) -> Result<(), StoreError> {
    context.store.prove_primary().await?;
    let replaced_at = context.store.replaced_at();
    let is_valid = |position: &Position| replaced_at.is_none_or(|at| position.read_at > at);
    let valid = moved.iter().filter(|(_, position)| is_valid(position));
    let valid: Vec<(StreamId, u64)> = valid
        .map(|(stream, position)| (*stream, position.published))
        .collect();
    context.store.advance(&valid).await
}

/// Writes where events were published, and lets the positions pass them. Returns their number.
async fn keep_offsets(context: &Context, stop: &CancellationToken) -> Result<usize, StoreError> {
    let acknowledged = context.offsets.take();
    let count = acknowledged.len();
    let (claims, events): (Vec<Claim>, Vec<PublishedEvent>) = acknowledged.into_iter().unzip();
    for events in events.chunks(OFFSETS_MAX) {
        persist(context, stop, || context.store.store_published(events)).await?;
        failpoint::point("relay.offsets_kept");
    }
    claims.into_iter().for_each(Claim::done);
    Ok(count)
}

/// Repeats `operation` until the database accepts it: its result must not be lost. Bounded only once the process is
/// stopping.
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

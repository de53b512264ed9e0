//! Copies dead letters to the dead letter topic, until each is copied. The row is authoritative; the copy is for
//! people who read topics.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Context, record};
use crate::parts::broker::PublishError;
use crate::parts::store::{Parked, ParkedState, StoreError, Targets};
use crate::runtime::supervisor::BoxError;

/// Longest time between two runs.
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// Delay of a dead letter whose event this release cannot read.
const UNREADABLE_AGAIN_IN: Duration = Duration::from_secs(3_600);
/// Dead letters copied in one run.
const COPY_ROWS_MAX: u32 = 100;

/// Runs until it is stopped.
pub(super) async fn copy(context: Context, stop: CancellationToken) -> Result<(), BoxError> {
    loop {
        let wait = copy_due(&context).await.unwrap_or_else(|failure| {
            tracing::warn!(%failure, "dead letters not copied");
            context.config.copy_delay
        });
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = context.dead_letter_added.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Copies due dead letters. Returns the time until the next run.
async fn copy_due(context: &Context) -> Result<Duration, StoreError> {
    let buckets = context.ownership.buckets();
    if buckets.is_empty() {
        return Ok(INTERVAL_MAX);
    }
    let due = context
        .store
        .parked_due(
            ParkedState::Dead,
            &buckets,
            &Targets::ALL,
            (COPY_ROWS_MAX, UNREADABLE_AGAIN_IN),
        )
        .await?;
    let copied = u32::try_from(due.parked.len()).unwrap_or(u32::MAX);
    let mut put_off = false;
    for (row, error) in due.unreadable {
        tracing::warn!(campaign.id = %row.place.stream.campaign, outbox.sequence = row.place.sequence, error, "dead letter not copied: it cannot be read");
        context
            .store
            .put_off_copy(row.place, UNREADABLE_AGAIN_IN)
            .await?;
    }
    for dead in due.parked {
        let (id, place) = (dead.event.id, dead.event.place());
        match copy_one(context, &dead).await {
            Ok(()) => {
                context.store.dead_letter_copied(place).await?;
            }
            Err(failure) => {
                tracing::warn!(%failure, outbox.id = %id, "dead letter not copied");
                let delay = context.config.copy_delay;
                context.store.put_off_copy(place, delay).await?;
                put_off = true;
                if !matches!(failure, PublishError::Record(_)) {
                    // The other dead letters would fail in the same way.
                    return Ok(delay);
                }
            }
        }
    }
    // Postponed rows are read again when they are due. New dead letters wake the copier.
    Ok(if put_off {
        context.config.copy_delay
    } else if copied == COPY_ROWS_MAX {
        Duration::ZERO
    } else {
        INTERVAL_MAX
    })
}

async fn copy_one(context: &Context, dead: &Parked) -> Result<(), PublishError> {
    let config = &context.config;
    let record = record::dead_letter(dead, &config.topic_prefix);
    context.publisher.ask_partition(&record).await?;
    match context.publisher.publish(&record).await {
        Err(PublishError::Record(_)) => {
            let record = record::without_payload(record);
            context.publisher.publish(&record).await?;
        }
        other => {
            other?;
        }
    }
    Ok(())
}

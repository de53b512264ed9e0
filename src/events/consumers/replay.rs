//! Applies replayed dead letters again: for this consumer only, and each record by itself. If the process crashes
//! after the effect and before the row is completed, the record is repeated, and the inbox prevents a second effect.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::batch::{REFUSALS_MAX, refused, within_bounds};
use super::poison::{Flaw, Poison};
use super::record::change;
use super::terms::rewarded_by;
use super::worker::{AttemptError, CONTENDED_PAUSE_MAX, Worker};
use crate::domain::{EventId, Status};
use crate::parts::broker::Delivered;
use crate::parts::store::{Due, RecordBytes, StoreError};
use crate::runtime::failpoint;
use crate::runtime::supervisor::BoxError;
use crate::runtime::telemetry::cause;

/// Dead letters applied in one round, each of up to 1 MiB.
const ROUND_MAX: u32 = 20;

/// Runs until it is stopped.
pub(super) async fn run(worker: Arc<Worker>, stop: CancellationToken) -> Result<(), BoxError> {
    let mut failures = 0;
    loop {
        let wait = match worker.replay_due().await {
            Ok(ROUND_MAX) => Duration::ZERO,
            Ok(_) => {
                failures = 0;
                worker.config.replay_interval
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(
                    consumer = worker.consumer.as_str(),
                    attempt = failures,
                    error = cause(&*error),
                    "dead letters are not replayed yet"
                );
                worker.config.retry().pause(failures)
            }
        };
        let rest = tokio::time::sleep(wait);
        if stop.run_until_cancelled(rest).await.is_none() {
            return Ok(());
        }
    }
}

impl Worker {
    /// Applies the next dead letters. Returns their number.
    async fn replay_due(&self) -> Result<u32, Arc<StoreError>> {
        let store = &self.parts.store;
        let due = store.consumer_letters_to_replay(self.consumer, ROUND_MAX);
        let due = due.await.map_err(Arc::new)?;
        let count = u32::try_from(due.len()).unwrap_or(ROUND_MAX);
        for (event, record) in due {
            let outcome = match record {
                Ok(record) => self.replay(&delivered(record)).await?,
                Err(text) => Err(Poison::new(Flaw::Headers, text)),
            };
            failpoint::point("consumer.replayed");
            self.end_replay(event, outcome).await.map_err(Arc::new)?;
        }
        Ok(count)
    }

    async fn end_replay(
        &self,
        event: EventId,
        outcome: Result<(), Poison>,
    ) -> Result<(), StoreError> {
        let (store, consumer) = (&self.parts.store, self.consumer);
        match outcome {
            Ok(()) => {
                tracing::info!(consumer = consumer.as_str(), event.id = %event, "a dead letter was applied");
                store.consumer_letter_applied(consumer, event).await
            }
            Err(poison) => {
                tracing::warn!(
                    consumer = consumer.as_str(),
                    event.id = %event,
                    poison = poison.text,
                    "a replayed dead letter cannot be applied"
                );
                let failure = (poison.flaw.as_str(), poison.text.as_str());
                store
                    .consumer_letter_dead_again(consumer, event, failure)
                    .await
            }
        }
    }

    /// Applies a record, unless it is poison. An error is temporary.
    async fn replay(&self, record: &Delivered) -> Result<Result<(), Poison>, Arc<StoreError>> {
        let change = match change(record) {
            Ok(change) => change,
            Err(poison) => return Ok(Err(poison)),
        };
        let reward = match self.reward_of(change.campaign).await {
            Err(failure) if !matches!(failure.as_ref(), StoreError::Unreadable { .. }) => {
                return Err(failure);
            }
            found => rewarded_by(self.consumer, change.campaign, found),
        };
        let reward = match reward.and_then(|reward| within_bounds(&change, reward)) {
            Ok(reward) => reward,
            Err(poison) => return Ok(Err(poison)),
        };
        if change.status == Status::Reserved {
            return Ok(Ok(()));
        }
        let due = [Due { change, reward }];
        let mut refusals = 0;
        let applied = loop {
            match self.parts.rewards.apply(self.consumer, &due).await {
                Ok(applied) => break applied,
                Err(failure) if failure.is_about_values() => return Ok(Err(refused(&failure))),
                Err(failure) if failure.is_contention() && refusals < REFUSALS_MAX => {
                    refusals += 1;
                    tokio::time::sleep(CONTENDED_PAUSE_MAX).await;
                }
                Err(failure @ StoreError::Constraint(_)) => return Ok(Err(refused(&failure))),
                Err(failure) => return Err(Arc::new(failure)),
            }
        };
        let marked = self.parts.store.mark_rewarded(&applied.rewarded);
        marked.await.map_err(Arc::new)?;
        self.counts.applied(&applied);
        Ok(Ok(()))
    }
}

fn delivered(record: RecordBytes) -> Delivered {
    Delivered {
        key: record.key,
        payload: record.payload,
        headers: record.headers,
        ..Delivered::default()
    }
}

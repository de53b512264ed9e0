//! The synchronous path: publishes within the request, for comparison.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::ParticipateError;
use crate::domain::{OutboxEvent, Timestamp};
use crate::parts::broker::{Acknowledged, PublishError, Publisher, Record};
use crate::parts::store::{ParkedRow, PublishedEvent, Store};
use crate::runtime::clock::Clock;
use crate::runtime::telemetry::cause;

/// How long a request waits for a permit.
const PERMIT_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long a request waits for the relay, and the pauses between reads, which grow.
const RELAY_WAIT_MAX: Duration = Duration::from_secs(5);
const RELAY_LOOK: Duration = Duration::from_millis(10);
const RELAY_LOOK_MAX: Duration = Duration::from_millis(80);

/// Publishes on the synchronous path.
pub struct SyncPath {
    /// The broker's publisher.
    pub publisher: Arc<dyn Publisher>,
    /// Requests that are admitted, committed and published at the same time.
    pub permits: Arc<Semaphore>,
    /// Prefix of the topics.
    pub topic_prefix: String,
    /// Whether topic, partition and offset of events are stored.
    pub keep_offsets: bool,
}

impl SyncPath {
    /// Waits for a permit, before anything is reserved.
    pub(super) async fn permit(&self) -> Result<OwnedSemaphorePermit, ParticipateError> {
        let permit = Arc::clone(&self.permits).acquire_owned();
        match timeout(PERMIT_WAIT_MAX, permit).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(ParticipateError::Busy),
        }
    }

    /// Publishes within the request. If that fails, the participation is still accepted, because it is committed: the
    /// relay publishes the event when its hold ends.
    pub(super) async fn publish_now(&self, store: &Store, clock: &Clock, event: &OutboxEvent) {
        if event.shares_its_key() {
            return self.wait_for_relay(store, event).await;
        }
        let mut record = Record::of(event, &self.topic_prefix);
        let _span = record.traced();
        match self.publish(&record).await {
            Ok(at) => {
                let place = (record.topic.as_str(), at, clock.now());
                self.keep_offset(store, event, place).await;
                let row = ParkedRow {
                    place: event.place(),
                    key: Arc::clone(&event.key),
                };
                if let Err(error) = store.acknowledge_held(&row).await {
                    tracing::warn!(
                        error = cause(&error),
                        "an acknowledged row stays; it is sent again"
                    );
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = cause(&error),
                    "not published in the request; the relay will"
                );
            }
        }
    }

    /// Sends nothing to a partition that accepts no records, so that no request waits for a timeout.
    async fn publish(&self, record: &Record) -> Result<Acknowledged, PublishError> {
        self.publisher.ask_partition(record).await?;
        self.publisher.publish(record).await
    }

    /// Stores where the event was published, if this is configured. A failure only loses this information.
    async fn keep_offset(
        &self,
        store: &Store,
        event: &OutboxEvent,
        (topic, at, published_at): (&str, Acknowledged, Timestamp),
    ) {
        if !self.keep_offsets {
            return;
        }
        let published = PublishedEvent {
            place: event.place(),
            topic: topic.to_owned(),
            partition: at.partition,
            offset: at.offset,
            published_at,
        };
        if let Err(error) = store.store_published(&[published]).await {
            tracing::warn!(error = cause(&error), "an offset was not stored");
        }
    }

    /// Waits until the relay has published the event, in order among the events of the same key.
    async fn wait_for_relay(&self, store: &Store, event: &OutboxEvent) {
        let deadline = Instant::now() + RELAY_WAIT_MAX;
        let mut pause = RELAY_LOOK;
        while Instant::now() < deadline {
            match store.is_pending(event.place()).await {
                Ok(true) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RELAY_LOOK_MAX);
                }
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(
                        error = cause(&error),
                        "it is unknown whether the relay has published"
                    );
                    return;
                }
            }
        }
        tracing::warn!("not published within the request; the relay will");
    }
}

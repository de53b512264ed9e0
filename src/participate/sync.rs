//! The synchronous path: publishes within the request, for comparison.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::broker::{Publisher, Record};
use crate::domain::OutboxEvent;
use crate::store::{PendingKey, Store};

/// Publishes on the synchronous path.
pub struct SyncPath {
    /// Where events go.
    pub publisher: Arc<dyn Publisher>,
    /// Transactions at the same time.
    pub permits: Semaphore,
    /// Prefix of the topics.
    pub topic_prefix: String,
}

impl SyncPath {
    /// Publishes within the request. When that fails the yes still stands, because it is committed: the
    /// relay publishes the row when its hold is over.
    pub(super) async fn publish_now(&self, store: &Store, event: &OutboxEvent) {
        let record = Record::of(event, &self.topic_prefix);
        match self.publisher.publish(&record).await {
            Ok(_) => {
                if let Err(error) = store
                    .delete_pending(&[PendingKey {
                        bucket: event.bucket,
                        event_id: event.id,
                    }])
                    .await
                {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "an acknowledged row stays; it is sent again"
                    );
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "not published in the request; the relay will"
                );
            }
        }
    }
}

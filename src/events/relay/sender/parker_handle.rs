//! The sender's way to the parker: events that cannot be sent, and those behind them.

use tokio::sync::mpsc;

use crate::events::relay::breakers::{Permission, Target};
use crate::events::relay::report::ParkerReport;
use crate::events::relay::{Context, Item, KeyPolicy};
use crate::parts::broker::PublishError;
use crate::parts::store::StreamKey;

/// The channel to the parker.
#[derive(Clone, Copy)]
pub(super) struct ParkerHandle<'a> {
    pub(super) context: &'a Context,
    pub(super) park: &'a mpsc::Sender<ParkerReport>,
}

impl ParkerHandle<'_> {
    /// Returns an event to be sent again at once.
    pub(super) async fn failed(
        self,
        mut item: Item,
        permission: Permission,
        failure: PublishError,
    ) -> Option<Item> {
        let breakers = &self.context.breakers;
        match failure {
            PublishError::QueueFull | PublishError::Away(_) | PublishError::Fatal(_) => {
                breakers.broker_failed(permission, &failure.to_string());
            }
            PublishError::Destination(reason) => breakers.destination(permission, &reason),
            PublishError::Partition(reason) => {
                let count = self.context.partitions(item.event.topic);
                let partition = Target::of(&item.event, count).partition;
                breakers.partition(permission, partition, &reason);
            }
            PublishError::Record(_) if !item.alone => item.alone = true,
            PublishError::Record(error) => {
                self.report(ParkerReport::Refused { item, error }).await;
                return None;
            }
            PublishError::PossiblyDelivered(error) => {
                breakers.unused(permission);
                let key = item.key();
                let unsure = |item| ParkerReport::Unsure { item, error };
                self.forward(item, &key, unsure).await;
                return None;
            }
        }
        Some(item)
    }

    /// Sends an event to the parker: as `first` if it is the first one of its key, and as blocked otherwise. If all
    /// events of a stream have one key, the later ones are dropped: the whole stream waits, and is read again from
    /// its position when the first event is published.
    pub(super) async fn forward(
        self,
        item: Item,
        key: &StreamKey,
        first: impl FnOnce(Item) -> ParkerReport,
    ) {
        let context = self.context;
        if item.is_parked() || context.config.key_policy == KeyPolicy::Skip {
            return self.report(first(item)).await;
        }
        if context.is_stream_key(key) && context.blocked_keys.contains(key) {
            return drop(item);
        }
        if context.blocked_keys.forward_if_blocked(key) {
            return self.report(ParkerReport::Block(item)).await;
        }
        context.blocked_keys.block(key.clone());
        self.report(first(item)).await;
    }

    /// The event is dropped if the parker has ended, because the process stops.
    pub(super) async fn report(self, report: ParkerReport) {
        if self.park.send(report).await.is_err() {
            tracing::debug!("the parker has stopped");
        }
    }
}

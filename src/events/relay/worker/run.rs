//! One run of a worker's task: from its start, or from a panic, to the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::order::OrderCheck;
use super::send::{SendResult, Sent, send};
use super::{Outlets, Worker};
use crate::domain::EventId;
use crate::events::relay::breakers::{HeldBack, Permission};
use crate::events::relay::parker::Report;
use crate::events::relay::settler::tell;
use crate::events::relay::{Context, Item, KeyPolicy, Map, Origin, Set, Signal, Urgency};
use crate::parts::broker::PublishError;
use crate::parts::store::PendingKey;

pub(super) struct Run<'a> {
    context: &'a Context,
    worker: &'a Worker,
    out: &'a Outlets,
    /// Rows waiting, by key.
    queues: Map<Arc<str>, VecDeque<Item>>,
    /// Keys with rows waiting and none in flight, each once.
    ready: VecDeque<Arc<str>>,
    /// Keys that are in `ready` or have a row in flight.
    busy: Set<Arc<str>>,
    pub(super) in_flight: FuturesUnordered<BoxFuture<'static, SendResult>>,
    in_flight_max: usize,
    /// Nothing sets out any more.
    stop: CancellationToken,
    order: OrderCheck,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        context: &'a Context,
        worker: &'a Worker,
        out: &'a Outlets,
        stop: CancellationToken,
    ) -> Self {
        let share = context.config.in_flight_max / u32::from(context.config.workers.max(1));
        Self {
            context,
            worker,
            out,
            queues: Map::default(),
            ready: VecDeque::new(),
            busy: Set::default(),
            in_flight: FuturesUnordered::new(),
            in_flight_max: usize::try_from(share).unwrap_or(usize::MAX).max(1),
            stop,
            order: OrderCheck::default(),
        }
    }

    pub(super) async fn take(&mut self, item: Item) {
        let key = Arc::clone(&item.event.key);
        self.worker.held().insert(item.event.id, Arc::clone(&key));
        if item.origin == Origin::Pending && self.context.recalled_keys.contains(&key) {
            return self.give_back(vec![item.event.id]).await;
        }
        let queue = self.queues.entry(Arc::clone(&key));
        // Almost every key has one row waiting, and most of them have one in all.
        let queue = queue.or_insert_with(|| VecDeque::with_capacity(1));
        queue.push_back(item);
        if self.busy.insert(Arc::clone(&key)) {
            self.ready.push_back(key);
        }
    }

    /// Sends what may be sent. Returns the time until the next try, if the broker is held back.
    pub(super) async fn pump(&mut self) -> Option<Duration> {
        for _ in 0..self.ready.len() {
            if self.in_flight.len() >= self.in_flight_max {
                break;
            }
            let Some(key) = self.ready.pop_front() else {
                break;
            };
            let Some(next) = self.queues.get(&key).and_then(VecDeque::front) else {
                self.busy.remove(&key);
                continue;
            };
            if !self.context.ownership.may_send(next.event.bucket) {
                self.busy.remove(&key);
                self.recall(&key).await;
                continue;
            }
            match self.context.breakers.ask(self.context.target(&next.event)) {
                Ok(permission) => self.send(&key, permission),
                Err(HeldBack::All(wait)) => {
                    self.ready.push_front(key);
                    return Some(wait);
                }
                // Its rows would take the room of rows for other topics or partitions.
                Err(HeldBack::Target) => {
                    self.busy.remove(&key);
                    self.recall(&key).await;
                }
            }
        }
        None
    }

    fn send(&mut self, key: &str, permission: Permission) {
        let queue = self.queues.get_mut(key);
        let Some((mut item, followed)) =
            queue.and_then(|queue| Some((queue.pop_front()?, !queue.is_empty())))
        else {
            return self.context.breakers.unused(permission);
        };
        if followed {
            // One record of a key is in flight at a time: each later one would wait for a batch again.
            item.urgency = Urgency::Fresh;
        }
        if self.order.is_violated_by(&item.event) {
            self.context.metrics.order_violations.inc();
            tracing::error!(outbox.id = %item.event.id, "event sent after a later one");
        }
        let context = Context::clone(self.context);
        self.in_flight
            .push(Box::pin(send(context, item, permission, self.stop.clone())));
    }

    pub(super) async fn finished(&mut self, finished: SendResult) {
        let key = Arc::clone(&finished.item.event.key);
        let SendResult {
            item,
            sent_at,
            permission,
            sent,
            turn,
        } = finished;
        match sent {
            Sent::Acknowledged => {
                self.answered(permission);
                drop(turn);
                self.acknowledged(item, sent_at).await;
            }
            Sent::Withheld => {
                self.context.breakers.unused(permission);
                self.put_back(item);
                self.recall(&key).await;
            }
            Sent::HeldBack => {
                self.context.breakers.unused(permission);
                self.put_back(item);
            }
            Sent::Failed(failure) => {
                self.context.metrics.failed(failure.class());
                self.failed(item, permission, failure).await;
            }
        }
        if self.queues.get(&key).is_some_and(|queue| !queue.is_empty()) {
            self.ready.push_back(key);
        } else {
            self.queues.remove(&key);
            self.busy.remove(&key);
        }
    }

    async fn failed(&mut self, mut item: Item, permission: Permission, failure: PublishError) {
        let breakers = &self.context.breakers;
        match failure {
            PublishError::QueueFull | PublishError::Away(_) | PublishError::Fatal(_) => {
                breakers.away(permission, &failure.to_string());
                self.put_back(item);
            }
            PublishError::Destination(reason) => {
                breakers.destination(permission, &reason);
                self.put_back(item);
            }
            PublishError::Partition(reason) => {
                let partition = self.context.target(&item.event).partition;
                breakers.partition(permission, partition, &reason);
                self.put_back(item);
            }
            PublishError::Record(_) if !item.alone => {
                self.answered(permission);
                item.alone = true;
                self.put_back(item);
            }
            PublishError::Record(error) => {
                self.answered(permission);
                self.hand_over(Report::Refused { item, error }).await;
            }
            PublishError::PossiblyDelivered(error) => {
                breakers.unused(permission);
                // Later rows of its key come back, to be parked behind it once it is parked itself.
                if self.context.config.key_policy == KeyPolicy::Block {
                    self.recall(&item.event.key).await;
                }
                self.hand_over(Report::Unsure { item, error }).await;
            }
        }
    }

    /// The broker works: rows that were held back are read.
    fn answered(&self, permission: Permission) {
        if self.context.breakers.answered(permission) {
            self.context.wake.notify_one();
            self.context.breaker_closed.notify_one();
        }
    }

    async fn acknowledged(&mut self, item: Item, sent_at: Instant) {
        let now = self.context.clock.now();
        self.context.metrics.acknowledged(&item, sent_at, now);
        if item.origin != Origin::Pending {
            return self.hand_over(Report::Delivered(item)).await;
        }
        let key = PendingKey::of(&item.event);
        if self.out.settle.send(key).await.is_err() {
            tracing::error!(outbox.id = %key.event_id, "acknowledged row not settled: stopping");
        }
        self.worker.held().remove(&key.event_id);
    }

    async fn hand_over(&mut self, note: Report) {
        let id = match &note {
            Report::Delivered(item)
            | Report::Block(item)
            | Report::Unsure { item, .. }
            | Report::Refused { item, .. } => item.event.id,
            Report::Unreadable { row, .. } => row.key.event_id,
        };
        if self.out.park.send(note).await.is_err() {
            tracing::error!(outbox.id = %id, "result of a row not noted: stopping");
        }
        self.worker.held().remove(&id);
    }

    /// Puts an unpublished row in front of the others of its key.
    fn put_back(&mut self, item: Item) {
        let key = Arc::clone(&item.event.key);
        self.queues.entry(key).or_default().push_front(item);
    }

    /// Returns the waiting rows of a key, and accepts no more until all are returned.
    async fn recall(&mut self, key: &str) {
        self.context.recalled_keys.insert(key);
        let queue = self.queues.remove(key).unwrap_or_default();
        let ids = queue.iter().map(|item| item.event.id).collect();
        self.give_back(ids).await;
    }

    async fn give_back(&mut self, ids: Vec<EventId>) {
        if ids.is_empty() {
            return;
        }
        {
            let mut held = self.worker.held();
            for id in &ids {
                held.remove(id);
            }
        }
        tell(&self.out.signals, Signal::Back(ids)).await;
    }

    /// Waits for the records at the producer; the rest stays pending for the next owner.
    pub(super) async fn drain(mut self) {
        let timeout = self.context.config.publish_timeout;
        let finished = tokio::time::timeout(timeout, async {
            while let Some(finished) = self.in_flight.next().await {
                if matches!(finished.sent, Sent::Acknowledged) {
                    self.acknowledged(finished.item, finished.sent_at).await;
                }
            }
        });
        if finished.await.is_err() {
            tracing::warn!("records without an answer when their worker stopped");
        }
    }
}

//! One run of a worker's task: from its start, or from a panic, to the next.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::order::OrderCheck;
use super::send::{SendResult, Sent, send};
use crate::domain::Topic;
use crate::events::relay::breakers::{HeldBack, Permission};
use crate::events::relay::report::Report;
use crate::events::relay::{Context, Item, KeyPolicy, Map, Origin, Set, Urgency};
use crate::parts::broker::PublishError;
use crate::parts::store::StreamKey;

pub(super) struct Run<'a> {
    context: &'a Context,
    park: &'a mpsc::Sender<Report>,
    /// Events waiting, by key.
    queues: Map<StreamKey, VecDeque<Item>>,
    /// Keys with events waiting and none in flight, each once.
    ready: VecDeque<StreamKey>,
    /// Keys that are in `ready` or have an event in flight.
    busy: Set<StreamKey>,
    pub(super) in_flight: FuturesUnordered<BoxFuture<'static, SendResult>>,
    in_flight_max: usize,
    order: OrderCheck,
}

impl<'a> Run<'a> {
    pub(super) fn new(context: &'a Context, park: &'a mpsc::Sender<Report>) -> Self {
        let share = context.config.in_flight_max / u32::from(context.config.workers.max(1));
        Self {
            context,
            park,
            queues: Map::default(),
            ready: VecDeque::new(),
            busy: Set::default(),
            in_flight: FuturesUnordered::new(),
            in_flight_max: usize::try_from(share).unwrap_or(usize::MAX).max(1),
            order: OrderCheck::default(),
        }
    }

    pub(super) async fn take(&mut self, item: Item) {
        if item.is_lost() {
            return;
        }
        let key = item.key();
        if !item.is_parked()
            && !self.context.is_stream_key(&key)
            && self.context.blocked_keys.forward_if_blocked(&key)
        {
            return report(self.park, Report::Block(item)).await;
        }
        let queue = self.queues.entry(key.clone());
        // Almost every key has one event waiting, and most of them have one in all.
        let queue = queue.or_insert_with(|| VecDeque::with_capacity(1));
        let sequence = item.event.sequence;
        let place = queue
            .iter()
            .position(|other| other.event.sequence > sequence);
        queue.insert(place.unwrap_or(queue.len()), item);
        if self.busy.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// Sends what may be sent. Returns the time until the next try, if something is held back.
    pub(super) async fn pump(&mut self) -> Option<Duration> {
        let mut again_in: Option<Duration> = None;
        let mut wait_for = |wait: Duration| {
            again_in = Some(again_in.map_or(wait, |earlier: Duration| earlier.min(wait)));
        };
        for _ in 0..self.ready.len() {
            if self.in_flight.len() >= self.in_flight_max {
                break;
            }
            let Some(key) = self.ready.pop_front() else {
                break;
            };
            let queue = self.queues.get_mut(&key);
            let Some(next) = queue.and_then(|queue| {
                queue.retain(|item| !item.is_lost());
                queue.front()
            }) else {
                self.queues.remove(&key);
                self.busy.remove(&key);
                continue;
            };
            if !self.context.ownership.may_send(key.0.bucket()) {
                // Dropped: whoever owns the stream next reads it again.
                self.busy.remove(&key);
                self.queues.remove(&key);
                continue;
            }
            match self.context.breakers.ask(self.context.target(&next.event)) {
                Ok(permission) => self.send(&key, permission),
                Err(HeldBack::All(wait)) => {
                    self.ready.push_front(key);
                    return Some(wait);
                }
                // Most events are for this topic: their streams wait, and keep the order.
                Err(HeldBack::Topic(wait)) if next.event.topic == Topic::Participation => {
                    wait_for(wait);
                    self.ready.push_back(key);
                }
                // Waiting here, they would hold up the position of their stream.
                Err(HeldBack::Topic(_) | HeldBack::Partition) => {
                    self.busy.remove(&key);
                    self.park_queue(&key).await;
                }
            }
        }
        again_in
    }

    fn send(&mut self, key: &StreamKey, permission: Permission) {
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
        if self.order.is_violated_by(key.clone(), item.event.sequence) {
            self.context.metrics.order_violations.inc();
            tracing::error!(outbox.id = %item.event.id, "event sent after a later one");
        }
        let context = Context::clone(self.context);
        self.in_flight
            .push(Box::pin(send(context, item, permission)));
    }

    pub(super) async fn finished(&mut self, finished: SendResult) {
        let key = finished.item.key();
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
                drop(item);
                self.queues.remove(&key);
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
                report(self.park, Report::Refused { item, error }).await;
            }
            PublishError::PossiblyDelivered(error) => {
                breakers.unused(permission);
                let key = item.key();
                self.block(&key, &item);
                report(self.park, Report::Unsure { item, error }).await;
                self.forward_queue(&key).await;
            }
        }
    }

    /// The broker works: what was held back is tried again.
    fn answered(&self, permission: Permission) {
        if self.context.breakers.answered(permission) {
            self.context.wake.notify_one();
            self.context.breaker_closed.notify_one();
        }
    }

    async fn acknowledged(&mut self, item: Item, sent_at: Instant) {
        let now = self.context.clock.now();
        self.context.metrics.acknowledged(&item, sent_at, now);
        match item.origin {
            Origin::Log(claim) => claim.done(),
            Origin::Parked { .. } => report(self.park, Report::Delivered(item)).await,
        }
    }

    /// Puts an unpublished event in front of the others of its key.
    fn put_back(&mut self, item: Item) {
        self.queues.entry(item.key()).or_default().push_front(item);
    }

    /// Later events of the key wait from now on for one that goes to the parker.
    fn block(&self, key: &StreamKey, item: &Item) {
        if self.context.config.key_policy == KeyPolicy::Block && !item.is_parked() {
            self.context.blocked_keys.block(key.clone());
        }
    }

    /// Parks the waiting events of a key whose partition takes none, without an attempt.
    async fn park_queue(&mut self, key: &StreamKey) {
        let first = self.queues.get_mut(key).and_then(VecDeque::pop_front);
        if let Some(item) = first {
            self.block(key, &item);
            report(self.park, Report::Wait(item)).await;
        }
        match self.context.config.key_policy {
            KeyPolicy::Block => self.forward_queue(key).await,
            KeyPolicy::Skip => {
                for item in self.queues.remove(key).unwrap_or_default() {
                    report(self.park, Report::Wait(item)).await;
                }
            }
        }
        if let Some(queue) = self.queues.get(key)
            && !queue.is_empty()
            && self.busy.insert(key.clone())
        {
            self.ready.push_back(key.clone());
        }
    }

    /// Sends the waiting events of a key to the parker if the key is blocked, unless their whole stream waits.
    async fn forward_queue(&mut self, key: &StreamKey) {
        let mut rest = self.queues.remove(key).unwrap_or_default();
        if self.context.is_stream_key(key) {
            // Dropped: the whole stream waits, and is read again from its position when its event is published.
            rest.retain(Item::is_parked);
            if !rest.is_empty() {
                self.queues.insert(key.clone(), rest);
            }
            return;
        }
        while let Some(item) = rest.pop_front() {
            if item.is_parked() || !self.context.blocked_keys.forward_if_blocked(key) {
                rest.push_front(item);
                self.queues.insert(key.clone(), rest);
                return;
            }
            report(self.park, Report::Block(item)).await;
        }
    }

    /// Finishes what was received, as far as the broker answers in time: what is published beyond a gap would be
    /// published again. The rest is read again by the next owner.
    pub(super) async fn drain(mut self, inbox: &mut mpsc::Receiver<Item>) {
        let deadline = Instant::now() + self.context.config.publish_timeout;
        loop {
            while let Ok(item) = inbox.try_recv() {
                self.take(item).await;
            }
            self.pump().await;
            if self.in_flight.is_empty() {
                return;
            }
            match tokio::time::timeout_at(deadline, self.in_flight.next()).await {
                Ok(Some(finished)) => self.finished(finished).await,
                Ok(None) => return,
                Err(_) => {
                    tracing::warn!("records without an answer when their worker stopped");
                    return;
                }
            }
        }
    }
}

/// An event is dropped where the parker is gone: the process stops.
async fn report(park: &mpsc::Sender<Report>, report: Report) {
    if park.send(report).await.is_err() {
        tracing::debug!("the parker has stopped");
    }
}

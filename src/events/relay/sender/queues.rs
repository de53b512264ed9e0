//! The events that wait for each partition, and what follows from the result of a batch.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::batch::{SentBatch, send};
use super::gathering::{Gathering, RECORDS_MAX};
use super::order::OrderCheck;
use super::parker_handle::ParkerHandle;
use crate::domain::Topic;
use crate::events::relay::breakers::{HeldBack, Permission, Target};
use crate::events::relay::report::ParkerReport;
use crate::events::relay::{Context, Item, Map, Origin};
use crate::parts::broker::PublishError;

/// Parked events that wait for a partition that accepts nothing.
const PROBES_MAX: usize = 8;
/// While nothing is sent, how often the queues are searched for events that this relay may not send.
const DROP_PAUSE: Duration = Duration::from_millis(100);

struct Queue {
    waiting: VecDeque<Item>,
    is_sending: bool,
    gathering: Gathering,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            is_sending: false,
            gathering: Gathering::new(Instant::now()),
        }
    }
}

pub(super) struct Queues<'a> {
    context: &'a Context,
    parker: ParkerHandle<'a>,
    by_target: Map<Target, Queue>,
    /// The number of partitions that the queues of each topic are based on.
    counts: Map<Topic, Option<u32>>,
    /// Where the next round begins, so that a single probe of the broker does not always use the same partition.
    turn: usize,
    pub(super) in_flight: FuturesUnordered<BoxFuture<'static, SentBatch>>,
    order: OrderCheck,
    /// When events that may not be sent were last dropped from the queues.
    dropped_at: Instant,
    /// The sender stops: no batch gathers any more.
    is_draining: bool,
}

impl<'a> Queues<'a> {
    pub(super) fn new(context: &'a Context, park: &'a mpsc::Sender<ParkerReport>) -> Self {
        Self {
            context,
            parker: ParkerHandle { context, park },
            by_target: Map::default(),
            counts: Map::default(),
            turn: 0,
            in_flight: FuturesUnordered::new(),
            order: OrderCheck::default(),
            dropped_at: Instant::now(),
            is_draining: false,
        }
    }

    pub(super) fn add(&mut self, item: Item) {
        let context = self.context;
        let count = self.counts.entry(item.event.topic);
        let count = *count.or_insert_with(|| context.partitions(item.event.topic));
        let target = Target::of(&item.event, count);
        self.by_target
            .entry(target)
            .or_default()
            .waiting
            .push_back(item);
    }

    /// Sends a batch to each partition that has events waiting and none in flight. Returns the time until the next
    /// try, if something is held back.
    pub(super) async fn send_ready(&mut self) -> Option<Duration> {
        let again_in = self.send_permitted().await;
        if again_in.is_some() {
            self.drop_unsendable();
        }
        again_in
    }

    async fn send_permitted(&mut self) -> Option<Duration> {
        if let Some(wait) = self.context.breakers.broker_wait() {
            return Some(wait);
        }
        let held = self.follow_partitions();
        let mut again_in: Option<Duration> = None;
        let has_waiting = |queue: &Queue| !queue.waiting.is_empty();
        let ready = self
            .by_target
            .iter()
            .filter(|(_, queue)| has_waiting(queue));
        let mut ready: Vec<Target> = ready.map(|(target, _)| *target).collect();
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn.checked_rem(ready.len()).unwrap_or(0);
        ready.rotate_left(first);
        for target in ready {
            if self.context.breakers.is_partition_failing(target) {
                // Parked events probe it: a stream event that waited here would also stop the position of its stream.
                self.park_all(target, PROBES_MAX).await;
            }
            if held.contains(&target.topic) || !self.may_begin(target) {
                continue;
            }
            if let Some(left) = self.gathers_for(target) {
                again_in = Some(earlier(again_in, left));
                continue;
            }
            match self.context.breakers.ask(target) {
                Ok(permission) => self.send(target, permission).await,
                Err(HeldBack::All(wait)) => return Some(wait),
                // Most events are for this topic: their streams wait, so the order is kept.
                Err(HeldBack::Topic(wait)) if target.topic == Topic::Participation => {
                    again_in = Some(earlier(again_in, wait));
                }
                // In flight they would use the room of others.
                Err(HeldBack::Topic(_) | HeldBack::Partition) => self.park_all(target, 0).await,
            }
        }
        again_in
    }

    /// Drops the waiting events that this relay may not send: their streams are read again by the owner of their bucket.
    /// While nothing is sent, a bucket that is to be given away would otherwise never be free of events in flight.
    fn drop_unsendable(&mut self) {
        if self.dropped_at.elapsed() < DROP_PAUSE {
            return;
        }
        self.dropped_at = Instant::now();
        let context = self.context;
        for queue in self.by_target.values_mut() {
            let may_send = |item: &Item| !item.is_lost() && context.may_send(item);
            queue.waiting.retain(may_send);
        }
    }

    fn may_begin(&self, target: Target) -> bool {
        let queue = self.by_target.get(&target);
        queue.is_some_and(|queue| !queue.is_sending && !queue.waiting.is_empty())
    }

    fn gathers_for(&self, target: Target) -> Option<Duration> {
        // With no room for others, nothing more would gather.
        if self.is_draining || self.context.in_flight.left() == 0 {
            return None;
        }
        let queue = self.by_target.get(&target)?;
        queue.gathering.left(queue.waiting.len(), Instant::now())
    }

    /// Distributes the events of a topic again when its number of partitions becomes known or changes, once none of
    /// them is in flight. Returns the topics that wait for this: with the new number, an event could pass an earlier
    /// one of its key. All events of a key are in one queue, so they stay in order.
    fn follow_partitions(&mut self) -> Vec<Topic> {
        let mut held = Vec::new();
        for topic in Topic::ALL {
            let now = self.context.partitions(topic);
            let Some(count) = self.counts.get_mut(&topic) else {
                continue;
            };
            if *count == now {
                continue;
            }
            let of_topic = self.by_target.iter_mut();
            let of_topic = of_topic.filter(|(target, _)| target.topic == topic);
            let mut queues: Vec<&mut Queue> = of_topic.map(|(_, queue)| queue).collect();
            if queues.iter().any(|queue| queue.is_sending) {
                held.push(topic);
                continue;
            }
            *count = now;
            let waiting = queues
                .iter_mut()
                .map(|queue| std::mem::take(&mut queue.waiting));
            let waiting: Vec<VecDeque<Item>> = waiting.collect();
            waiting
                .into_iter()
                .flatten()
                .for_each(|item| self.add(item));
        }
        held
    }

    async fn send(&mut self, target: Target, permission: Permission) {
        let items = self.next_batch(target, permission).await;
        if items.is_empty() {
            return self.context.breakers.unused(permission);
        }
        if let Some(queue) = self.by_target.get_mut(&target) {
            queue.is_sending = true;
            let is_read = |item: &Item| !item.is_parked() && item.committed_at.is_none();
            let is_backlog = items.iter().any(is_read);
            queue
                .gathering
                .sent(items.len(), is_backlog, Instant::now());
        }
        let context = Context::clone(self.context);
        self.in_flight
            .push(Box::pin(send(context, target, items, permission)));
    }

    /// Takes the events of the next batch out of a queue. Events whose stream is read again are dropped, and those of
    /// blocked keys go to the parker.
    async fn next_batch(&mut self, target: Target, permission: Permission) -> Vec<Item> {
        let records_max = if permission.is_probe() {
            1
        } else {
            RECORDS_MAX
        };
        let mut items: Vec<Item> = Vec::new();
        while items.len() < records_max {
            let Some(item) = self.pop(target) else {
                break;
            };
            if item.is_lost() || !self.context.may_send(&item) {
                continue;
            }
            let key = item.key();
            if !item.is_parked() && self.context.blocked_keys.contains(&key) {
                self.parker.forward(item, &key, ParkerReport::Block).await;
                continue;
            }
            if item.alone && !items.is_empty() {
                self.put_back(target, item);
                break;
            }
            let is_alone = item.alone;
            items.push(item);
            if is_alone {
                break;
            }
        }
        items
    }

    pub(super) async fn finished(&mut self, sent: SentBatch) {
        let SentBatch {
            target,
            permission,
            sent_at,
            items,
            results,
        } = sent;
        if let Some(queue) = self.by_target.get_mut(&target) {
            queue.is_sending = false;
        }
        // The breakers must know the result before the following items are sent.
        if results.iter().any(is_answer) && self.context.breakers.answered(permission) {
            // The broker works: held-back records are tried again.
            self.context.wake.notify_one();
            self.context.breaker_closed.notify_one();
        }
        let now = self.context.clock.now();
        if results.is_empty() {
            self.context.breakers.unused(permission);
        }
        let mut results = results.into_iter();
        let mut unsent = Vec::new();
        let mut unsent_keys = HashSet::new();
        for item in items {
            match results.next() {
                Some(Ok(at)) => {
                    self.context.metrics.acknowledged(&item, sent_at, now);
                    let window = match &item.origin {
                        Origin::Log(claim) => Some(claim.window()),
                        Origin::Parked { .. } => None,
                    };
                    let (key, sequence) = (item.key(), item.event.sequence);
                    if self.order.is_violated_by(key, window, sequence) {
                        self.context.metrics.order_violations.inc();
                        tracing::error!(outbox.id = %item.event.id, "event published after a later one");
                    }
                    let published = self.context.published(&item.event, at, now);
                    match (item.origin, published) {
                        (Origin::Log(claim), None) => claim.done(),
                        (Origin::Log(claim), Some(published)) => {
                            self.context.offsets.add(claim, published);
                            self.context.positions.wake();
                        }
                        (origin @ Origin::Parked { .. }, published) => {
                            let item = Item { origin, ..item };
                            let report = ParkerReport::Delivered { item, published };
                            self.parker.report(report).await;
                        }
                    }
                }
                // If it were parked, it would be in front of the earlier one of its key that is sent again.
                Some(Err(PublishError::PossiblyDelivered(_)))
                    if unsent_keys.contains(&item.key()) =>
                {
                    unsent.push(item);
                }
                Some(Err(failure)) => {
                    self.context.metrics.failed(failure.class());
                    if let Some(item) = self.parker.failed(item, permission, failure).await {
                        unsent_keys.insert(item.key());
                        unsent.push(item);
                    }
                }
                None => unsent.push(item),
            }
        }
        for item in unsent.into_iter().rev() {
            self.put_back(target, item);
        }
    }

    /// Parks the waiting events of a partition that accepts none, and charges no attempt. At most `probes_max` of the
    /// events that were already parked stay, as probes.
    async fn park_all(&mut self, target: Target, probes_max: usize) {
        let Some(queue) = self.by_target.get_mut(&target) else {
            return;
        };
        let mut probes = VecDeque::new();
        for item in std::mem::take(&mut queue.waiting) {
            if item.is_parked() && probes.len() < probes_max {
                probes.push_back(item);
            } else if !item.is_lost() {
                let key = item.key();
                self.parker.forward(item, &key, ParkerReport::Wait).await;
            }
        }
        queue.waiting = probes;
    }

    fn pop(&mut self, target: Target) -> Option<Item> {
        self.by_target.get_mut(&target)?.waiting.pop_front()
    }

    fn put_back(&mut self, target: Target, item: Item) {
        let queue = self.by_target.entry(target).or_default();
        queue.waiting.push_front(item);
    }

    /// Finishes the received events, as far as the broker answers in time: events published after a gap would be
    /// published again. The next owner reads the rest again.
    pub(super) async fn drain(mut self, inbox: &mut mpsc::Receiver<Item>) {
        self.is_draining = true;
        let deadline = Instant::now() + self.context.config.publish_timeout;
        loop {
            while let Ok(item) = inbox.try_recv() {
                self.add(item);
            }
            self.send_ready().await;
            if self.in_flight.is_empty() {
                return;
            }
            match tokio::time::timeout_at(deadline, self.in_flight.next()).await {
                Ok(Some(sent)) => self.finished(sent).await,
                Ok(None) => return,
                Err(_) => {
                    tracing::warn!("records without an answer when the sender stopped");
                    return;
                }
            }
        }
    }
}

/// The shorter of two waits; none: there was none before.
fn earlier(wait: Option<Duration>, other: Duration) -> Duration {
    wait.map_or(other, |wait| wait.min(other))
}

/// Whether the broker accepted the record, or rejected the record itself.
const fn is_answer<T>(result: &Result<T, PublishError>) -> bool {
    matches!(result, Ok(_) | Err(PublishError::Record(_)))
}

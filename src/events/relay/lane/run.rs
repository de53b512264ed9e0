//! One run of a lane's task: from its start, or from a panic, to the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Lane, Outlets};
use crate::domain::{EventId, OutboxEvent};
use crate::events::relay::breaker::{HeldBack, Ticket};
use crate::events::relay::parker::Note;
use crate::events::relay::settler::tell;
use crate::events::relay::{Haste, Item, KeyPolicy, Map, Origin, Parts, Set, Signal};
use crate::parts::broker::{Acknowledged, PublishError, Record, Turn};
use crate::parts::store::PendingKey;

/// Lines whose last sent event is remembered, to notice a violation of their order.
const LINES_MAX: usize = 10_000;

/// How sending a record ended.
enum Sent {
    Acknowledged,
    Failed(PublishError),
    /// The lease would not have covered it.
    Withheld,
    /// The broker, its topic or its partition failed others while it waited.
    HeldBack,
}

pub(super) struct Landed {
    item: Item,
    sent_at: Instant,
    ticket: Ticket,
    sent: Sent,
    /// Kept until the breakers know how it ended: those who wait ask them next.
    turn: Option<Turn>,
}

pub(super) struct Run<'a> {
    parts: &'a Parts,
    lane: &'a Lane,
    out: &'a Outlets,
    /// Rows waiting, by key.
    queues: Map<Arc<str>, VecDeque<Item>>,
    /// Keys with rows waiting and none flying, each once.
    ready: VecDeque<Arc<str>>,
    /// Keys that are in `ready` or have a row flying.
    busy: Set<Arc<str>>,
    pub(super) flying: FuturesUnordered<BoxFuture<'static, Landed>>,
    flying_max: usize,
    /// Nothing sets out any more.
    stop: CancellationToken,
    /// The last one sent of each line that has to be kept.
    sent: Map<Arc<str>, Mark>,
}

/// Where in its line an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    /// Among the changes of one participation.
    Sequence(u32),
    /// Among the commits of one campaign, for keys that participations share.
    Commit(EventId),
}

impl Mark {
    /// The line an event belongs to, and its place in it.
    fn of(event: &OutboxEvent) -> (Arc<str>, Self) {
        if event.shares_its_key() {
            let line = format!("{}/{}", event.campaign_id, event.key);
            (line.into(), Self::Commit(event.id))
        } else {
            (Arc::clone(&event.key), Self::Sequence(event.key_sequence))
        }
    }
}

impl<'a> Run<'a> {
    pub(super) fn new(
        parts: &'a Parts,
        lane: &'a Lane,
        out: &'a Outlets,
        stop: CancellationToken,
    ) -> Self {
        let share = parts.config.in_flight_max / u32::from(parts.config.lanes.max(1));
        Self {
            parts,
            lane,
            out,
            queues: Map::default(),
            ready: VecDeque::new(),
            busy: Set::default(),
            flying: FuturesUnordered::new(),
            flying_max: usize::try_from(share).unwrap_or(usize::MAX).max(1),
            stop,
            sent: Map::default(),
        }
    }

    pub(super) async fn take(&mut self, item: Item) {
        let key = Arc::clone(&item.event.key);
        self.lane.held().insert(item.event.id, Arc::clone(&key));
        if item.origin == Origin::Pending && self.parts.recalled.contains(&key) {
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

    /// Sends what may be sent: how long until it is worth another look, if everything is held back.
    pub(super) async fn pump(&mut self) -> Option<Duration> {
        for _ in 0..self.ready.len() {
            if self.flying.len() >= self.flying_max {
                break;
            }
            let Some(key) = self.ready.pop_front() else {
                break;
            };
            let Some(next) = self.queues.get(&key).and_then(VecDeque::front) else {
                self.busy.remove(&key);
                continue;
            };
            if !self.parts.ownership.may_send(next.event.bucket) {
                self.busy.remove(&key);
                self.recall(&key).await;
                continue;
            }
            match self.parts.breakers.ask(self.parts.place(&next.event)) {
                Ok(ticket) => self.send(&key, ticket),
                Err(HeldBack::All(wait)) => {
                    self.ready.push_front(key);
                    return Some(wait);
                }
                // Its rows would only take the room of other topics' rows, or other partitions'.
                Err(HeldBack::Place) => {
                    self.busy.remove(&key);
                    self.recall(&key).await;
                }
            }
        }
        None
    }

    fn send(&mut self, key: &str, ticket: Ticket) {
        let queue = self.queues.get_mut(key);
        let Some((mut item, followed)) =
            queue.and_then(|queue| Some((queue.pop_front()?, !queue.is_empty())))
        else {
            return self.parts.breakers.unused(ticket);
        };
        if followed {
            // One of a key flies at a time: each of those behind would wait for company all over again.
            item.haste = Haste::Fresh;
        }
        self.check_order(&item);
        let parts = Parts::clone(self.parts);
        self.flying
            .push(Box::pin(send(parts, item, ticket, self.stop.clone())));
    }

    /// Counts a record that goes out after a later one of its line.
    fn check_order(&mut self, item: &Item) {
        if self.sent.len() >= LINES_MAX {
            self.sent.clear();
        }
        let (line, mark) = Mark::of(&item.event);
        let last = self.sent.entry(line).or_insert(mark);
        if mark < *last {
            self.parts.metrics.order_violations.inc();
            tracing::error!(outbox.id = %item.event.id, "event goes out after a later one");
        }
        *last = mark.max(*last);
    }

    pub(super) async fn landed(&mut self, landed: Landed) {
        let key = Arc::clone(&landed.item.event.key);
        let Landed {
            item,
            sent_at,
            ticket,
            sent,
            turn,
        } = landed;
        match sent {
            Sent::Acknowledged => {
                self.answered(ticket);
                drop(turn);
                self.acknowledged(item, sent_at).await;
            }
            Sent::Withheld => {
                self.parts.breakers.unused(ticket);
                self.put_back(item);
                self.recall(&key).await;
            }
            Sent::HeldBack => {
                self.parts.breakers.unused(ticket);
                self.put_back(item);
            }
            Sent::Failed(failure) => {
                self.parts.metrics.failed(failure.class());
                self.failed(item, ticket, failure).await;
            }
        }
        if self.queues.get(&key).is_some_and(|queue| !queue.is_empty()) {
            self.ready.push_back(key);
        } else {
            self.queues.remove(&key);
            self.busy.remove(&key);
        }
    }

    async fn failed(&mut self, mut item: Item, ticket: Ticket, failure: PublishError) {
        let breakers = &self.parts.breakers;
        match failure {
            PublishError::QueueFull | PublishError::Away(_) | PublishError::Fatal(_) => {
                breakers.away(ticket, &failure.to_string());
                self.put_back(item);
            }
            PublishError::Destination(reason) => {
                breakers.destination(ticket, &reason);
                self.put_back(item);
            }
            PublishError::Partition(reason) => {
                let partition = self.parts.place(&item.event).partition;
                breakers.partition(ticket, partition, &reason);
                self.put_back(item);
            }
            PublishError::Record(_) if !item.alone => {
                self.answered(ticket);
                item.alone = true;
                self.put_back(item);
            }
            PublishError::Record(error) => {
                self.answered(ticket);
                self.hand_over(Note::Refused { item, error }).await;
            }
            PublishError::PossiblyDelivered(error) => {
                breakers.unused(ticket);
                // Later rows of its key come back, to be parked behind it once it is parked itself.
                if self.parts.config.key_policy == KeyPolicy::Block {
                    self.recall(&item.event.key).await;
                }
                self.hand_over(Note::Unsure { item, error }).await;
            }
        }
    }

    /// The broker works; rows that were left for that reason are looked for.
    fn answered(&self, ticket: Ticket) {
        if self.parts.breakers.answered(ticket) {
            self.parts.wake.notify_one();
            self.parts.released.notify_one();
        }
    }

    async fn acknowledged(&mut self, item: Item, sent_at: Instant) {
        let now = self.parts.clock.now();
        self.parts.metrics.acknowledged(&item, sent_at, now);
        if item.origin != Origin::Pending {
            return self.hand_over(Note::Delivered(item)).await;
        }
        let key = PendingKey::of(&item.event);
        if self.out.settle.send(key).await.is_err() {
            tracing::error!(outbox.id = %key.event_id, "acknowledged row not settled: stopping");
        }
        self.lane.held().remove(&key.event_id);
    }

    async fn hand_over(&mut self, note: Note) {
        let id = match &note {
            Note::Delivered(item)
            | Note::Block(item)
            | Note::Unsure { item, .. }
            | Note::Refused { item, .. } => item.event.id,
            Note::Unreadable { row, .. } => row.key.event_id,
        };
        if self.out.park.send(note).await.is_err() {
            tracing::error!(outbox.id = %id, "result of a row not noted: stopping");
        }
        self.lane.held().remove(&id);
    }

    /// Puts an unpublished row in front of the others of its key.
    fn put_back(&mut self, item: Item) {
        let key = Arc::clone(&item.event.key);
        self.queues.entry(key).or_default().push_front(item);
    }

    /// Gives the waiting rows of a key back, and takes no more until all are back.
    async fn recall(&mut self, key: &str) {
        self.parts.recalled.insert(key);
        let queue = self.queues.remove(key).unwrap_or_default();
        let ids = queue.iter().map(|item| item.event.id).collect();
        self.give_back(ids).await;
    }

    async fn give_back(&mut self, ids: Vec<EventId>) {
        if ids.is_empty() {
            return;
        }
        {
            let mut held = self.lane.held();
            for id in &ids {
                held.remove(id);
            }
        }
        tell(&self.out.signals, Signal::Back(ids)).await;
    }

    /// Finishes what is at the producer; the rest stays pending for the next owner.
    pub(super) async fn drain(mut self) {
        let timeout = self.parts.config.publish_timeout;
        let finished = tokio::time::timeout(timeout, async {
            while let Some(landed) = self.flying.next().await {
                if matches!(landed.sent, Sent::Acknowledged) {
                    self.acknowledged(landed.item, landed.sent_at).await;
                }
            }
        });
        if finished.await.is_err() {
            tracing::warn!("records were unanswered when their lane stopped");
        }
    }
}

async fn send(parts: Parts, item: Item, ticket: Ticket, stop: CancellationToken) -> Landed {
    let permits = if item.alone {
        parts.config.in_flight_max
    } else {
        1
    };
    let permit = parts.permits.acquire_many(permits).await;
    let sent_at = Instant::now();
    let mut record = Record::of(&item.event, &parts.config.topic_prefix);
    let turn = match item.haste {
        Haste::Fresh => parts.publisher.turn(&record).await,
        Haste::Backlog => None,
    };
    let may_send = permit.is_ok() && !stop.is_cancelled();
    let sent = if !may_send || !parts.ownership.may_send(item.event.bucket) {
        Sent::Withheld
    } else if !parts.breakers.still(ticket) {
        Sent::HeldBack
    } else {
        let mut traced = record.traced();
        let published = publish(&parts, &record, ticket, item.haste).await;
        match published {
            Ok(_) => Sent::Acknowledged,
            Err(failure) => {
                if let Some(traced) = &mut traced {
                    traced.failed(failure.class());
                }
                Sent::Failed(failure)
            }
        }
    };
    drop(permit);
    Landed {
        item,
        sent_at,
        ticket,
        sent,
        turn,
    }
}

/// A probe asks first whether its partition takes anything: what is sent in vain may be written all the same.
/// And it goes by itself: what is sent in bulk to other partitions would wait behind it.
async fn publish(
    parts: &Parts,
    record: &Record,
    ticket: Ticket,
    haste: Haste,
) -> Result<Acknowledged, PublishError> {
    if ticket.is_probe() {
        parts.publisher.ask_partition(record).await?;
        return parts.publisher.publish(record).await;
    }
    match haste {
        Haste::Fresh => parts.publisher.publish(record).await,
        Haste::Backlog => parts.publisher.publish_in_bulk(record).await,
    }
}

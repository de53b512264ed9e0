//! The partitions a member of a group owns, each with the queue of whoever works on it and with how far
//! the work has come.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, Statistics, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::{SendTimeoutError, TrySendError};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_util::sync::CancellationToken;

use super::{Context, GroupConfig, GroupError, Hooks};
use crate::parts::broker::Delivered;

/// How long a record may wait for room in its queue before its partition is paused. Meanwhile nothing is
/// polled, which is fine for a moment, and costs less than pausing, which throws away what was read ahead.
const HAND_OVER_MAX: Duration = Duration::from_millis(500);
/// How long a share that is taken away may take to finish what is under way.
const FINISH_MAX: Duration = Duration::from_secs(6);
/// No offset yet.
const NONE: i64 = -1;

/// A partition, for as long as it is ours.
#[derive(Debug)]
pub struct Share {
    /// Its number.
    pub partition: i32,
    /// Its records, in order.
    pub records: Receiver<Delivered>,
    /// Cancelled when it is to be given up: what is under way may be finished, quickly. That it is shows
    /// by this share being dropped.
    pub revoked: CancellationToken,
    position: Arc<AtomicI64>,
}

impl Share {
    /// Says that everything up to and with this offset is done.
    pub fn done(&self, offset: i64) {
        self.position.store(offset + 1, Ordering::SeqCst);
    }
}

/// The other end of a share.
struct Held {
    queue: Sender<Delivered>,
    /// What had no room in the queue; the partition is paused while something is here.
    waiting: VecDeque<Delivered>,
    position: Arc<AtomicI64>,
    committed: i64,
    revoked: CancellationToken,
}

/// All of a member.
pub(super) struct Shares {
    topic: String,
    queue_records_max: usize,
    hooks: Hooks,
    runtime: Handle,
    held: Mutex<HashMap<i32, Held>>,
}

impl Shares {
    pub(super) fn new(config: &GroupConfig, hooks: Hooks, runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            topic: config.topic.clone(),
            queue_records_max: config.queue_records_max.max(1),
            hooks,
            runtime,
            held: Mutex::default(),
        })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<i32, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Partitions are ours from now on.
    pub(super) fn begin(&self, partitions: &[i32]) {
        for partition in partitions.iter().copied() {
            let (queue, records) = mpsc::channel(self.queue_records_max);
            let held = Held {
                queue,
                waiting: VecDeque::new(),
                position: Arc::new(AtomicI64::new(NONE)),
                committed: NONE,
                revoked: CancellationToken::new(),
            };
            let share = Share {
                partition,
                records,
                revoked: held.revoked.clone(),
                position: Arc::clone(&held.position),
            };
            self.held().insert(partition, held);
            (self.hooks.begin)(share);
        }
        tracing::info!(topic = self.topic, ?partitions, "partitions taken over");
    }

    /// Partitions are not ours any more, once this is over: waits until nobody works on them, though not
    /// for long, and commits how far they came.
    pub(super) fn finish(&self, consumer: &BaseConsumer<Context>, partitions: &[i32]) {
        let mut ending: Vec<(i32, Held)> = {
            let mut held = self.held();
            partitions
                .iter()
                .filter_map(|partition| Some((*partition, held.remove(partition)?)))
                .collect()
        };
        if ending.is_empty() {
            return;
        }
        for (_, held) in &ending {
            held.revoked.cancel();
        }
        // Should one come back, it is not to come back paused.
        let paused = ending.iter().filter(|(_, held)| !held.waiting.is_empty());
        self.resume(
            consumer,
            &self.list(paused.map(|(partition, _)| (*partition, None))),
        );
        let workers = join_all(ending.iter().map(|(_, held)| held.queue.closed()));
        let all = self
            .runtime
            .block_on(async { tokio::time::timeout(FINISH_MAX, workers).await.is_ok() });
        if !all {
            // The inbox decides between them and whoever works on these partitions next.
            tracing::warn!(
                topic = self.topic,
                ?partitions,
                "partitions given up before their work was done"
            );
        }
        let is_lost = consumer.assignment_lost();
        if !is_lost {
            let offsets = self.uncommitted(
                ending
                    .iter_mut()
                    .map(|(partition, held)| (*partition, held)),
            );
            self.commit(consumer, &offsets, CommitMode::Sync);
        }
        for (partition, _) in &ending {
            (self.hooks.lag)(*partition, None);
        }
        tracing::info!(
            topic = self.topic,
            ?partitions,
            is_lost,
            "partitions given up"
        );
    }

    /// The same for all there are.
    pub(super) fn finish_all(&self, consumer: &BaseConsumer<Context>) {
        let all: Vec<i32> = self.held().keys().copied().collect();
        self.finish(consumer, &all);
    }

    /// Gives a record to whoever works on its partition.
    pub(super) fn hand_over(&self, consumer: &BaseConsumer<Context>, record: Delivered) {
        let partition = record.partition;
        let (queue, record) = {
            let mut held = self.held();
            let Some(held) = held.get_mut(&partition) else {
                // It was read ahead of a partition that is gone.
                return;
            };
            if !held.waiting.is_empty() {
                held.waiting.push_back(record);
                return;
            }
            match held.queue.try_send(record) {
                // A queue that is closed is found when it is looked after.
                Ok(()) | Err(TrySendError::Closed(_)) => return,
                Err(TrySendError::Full(record)) => (held.queue.clone(), record),
            }
        };
        let sent = self
            .runtime
            .block_on(async { queue.send_timeout(record, HAND_OVER_MAX).await });
        let Err(SendTimeoutError::Timeout(record)) = sent else {
            return;
        };
        if let Some(held) = self.held().get_mut(&partition) {
            held.waiting.push_back(record);
        }
        let paused = consumer.pause(&self.list([(partition, None)]));
        if let Err(failure) = paused {
            tracing::warn!(
                error = &failure as &dyn std::error::Error,
                "pause a partition"
            );
        }
        tracing::info!(
            topic = self.topic,
            partition,
            "partition paused: its work waits"
        );
    }

    /// Commits how far the work has come, and goes on with partitions that were paused and have room.
    pub(super) fn keep_up(&self, consumer: &BaseConsumer<Context>) -> Result<(), GroupError> {
        let mut resumed = Vec::new();
        let offsets = {
            let mut all = self.held();
            for (partition, held) in all.iter_mut() {
                if held.queue.is_closed() {
                    return Err(GroupError::Abandoned(*partition));
                }
                if !held.waiting.is_empty() && held.refill() {
                    resumed.push((*partition, None));
                }
            }
            self.uncommitted(all.iter_mut().map(|(partition, held)| (*partition, held)))
        };
        self.commit(consumer, &offsets, CommitMode::Async);
        self.resume(consumer, &self.list(resumed));
        Ok(())
    }

    fn resume(&self, consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) {
        if partitions.count() == 0 {
            return;
        }
        if let Err(failure) = consumer.resume(partitions) {
            tracing::warn!(
                error = &failure as &dyn std::error::Error,
                "resume a partition"
            );
        }
        let partitions = super::numbers(partitions);
        tracing::info!(topic = self.topic, ?partitions, "partitions go on");
    }

    /// What was committed last did not arrive: it is committed again.
    pub(super) fn forget_commits(&self, partitions: &[i32]) {
        let mut held = self.held();
        for partition in partitions {
            if let Some(held) = held.get_mut(partition) {
                held.committed = NONE;
            }
        }
    }

    /// Tells how many records of each partition are not worked on yet.
    pub(super) fn tell_lag(&self, statistics: &Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else {
            return;
        };
        let held = self.held();
        for (number, partition) in &topic.partitions {
            let Some(held) = held.get(number) else {
                continue;
            };
            let position = held.position.load(Ordering::SeqCst);
            let from = position
                .max(partition.committed_offset)
                .max(partition.lo_offset);
            if let Ok(lag) = u64::try_from(partition.hi_offset.saturating_sub(from.max(0))) {
                (self.hooks.lag)(*number, Some(lag));
            }
        }
    }

    fn uncommitted<'a>(
        &self,
        held: impl Iterator<Item = (i32, &'a mut Held)>,
    ) -> TopicPartitionList {
        let moved = held.filter_map(|(partition, held)| {
            let position = held.position.load(Ordering::SeqCst);
            let is_new = position != NONE && position != held.committed;
            held.committed = position;
            is_new.then_some((partition, Some(position)))
        });
        self.list(moved)
    }

    fn commit(
        &self,
        consumer: &BaseConsumer<Context>,
        offsets: &TopicPartitionList,
        mode: CommitMode,
    ) {
        if offsets.count() == 0 {
            return;
        }
        if let Err(failure) = consumer.commit(offsets, mode) {
            tracing::warn!(
                topic = self.topic,
                error = &failure as &dyn std::error::Error,
                "commit offsets"
            );
            self.forget_commits(&super::numbers(offsets));
        }
    }

    fn list(&self, partitions: impl IntoIterator<Item = (i32, Option<i64>)>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in partitions {
            let mut element = list.add_partition(&self.topic, partition);
            if let Some(offset) = offset
                && let Err(failure) = element.set_offset(Offset::Offset(offset))
            {
                tracing::error!(
                    error = &failure as &dyn std::error::Error,
                    offset,
                    "name an offset"
                );
            }
        }
        list
    }
}

impl Held {
    /// Moves what waits into the queue; whether nothing waits any more and the queue has drained.
    fn refill(&mut self) -> bool {
        while let Some(record) = self.waiting.pop_front() {
            if let Err(TrySendError::Full(record) | TrySendError::Closed(record)) =
                self.queue.try_send(record)
            {
                self.waiting.push_front(record);
                return false;
            }
        }
        true
    }
}

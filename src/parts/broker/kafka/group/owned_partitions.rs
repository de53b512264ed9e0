//! The partitions that a member of a group owns, each with the queue of its worker and its position.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, Statistics, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendTimeoutError, TrySendError};
use tokio_util::sync::CancellationToken;

use super::owned_partition::{NONE, OwnedPartition, PartitionQueue};
use super::{Context, GroupConfig, GroupError, Hooks};
use crate::parts::broker::Delivered;

/// How long a record may wait for room in its queue before its partition is paused. Nothing is polled meanwhile. A
/// short wait costs less than a pause, which drops prefetched records.
const HAND_OVER_MAX: Duration = Duration::from_millis(500);
/// How long the worker of a revoked partition may take to finish.
const FINISH_MAX: Duration = Duration::from_secs(6);
/// All partitions of a member.
pub(super) struct OwnedPartitions {
    topic: String,
    queue_records_max: usize,
    hooks: Hooks,
    runtime: Handle,
    held: Mutex<HashMap<i32, PartitionQueue>>,
}

impl OwnedPartitions {
    pub(super) fn new(config: &GroupConfig, hooks: Hooks, runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            topic: config.topic.clone(),
            queue_records_max: config.queue_records_max.max(1),
            hooks,
            runtime,
            held: Mutex::default(),
        })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<i32, PartitionQueue>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds assigned partitions.
    pub(super) fn begin(&self, partitions: &[i32]) {
        for partition in partitions.iter().copied() {
            let (queue, records) = mpsc::channel(self.queue_records_max);
            let held = PartitionQueue {
                queue,
                waiting: VecDeque::new(),
                position: Arc::new(AtomicI64::new(NONE)),
                committed: NONE,
                revoked: CancellationToken::new(),
            };
            let owned = OwnedPartition {
                partition,
                records,
                revoked: held.revoked.clone(),
                position: Arc::clone(&held.position),
            };
            self.held().insert(partition, held);
            (self.hooks.begin)(owned);
        }
        tracing::info!(topic = self.topic, ?partitions, "partitions taken over");
    }

    /// Releases partitions: waits a bounded time until their workers have finished, and commits their positions.
    pub(super) fn finish(&self, consumer: &BaseConsumer<Context>, partitions: &[i32]) {
        let mut ending: Vec<(i32, PartitionQueue)> = {
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
        // A partition that is assigned again must not be paused.
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
            // The inbox table prevents a second effect of records that the next owner of these partitions reads, too.
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

    /// The same for all partitions.
    pub(super) fn finish_all(&self, consumer: &BaseConsumer<Context>) {
        let all: Vec<i32> = self.held().keys().copied().collect();
        self.finish(consumer, &all);
    }

    /// Gives a record to the worker of its partition.
    pub(super) fn hand_over(&self, consumer: &BaseConsumer<Context>, record: Delivered) {
        let partition = record.partition;
        let (queue, record) = {
            let mut held = self.held();
            let Some(held) = held.get_mut(&partition) else {
                // It was prefetched from a partition that is released.
                return;
            };
            if !held.waiting.is_empty() {
                held.waiting.push_back(record);
                return;
            }
            match held.queue.try_send(record) {
                // `commit_and_resume` detects closed queues.
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
                error = %failure,
                "cannot pause a partition"
            );
        }
        tracing::info!(
            topic = self.topic,
            partition,
            "partition paused: its queue is full"
        );
    }

    /// Commits positions, and resumes paused partitions that have room.
    pub(super) fn commit_and_resume(
        &self,
        consumer: &BaseConsumer<Context>,
    ) -> Result<(), GroupError> {
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
                error = %failure,
                "cannot resume a partition"
            );
        }
        let partitions = super::numbers(partitions);
        tracing::info!(topic = self.topic, ?partitions, "partitions resumed");
    }

    /// The last commit failed: it is repeated.
    pub(super) fn forget_commits(&self, partitions: &[i32]) {
        let mut held = self.held();
        for partition in partitions {
            if let Some(held) = held.get_mut(partition) {
                held.committed = NONE;
            }
        }
    }

    /// Reports the lag of each partition.
    pub(super) fn report_lag(&self, statistics: &Statistics) {
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
        held: impl Iterator<Item = (i32, &'a mut PartitionQueue)>,
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
                error = %failure,
                "cannot commit offsets"
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
                    error = %failure,
                    offset,
                    "an offset cannot be committed"
                );
            }
        }
        list
    }
}

//! A member of a consumer group: reads its partitions of one topic and commits the offsets that the workers report. It does
//! not know what the records mean.
//!
//! A thread always polls, so that the membership continues while workers are slow. It passes each record to the worker
//! of its partition through a bounded queue; if the queue is full, it waits briefly and then pauses the partition. If
//! the group revokes a partition, its worker gets time to finish; then the last offset is committed, while the member
//! still owns the partition. It commits no offset of other partitions; the broker would refuse it by the generation.
//!
//! The assignment is `cooperative-sticky`: if a member joins or leaves, only the partitions that move are interrupted,
//! and a rolling restart moves few.

mod owned_partition;
mod owned_partitions;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, ClientContext, Statistics, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use self::owned_partition::OwnedPartition;
use self::owned_partitions::OwnedPartitions;
use super::{Kafka, Traced};
use crate::parts::broker::Delivered;

/// Longest wait for a record, and the interval at which offsets are committed and queues are checked.
const POLL: Duration = Duration::from_millis(50);
const UPKEEP: Duration = Duration::from_millis(100);
/// Interval between updates of the lag.
const STATISTICS_MS: &str = "1000";
/// How late a member notices that a topic has more partitions. The client's default is five minutes.
const METADATA_MS: &str = "10000";
/// Time limit at the end for the work on records that were handed over, and the commit of their offsets.
const END_MAX: Duration = Duration::from_secs(8);
/// Time limit for leaving the group after that. It is short, because all work is done: the partitions of a member that did
/// not leave only wait longer for the next one, until its session times out.
const LEAVE_MAX: Duration = Duration::from_secs(2);
/// Limits of the data that librdkafka prefetches from a partition.
const READ_AHEAD_RECORDS: &str = "5000";
const READ_AHEAD_KB: &str = "8192";

/// The group, and its topic.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// Name of the group.
    pub group: String,
    /// Its topic.
    pub topic: String,
    /// A member that sends no heartbeat for this long loses its partitions.
    pub session_timeout: Duration,
    /// Maximum number of records of a partition that wait for its worker.
    pub queue_records_max: usize,
}

type Begin = dyn Fn(OwnedPartition) + Send + Sync;
type Lag = dyn Fn(i32, Option<u64>) + Send + Sync;

/// Callbacks of a membership.
#[derive(Clone)]
pub struct Hooks {
    /// The member owns this partition from now on: starts its worker. Must not block.
    pub begin: Arc<Begin>,
    /// The unfinished records of a partition; none: the member does not own it any more.
    pub lag: Arc<Lag>,
}

/// Why a membership ended.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// librdkafka cannot go on.
    #[error("read as a member of group {group}")]
    Refused {
        /// The group.
        group: String,
        /// Why.
        #[source]
        source: KafkaError,
    },
    /// The worker of a partition has ended.
    #[error("work on partition {0}: its task ended")]
    Abandoned(i32),
    /// The polling thread could not start, ended unexpectedly, or does not end.
    #[error("read as a member of group {0}: the reader stopped")]
    Broken(String),
}

impl Kafka {
    /// Runs a member of a group until `stop`.
    pub async fn consume(
        &self,
        config: GroupConfig,
        hooks: Hooks,
        stop: &CancellationToken,
    ) -> Result<(), GroupError> {
        let mut client = self.config.client();
        let session_ms = config.session_timeout.as_millis();
        client
            .set("group.id", &config.group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session_ms.to_string())
            .set("heartbeat.interval.ms", (session_ms / 4).to_string())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("queued.min.messages", READ_AHEAD_RECORDS)
            .set("queued.max.messages.kbytes", READ_AHEAD_KB)
            .set("topic.metadata.refresh.interval.ms", METADATA_MS)
            .set("statistics.interval.ms", STATISTICS_MS);
        let broken = || GroupError::Broken(config.group.clone());
        // The thread also stops if this future is dropped.
        let over = stop.child_token();
        let _over = over.clone().drop_guard();
        let (ends, mut ended) = oneshot::channel();
        let (leaves, left) = oneshot::channel();
        let member = Member {
            owned: OwnedPartitions::new(&config, hooks, Handle::current()),
            config: config.clone(),
            stop: over,
        };
        // A separate thread that is never joined, because leaving a group can hang.
        let started = thread::Builder::new()
            .name("kafka.group".to_owned())
            .spawn(move || member.run(&client, ends, leaves));
        started.map_err(|_| broken())?;
        let ended = tokio::select! {
            ended = &mut ended => Some(ended),
            () = stop.cancelled() => tokio::time::timeout(END_MAX, ended).await.ok(),
        };
        let Some(ended) = ended else {
            tracing::warn!(
                consumer.group = config.group,
                "stopped before the offsets were committed; the next owner of the partitions reads some records again"
            );
            return Ok(());
        };
        // The sender is dropped once the member has left.
        if tokio::time::timeout(LEAVE_MAX, left).await.is_err() {
            tracing::warn!(
                consumer.group = config.group,
                "left the group without waiting for the broker"
            );
        }
        ended.unwrap_or_else(|_| Err(broken()))
    }
}

/// How a membership ended.
type Ends = oneshot::Sender<Result<(), GroupError>>;

/// One membership, on its thread.
struct Member {
    config: GroupConfig,
    owned: Arc<OwnedPartitions>,
    stop: CancellationToken,
}

impl Member {
    fn run(self, client: &ClientConfig, ends: Ends, leaves: oneshot::Sender<()>) {
        let context = Context(Arc::clone(&self.owned));
        let consumer = client.create_with_context::<_, BaseConsumer<Context>>(context);
        let consumer = match consumer {
            Ok(consumer) => consumer,
            Err(failure) => return drop(ends.send(Err(self.refused(failure)))),
        };
        let ended = self.read(&consumer);
        self.owned.finish_all(&consumer);
        drop(ends.send(ended));
        // Leaves the group, so that others need not wait for the session timeout.
        drop(consumer);
        drop(leaves);
    }

    fn read(&self, consumer: &BaseConsumer<Context>) -> Result<(), GroupError> {
        consumer
            .subscribe(&[&self.config.topic])
            .map_err(|failure| self.refused(failure))?;
        let mut kept_up = Instant::now();
        while !self.stop.is_cancelled() {
            if kept_up.elapsed() >= UPKEEP {
                self.owned.commit_and_resume(consumer)?;
                kept_up = Instant::now();
            }
            match consumer.poll(POLL) {
                None => {}
                Some(Ok(record)) => self.owned.hand_over(consumer, delivered(&record)),
                Some(Err(failure)) if is_fatal(&failure) => return Err(self.refused(failure)),
                Some(Err(failure)) => {
                    tracing::warn!(
                        consumer.group = self.config.group,
                        error = %failure,
                        "the group cannot read for now"
                    );
                }
            }
        }
        Ok(())
    }

    fn refused(&self, source: KafkaError) -> GroupError {
        GroupError::Refused {
            group: self.config.group.clone(),
            source,
        }
    }
}

/// Whether librdkafka does not recover from this error.
fn is_fatal(failure: &KafkaError) -> bool {
    matches!(failure, KafkaError::MessageConsumptionFatal(_))
        || failure.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal)
}

/// The callbacks of librdkafka, on the polling thread.
struct Context(Arc<OwnedPartitions>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        Traced.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Traced.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.0.report_lag(&statistics);
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            self.0.finish(consumer, &numbers(partitions));
        }
    }

    fn post_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => self.0.begin(&numbers(partitions)),
            Rebalance::Revoke(_) => {}
            Rebalance::Error(failure) => {
                tracing::warn!(
                    error = %failure,
                    "rebalancing the group failed"
                );
            }
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        if let Err(failure) = result {
            tracing::debug!(
                error = %failure,
                "offsets not committed"
            );
            self.0.forget_commits(&numbers(offsets));
        }
    }
}

fn numbers(partitions: &TopicPartitionList) -> Vec<i32> {
    let elements = partitions.elements();
    elements
        .iter()
        .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
        .collect()
}

fn delivered(record: &BorrowedMessage<'_>) -> Delivered {
    let headers = record.headers().map_or_else(Vec::new, |headers| {
        headers
            .iter()
            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            .collect()
    });
    Delivered {
        partition: record.partition(),
        offset: record.offset(),
        key: record.key().map(<[u8]>::to_vec),
        payload: record.payload().map(<[u8]>::to_vec),
        headers,
    }
}

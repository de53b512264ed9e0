//! A member of a consumer group: reads the partitions of one topic that the group gives it, and commits
//! offsets as those who work on the records say. Knows nothing of what the records mean.
//!
//! A thread polls, always, so that the membership lives while the work waits. It hands each record to
//! whoever works on its partition, through a bounded queue; when that is full it waits a moment, and then
//! pauses the partition. A partition that the group revokes first gets time to finish
//! what is under way; then its last offset is committed, while the partition is still ours. An offset is
//! never committed for a partition that is not: the broker would refuse it, too, by the generation.
//!
//! Partitions are given out by `cooperative-sticky`: when a member comes or goes, only the partitions that
//! move are interrupted, and a rolling restart moves few.

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

/// How long one wait for records lasts, and how often offsets are committed and queues looked at.
const POLL: Duration = Duration::from_millis(50);
const UPKEEP: Duration = Duration::from_millis(100);
/// How often the lag is known anew.
const STATISTICS_MS: &str = "1000";
/// How long leaving may take after the last offsets were committed.
const LEAVE_MAX: Duration = Duration::from_secs(10);
/// What librdkafka reads ahead of a partition.
const READ_AHEAD_RECORDS: &str = "5000";
const READ_AHEAD_KB: &str = "8192";

/// Which group, of which topic.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// Name of the group.
    pub group: String,
    /// What it reads.
    pub topic: String,
    /// For how long a member may say nothing before its partitions are given to others.
    pub session_timeout: Duration,
    /// Records of a partition that wait to be worked on, at most.
    pub queue_records_max: usize,
}

type Begin = dyn Fn(OwnedPartition) + Send + Sync;
type Lag = dyn Fn(i32, Option<u64>) + Send + Sync;

/// Who is told.
#[derive(Clone)]
pub struct Hooks {
    /// A partition is ours from now on: starts what works on it. Must not block.
    pub begin: Arc<Begin>,
    /// So many records of a partition are not worked on yet; none: it is not ours any more.
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
    /// Who worked on a partition is gone.
    #[error("work on partition {0}: its task ended")]
    Abandoned(i32),
    /// The polling thread could not start, or broke off, or does not end.
    #[error("read as a member of group {0}: the reader stopped")]
    Broken(String),
}

impl Kafka {
    /// Is a member of a group until told to stop.
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
            .set("statistics.interval.ms", STATISTICS_MS);
        let broken = || GroupError::Broken(config.group.clone());
        // Stops, too, when nobody waits for the end any more.
        let over = stop.child_token();
        let _over = over.clone().drop_guard();
        let (answer, mut answered) = oneshot::channel();
        let member = Member {
            owned: OwnedPartitions::new(&config, hooks, Handle::current()),
            config: config.clone(),
            stop: over,
        };
        // A thread of its own that nobody joins: leaving a group can hang.
        let started = thread::Builder::new()
            .name("kafka.group".to_owned())
            .spawn(move || member.run(&client, answer));
        started.map_err(|_| broken())?;
        tokio::select! {
            ended = &mut answered => return ended.unwrap_or_else(|_| Err(broken())),
            () = stop.cancelled() => {}
        }
        if let Ok(ended) = tokio::time::timeout(LEAVE_MAX, answered).await {
            return ended.unwrap_or_else(|_| Err(broken()));
        }
        // The group finds out when the session ends.
        tracing::warn!(consumer.group = config.group, "left without a word");
        Ok(())
    }
}

/// One membership, on its thread.
struct Member {
    config: GroupConfig,
    owned: Arc<OwnedPartitions>,
    stop: CancellationToken,
}

impl Member {
    fn run(self, client: &ClientConfig, answer: oneshot::Sender<Result<(), GroupError>>) {
        let context = Context(Arc::clone(&self.owned));
        let consumer = client.create_with_context::<_, BaseConsumer<Context>>(context);
        let consumer = match consumer {
            Ok(consumer) => consumer,
            Err(failure) => return drop(answer.send(Err(self.refused(failure)))),
        };
        let ended = self.read(&consumer);
        self.owned.finish_all(&consumer);
        // Leaves the group, so that others need not wait for the end of the session.
        drop(consumer);
        drop(answer.send(ended));
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
                        error = &failure as &dyn std::error::Error,
                        "the group waits"
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

/// Whether librdkafka does not go on by itself.
fn is_fatal(failure: &KafkaError) -> bool {
    matches!(failure, KafkaError::MessageConsumptionFatal(_))
        || failure.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal)
}

/// What librdkafka calls back, on the polling thread.
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
                    error = failure as &dyn std::error::Error,
                    "the group could not be put in order"
                );
            }
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        if let Err(failure) = result {
            tracing::debug!(
                error = &failure as &dyn std::error::Error,
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

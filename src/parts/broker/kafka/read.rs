//! Reads a topic once, from its beginning to its end at the start of the read. Joins no consumer group and commits
//! nothing.

mod error;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use tokio::sync::oneshot;

pub use self::error::ReadError;
use super::questions::Patience;
use super::{Kafka, Traced, classify};
use crate::parts::broker::{Consumed, PublishError};

/// Longest wait for a record; then the deadline is checked.
const POLL: Duration = Duration::from_millis(100);
/// How long the answer may take after the deadline.
const GRACE: Duration = Duration::from_secs(5);
/// The data that librdkafka prefetches, in all partitions together.
const READ_AHEAD_KB: u32 = 32 * 1024;

/// The offsets of a partition: existing, or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Partition.
    pub partition: i32,
    /// First offset; above 0 if the beginning was deleted.
    pub from: i64,
    /// Offset after the last record.
    pub to: i64,
}

impl Extent {
    /// The extent of a partition now, from its leader.
    pub(super) fn of<C: ClientContext>(
        client: &Client<C>,
        topic: &str,
        partition: i32,
        timeout: Duration,
    ) -> KafkaResult<Self> {
        let (from, to) = client.fetch_watermarks(topic, partition, timeout)?;
        Ok(Self {
            partition,
            from,
            to,
        })
    }
}

impl Kafka {
    /// Passes every record of `topic` to `feed`, in order within a partition. Returns `into` and the extents that
    /// were read. It ends at the ends that the partitions had at the start, or fails after `within`.
    pub async fn read_topic<T: Send + 'static>(
        &self,
        topic: &str,
        within: Duration,
        into: T,
        feed: fn(&mut T, &Consumed<'_>),
    ) -> Result<(T, Vec<Extent>), ReadError> {
        let mut client = self.config.client();
        client
            // librdkafka requires it for assigned partitions; no group is joined.
            .set("group.id", format!("{}-reader", self.config.client_id))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            // Our records are never transactional, and an open transaction of another producer would hide them.
            .set("isolation.level", "read_uncommitted")
            .set("queued.max.messages.kbytes", READ_AHEAD_KB.to_string());
        let reading = Reading {
            topic: topic.to_owned(),
            began: Instant::now(),
            within,
            metadata_timeout: self.config.metadata_timeout,
        };
        let (answer, answered) = oneshot::channel();
        // A separate thread that is never joined, because closing a consumer can hang, and a blocking task of the
        // runtime would delay the end of the process. The result is returned before the closing.
        let started = thread::Builder::new()
            .name("kafka.read".to_owned())
            .spawn(move || reading.run(&client, into, feed, answer));
        let broken = || ReadError::Broken(topic.to_owned());
        started.map_err(|_| broken())?;
        match tokio::time::timeout(within + GRACE, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(broken()),
        }
    }
}

impl ConsumerContext for Traced {}

type Answer<T> = oneshot::Sender<Result<(T, Vec<Extent>), ReadError>>;

/// One read of a topic, on its thread.
struct Reading {
    topic: String,
    began: Instant,
    within: Duration,
    metadata_timeout: Duration,
}

impl Reading {
    fn run<T>(
        self,
        client: &ClientConfig,
        mut into: T,
        feed: fn(&mut T, &Consumed<'_>),
        answer: Answer<T>,
    ) {
        let consumer = client.create_with_context::<_, BaseConsumer<Traced>>(Traced);
        let consumer = match consumer.map_err(|source| self.refused(source)) {
            Ok(consumer) => consumer,
            Err(failure) => return drop(answer.send(Err(failure))),
        };
        let read = self.read(&consumer, &mut |record| feed(&mut into, record));
        drop(answer.send(read.map(|extents| (into, extents))));
    }

    fn read(
        &self,
        consumer: &BaseConsumer<Traced>,
        feed: &mut dyn FnMut(&Consumed<'_>),
    ) -> Result<Vec<Extent>, ReadError> {
        let extents = self.extents(consumer)?;
        let mut open: BTreeMap<i32, Extent> = extents
            .iter()
            .filter(|extent| extent.from < extent.to)
            .map(|extent| (extent.partition, *extent))
            .collect();
        self.assign(consumer, &open)?;
        let mut cause = String::new();
        while !open.is_empty() {
            if self.began.elapsed() >= self.within {
                return Err(self.late(&open, cause));
            }
            match consumer.poll(POLL) {
                None => {}
                Some(Ok(record)) => {
                    // Records written after the start are not part of the read.
                    if let Some(extent) = open.get_mut(&record.partition())
                        && record.offset() < extent.to
                    {
                        feed(&consumed(&record));
                        extent.from = record.offset() + 1;
                        self.close_if_done(consumer, record.partition(), &mut open)?;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                }
                Some(Err(failure)) if is_passing(&failure) => cause = format!("; {failure}"),
                Some(Err(failure)) => return Err(self.refused(failure)),
            }
        }
        Ok(extents)
    }

    /// The extents to read. They are read before the first record, so that all of their records exist.
    fn extents(&self, consumer: &BaseConsumer<Traced>) -> Result<Vec<Extent>, ReadError> {
        let until = self.began + self.within.min(Patience::MAX);
        let patience = Patience::new(until, self.metadata_timeout);
        let partitions = patience.partitions(consumer, &self.topic);
        let partitions = partitions.map_err(|failure| self.refused(failure))?;
        let mut extents = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let extent = patience.ask(|answer_max| {
                Extent::of(consumer.client(), &self.topic, partition, answer_max)
            });
            extents.push(extent.map_err(|failure| self.refused(failure))?);
        }
        Ok(extents)
    }

    fn assign(
        &self,
        consumer: &BaseConsumer<Traced>,
        open: &BTreeMap<i32, Extent>,
    ) -> Result<(), ReadError> {
        let mut list = TopicPartitionList::with_capacity(open.len());
        for extent in open.values() {
            list.add_partition_offset(&self.topic, extent.partition, Offset::Offset(extent.from))
                .map_err(|failure| self.refused(failure))?;
        }
        consumer
            .assign(&list)
            .map_err(|failure| self.refused(failure))
    }

    /// Removes a completely read partition from the list, and stops fetching it.
    fn close_if_done(
        &self,
        consumer: &BaseConsumer<Traced>,
        partition: i32,
        open: &mut BTreeMap<i32, Extent>,
    ) -> Result<(), ReadError> {
        if open
            .get(&partition)
            .is_none_or(|extent| extent.from < extent.to)
        {
            return Ok(());
        }
        open.remove(&partition);
        let mut done = TopicPartitionList::with_capacity(1);
        done.add_partition(&self.topic, partition);
        consumer
            .pause(&done)
            .map_err(|failure| self.refused(failure))
    }

    fn refused(&self, source: KafkaError) -> ReadError {
        let topic = self.topic.clone();
        match source.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
                ReadError::Missing(topic)
            }
            _ => ReadError::Refused { topic, source },
        }
    }

    fn late(&self, open: &BTreeMap<i32, Extent>, cause: String) -> ReadError {
        let left: i64 = open.values().map(|extent| extent.to - extent.from).sum();
        ReadError::Late {
            topic: self.topic.clone(),
            seconds: self.within.as_secs(),
            left: left.unsigned_abs(),
            cause,
        }
    }
}

/// Whether librdkafka recovers from this failure; the deadline bounds the wait.
fn is_passing(failure: &KafkaError) -> bool {
    // The next records of the read were deleted meanwhile.
    let is_gone = failure.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset);
    !is_gone
        && matches!(
            classify(failure),
            PublishError::Away(_)
                | PublishError::Partition(_)
                | PublishError::QueueFull
                | PublishError::PossiblyDelivered(_)
        )
}

fn consumed<'a>(record: &'a BorrowedMessage<'_>) -> Consumed<'a> {
    let headers = record.headers().map_or_else(Vec::new, |headers| {
        let values = headers.iter();
        values
            .filter_map(|header| Some((header.key, header.value?)))
            .collect()
    });
    Consumed {
        partition: record.partition(),
        offset: record.offset(),
        key: record.key(),
        payload: record.payload(),
        headers,
    }
}

//! Sets the offsets of a consumer group back to a moment. The group must have no member: a broker does not accept
//! offsets from outside of a group that is in use.

use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;

use super::{Kafka, Traced};
use crate::domain::Timestamp;

/// Longest wait for all answers of one group.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Why a group was not rewound.
#[derive(Debug, thiserror::Error)]
pub enum RewindError {
    /// Kafka refused.
    #[error("read or set the offsets of group {group} (no member may run)")]
    Refused {
        /// The group.
        group: String,
        /// Why.
        #[source]
        source: KafkaError,
    },
    /// No answer, or the thread ended unexpectedly.
    #[error("set the offsets of group {0} back: no answer")]
    Broken(String),
}

impl Kafka {
    /// The number of members of a group.
    pub async fn members(&self, group: &str) -> Result<usize, RewindError> {
        self.with_group(group, |consumer, group, timeout| {
            let groups = consumer.fetch_group_list(Some(group), timeout)?;
            let members = groups.groups().iter().map(|one| one.members().len());
            Ok(members.sum())
        })
        .await
    }

    /// Sets the group's offsets in a topic back to the first records that were written at this moment or later. An
    /// earlier or absent offset stays. Returns the number of partitions that were set back.
    pub async fn rewind(
        &self,
        group: &str,
        topic: &str,
        to: Timestamp,
    ) -> Result<usize, RewindError> {
        let topic = topic.to_owned();
        self.with_group(group, move |consumer, _, timeout| {
            rewind(consumer, &topic, to.timestamp_millis(), timeout)
        })
        .await
    }

    /// Calls librdkafka on a separate thread that is never joined, because closing a consumer can hang.
    async fn with_group<T: Send + 'static>(
        &self,
        group: &str,
        work: impl FnOnce(&BaseConsumer<Traced>, &str, Duration) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, RewindError> {
        let mut client = self.config.client();
        client
            .set("group.id", group)
            .set("enable.auto.commit", "false");
        let timeout = self.config.metadata_timeout;
        let name = group.to_owned();
        let (answer, answered) = oneshot::channel();
        let run = move || {
            let consumer = client.create_with_context::<_, BaseConsumer<Traced>>(Traced);
            let done = consumer
                .and_then(|consumer| work(&consumer, &name, timeout).map(|done| (done, consumer)));
            // The answer precedes the closing.
            match done {
                Ok((done, consumer)) => {
                    drop(answer.send(Ok(done)));
                    drop(consumer);
                }
                Err(failure) => drop(answer.send(Err(failure))),
            }
        };
        let broken = || RewindError::Broken(group.to_owned());
        let thread = thread::Builder::new().name("kafka.rewind".to_owned());
        thread.spawn(run).map_err(|_| broken())?;
        match tokio::time::timeout(ANSWER_MAX, answered).await {
            Ok(Ok(done)) => done.map_err(|source| RewindError::Refused {
                group: group.to_owned(),
                source,
            }),
            Ok(Err(_)) | Err(_) => Err(broken()),
        }
    }
}

fn rewind(
    consumer: &BaseConsumer<Traced>,
    topic: &str,
    to_ms: i64,
    timeout: Duration,
) -> KafkaResult<usize> {
    let metadata = consumer.fetch_metadata(Some(topic), timeout)?;
    let partitions: Vec<i32> = metadata
        .topics()
        .iter()
        .flat_map(MetadataTopic::partitions)
        .map(MetadataPartition::id)
        .collect();
    let mut named = TopicPartitionList::new();
    let mut at = TopicPartitionList::new();
    for partition in partitions {
        named.add_partition(topic, partition);
        at.add_partition_offset(topic, partition, Offset::Offset(to_ms))?;
    }
    let committed = consumer.committed_offsets(named, timeout)?;
    let found = consumer.offsets_for_times(at, timeout)?;
    let mut back = TopicPartitionList::new();
    for one in found.elements() {
        let at_moment = one.offset().to_raw();
        let now = committed.find_partition(topic, one.partition());
        let now = now.and_then(|now| now.offset().to_raw());
        // Without a record since that moment there is nothing to read again.
        if let (Some(at_moment), Some(now)) = (at_moment, now)
            && (0..now).contains(&at_moment)
        {
            back.add_partition_offset(topic, one.partition(), Offset::Offset(at_moment))?;
        }
    }
    if back.count() > 0 {
        consumer.commit(&back, CommitMode::Sync)?;
    }
    Ok(back.count())
}

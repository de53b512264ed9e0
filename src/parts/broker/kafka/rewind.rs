//! Sets the offsets of a consumer group back to a moment. The group must have no member: a broker does not accept
//! offsets from outside of a group that is in use.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};

use super::{Kafka, Traced};
use crate::domain::Timestamp;
use crate::parts::broker::PublishError;

/// Why a group was not rewound.
#[derive(Debug, thiserror::Error)]
pub enum RewindError {
    /// Kafka refused.
    #[error("set the offsets of group {group} back (no member may run)")]
    Refused {
        /// The group.
        group: String,
        /// Why.
        #[source]
        source: KafkaError,
    },
    /// The topic cannot be used.
    #[error("find the partitions of a topic")]
    Topic(#[from] PublishError),
    /// The thread ended unexpectedly.
    #[error("set the offsets of group {0} back: the thread ended")]
    Broken(String),
}

impl Kafka {
    /// Sets the group's offsets in a topic back to the first records that were written at this moment or later. An
    /// earlier or absent offset stays. Returns the number of partitions that were set back.
    pub async fn rewind(
        &self,
        group: &str,
        topic: &str,
        to: Timestamp,
    ) -> Result<usize, RewindError> {
        let mut client = self.config.client();
        client
            .set("group.id", group)
            .set("enable.auto.commit", "false");
        let timeout = self.config.metadata_timeout;
        let (group, topic) = (group.to_owned(), topic.to_owned());
        let refused = {
            let group = group.clone();
            |source| RewindError::Refused { group, source }
        };
        let work = move || {
            let consumer: BaseConsumer<Traced> = client.create_with_context(Traced)?;
            rewind(&consumer, &topic, to.timestamp_millis(), timeout)
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|_| RewindError::Broken(group))?
            .map_err(refused)
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
        .flat_map(|topic| topic.partitions())
        .map(|partition| partition.id())
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

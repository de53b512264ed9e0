//! Sets the offsets of a consumer group back to a moment. The group must have no member: a broker does not accept
//! offsets from outside of a group that is in use.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;

use super::questions::Patience;
use super::{Kafka, Traced};
use crate::domain::Timestamp;

/// Longest wait for all answers of one group: its questions, and librdkafka's own minute for a commit.
const ANSWER_MAX: Duration = Duration::from_secs(120);

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
    /// The number of members of a group. If its coordinator does not answer, other brokers' answers can make it 0;
    /// [`Kafka::rewind`] does not have this weakness.
    pub async fn members(&self, group: &str) -> Result<usize, RewindError> {
        self.with_group(group, |consumer, group, patience| {
            let groups = patience.ask(|max| consumer.fetch_group_list(Some(group), max))?;
            let members = groups.groups().iter().map(|one| one.members().len());
            Ok(members.sum())
        })
        .await
    }

    /// Sets the group's offsets in a topic back to the first records that were written at this moment or later. An
    /// earlier or absent offset stays. Fails if the group has members, unless it has no offset in the topic. Returns
    /// the number of partitions that were set back.
    pub async fn rewind(
        &self,
        group: &str,
        topic: &str,
        to: Timestamp,
    ) -> Result<usize, RewindError> {
        let topic = topic.to_owned();
        self.with_group(group, move |consumer, _, patience| {
            rewind(consumer, &topic, to.timestamp_millis(), patience)
        })
        .await
    }

    /// Calls librdkafka on a separate thread that is never joined, because closing a consumer can hang.
    async fn with_group<T: Send + 'static>(
        &self,
        group: &str,
        work: impl FnOnce(&BaseConsumer<Traced>, &str, &Patience) -> KafkaResult<T> + Send + 'static,
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
            let patience = Patience::new(Instant::now() + Patience::MAX, timeout);
            let done = consumer.and_then(|consumer| {
                work(&consumer, &name, &patience).map(|done| (done, consumer))
            });
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
    patience: &Patience,
) -> KafkaResult<usize> {
    let mut named = TopicPartitionList::new();
    let mut at = TopicPartitionList::new();
    for partition in patience.partitions(consumer, topic)? {
        named.add_partition(topic, partition);
        at.add_partition_offset(topic, partition, Offset::Offset(to_ms))?;
    }
    let committed =
        patience.ask(|max| complete(consumer.committed_offsets(named.clone(), max)?))?;
    let found = patience.ask(|max| complete(consumer.offsets_for_times(at.clone(), max)?))?;
    // Not one that stands for "none" or "the end".
    let real = |offset: Offset| offset.to_raw().filter(|raw| *raw >= 0);
    let mut kept = TopicPartitionList::new();
    let mut set_back = 0;
    for one in found.elements() {
        let now = committed.find_partition(topic, one.partition());
        let Some(now) = now.and_then(|now| real(now.offset())) else {
            continue;
        };
        // Without a record since that moment there is nothing to read again.
        let at_moment = real(one.offset()).unwrap_or(now);
        set_back += usize::from(at_moment < now);
        let offset = Offset::Offset(at_moment.min(now));
        kept.add_partition_offset(topic, one.partition(), offset)?;
    }
    // Also if all of them are as before: it is refused while the group has a member.
    if kept.count() > 0 {
        consumer.commit(&kept, CommitMode::Sync)?;
    }
    Ok(set_back)
}

/// The answer, unless it lacks a partition, for example one without a leader: it would silently not be set back.
fn complete(answer: TopicPartitionList) -> KafkaResult<TopicPartitionList> {
    for one in answer.elements() {
        one.error()?;
    }
    Ok(answer)
}

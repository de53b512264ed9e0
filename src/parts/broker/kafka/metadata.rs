//! Metadata of topics, and whether a partition accepts records. librdkafka answers on the calling thread, so every
//! query runs on a blocking thread and has a time limit.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::MetadataPartition;

use super::producers::Current;
use super::read::Extent;
use super::sender::Sender;
use super::topic_error::TopicError;
use super::topics::is_an_answer;
use super::writability::{CachedCheck, Shortage, Writability};
use super::{Kafka, classify};
use crate::parts::broker::PublishError;

/// A partition with fewer in-sync replicas than replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lagging {
    partition: i32,
    in_sync: usize,
    replicas: usize,
}

impl Lagging {
    fn of(partition: &MetadataPartition) -> Option<Self> {
        let (in_sync, replicas) = (partition.isr().len(), partition.replicas().len());
        (in_sync < replicas).then_some(Self {
            partition: partition.id(),
            in_sync,
            replicas,
        })
    }

    /// The shortage, if the topic requires `in_sync_min` replicas; at most as many as the partition has.
    fn shortage(self, in_sync_min: usize) -> Option<Shortage> {
        let minimum = in_sync_min.min(self.replicas);
        (self.in_sync < minimum).then_some(Shortage::TooFewInSync {
            partition: self.partition,
            in_sync: self.in_sync,
            minimum,
        })
    }
}

/// A topic in the cluster's metadata.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    error: Option<RDKafkaErrorCode>,
    partitions: u32,
    leaderless: Vec<i32>,
}

impl Topic {
    fn partitions(&self) -> Result<u32, TopicError> {
        match self.error {
            Some(code) => Err(TopicError::of(&self.name, code)),
            None => Ok(self.partitions),
        }
    }

    /// Whether `partition` accepts records, or all partitions if it is unknown which one, according to this metadata.
    fn writability(&self, partition: Option<i32>) -> Writability {
        match self.error {
            Some(RDKafkaErrorCode::LeaderNotAvailable) => {
                Writability::NotWritable(Shortage::NoLeaders)
            }
            Some(code) => Writability::Refused(code),
            None => {
                let mut leaderless = self.leaderless.iter();
                let found = leaderless.find(|one| partition.is_none_or(|it| it == **one));
                found.map_or(Writability::Writable, |one| {
                    Writability::NotWritable(Shortage::NoLeader(*one))
                })
            }
        }
    }
}

impl Kafka {
    /// The number of partitions of a topic, or why it cannot be used.
    pub async fn find_topic(&self, topic: &str) -> Result<u32, TopicError> {
        let found = self.metadata(Some(topic)).await?;
        let Some(found) = found.first() else {
            return Err(TopicError::Missing(format!("{topic} is missing")));
        };
        let partitions = found.partitions()?;
        self.producers.know(topic, partitions);
        Ok(partitions)
    }

    /// The metadata of one topic, or of all topics.
    pub(super) async fn metadata(&self, topic: Option<&str>) -> Result<Vec<Topic>, PublishError> {
        let topic = topic.map(str::to_owned);
        self.ask(self.any()?, move |sender, within| {
            let metadata = sender.client().fetch_metadata(topic.as_deref(), within)?;
            Ok(metadata.topics().iter().map(describe).collect())
        })
        .await
    }

    /// Any producer, for queries.
    pub(super) fn any(&self) -> Result<Sender, PublishError> {
        let none = || PublishError::Fatal("there is no producer".to_owned());
        self.producers.any().ok_or_else(none)
    }

    /// Queries the cluster on a blocking thread, within the time limit that is passed to `question`.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        sender: Sender,
        question: impl FnOnce(&Sender, Duration) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, PublishError> {
        let timeout = self.config.metadata_timeout;
        match tokio::task::spawn_blocking(move || question(&sender, timeout)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(failure)) => Err(match classify(&failure) {
                // A query without an answer changed nothing, so the broker is simply away.
                PublishError::PossiblyDelivered(text) => PublishError::Away(text),
                other => other,
            }),
            Err(failure) => Err(PublishError::Away(failure.to_string())),
        }
    }

    /// Whether this producer can write to `topic`, and to this partition of it; another producer's connections may
    /// work while its own connections hang. Concurrent callers share one check.
    pub(super) async fn writability(
        &self,
        current: &Current,
        topic: &str,
        partition: Option<i32>,
    ) -> Writability {
        let mut known = current.cached_checks.lock().await;
        known.retain(CachedCheck::is_fresh);
        if let Some(known) = known.iter().find(|known| known.serves(topic, partition)) {
            return known.writability;
        }
        let PartitionCheck {
            writability,
            silent,
            ..
        } = self
            .check_partition(&current.sender, topic, partition)
            .await;
        if matches!(writability, Writability::NotWritable(_)) {
            self.progress.mark_failing(topic, partition);
        }
        known.push(CachedCheck {
            at: Instant::now(),
            topic: topic.to_owned(),
            partition,
            writability,
            silent,
        });
        writability
    }

    async fn check_partition(
        &self,
        sender: &Sender,
        topic: &str,
        partition: Option<i32>,
    ) -> PartitionCheck {
        let name = topic.to_owned();
        let question =
            move |sender: &Sender, within| check_partition(sender, &name, partition, within);
        let answer = self.ask(sender.clone(), question).await;
        let mut found = answer.unwrap_or(PartitionCheck::of(Writability::NoAnswer));
        if let (Writability::Writable, Some(lagging)) = (found.writability, found.lagging) {
            // Without permission to read the topic's settings, only timeouts show the shortage.
            let minimum = self.in_sync_min(topic).await;
            if let Some(shortage) = minimum.and_then(|minimum| lagging.shortage(minimum)) {
                found.writability = Writability::NotWritable(shortage);
            }
        }
        found
    }
}

/// The result of checking a partition.
struct PartitionCheck {
    writability: Writability,
    lagging: Option<Lagging>,
    /// The other partitions of a leader without an answer.
    silent: Vec<i32>,
}

impl PartitionCheck {
    const fn of(writability: Writability) -> Self {
        Self {
            writability,
            lagging: None,
            silent: Vec::new(),
        }
    }
}

/// Checks whether a partition has a leader that answers, and whether it lacks in-sync replicas.
fn check_partition(
    sender: &Sender,
    topic: &str,
    partition: Option<i32>,
    within: Duration,
) -> KafkaResult<PartitionCheck> {
    let began = Instant::now();
    let metadata = sender.client().fetch_metadata(Some(topic), within)?;
    let Some(found) = metadata.topics().first() else {
        return Ok(PartitionCheck::of(Writability::NoAnswer));
    };
    let writability = describe(found).writability(partition);
    let (Writability::Writable, Some(partition)) = (writability, partition) else {
        return Ok(PartitionCheck::of(writability));
    };
    let partitions = found.partitions();
    let it = partitions.iter().find(|one| one.id() == partition);
    let lagging = it.and_then(Lagging::of);
    // The metadata may come from another broker than the leader.
    let left = within.saturating_sub(began.elapsed());
    let extent = Extent::of(sender.client(), topic, partition, left);
    let is_silent = extent.is_err_and(|failure| !is_an_answer(&failure));
    let of_leader = partitions.iter().filter(|one| {
        is_silent && it.is_some_and(|it| one.id() != it.id() && one.leader() == it.leader())
    });
    Ok(PartitionCheck {
        writability: if is_silent {
            Writability::NotWritable(Shortage::SilentLeader(partition))
        } else {
            Writability::Writable
        },
        lagging,
        silent: of_leader.map(MetadataPartition::id).collect(),
    })
}

fn describe(topic: &rdkafka::metadata::MetadataTopic) -> Topic {
    let partitions = topic.partitions();
    let leaderless = partitions.iter().filter(|one| one.leader() < 0);
    Topic {
        name: topic.name().to_owned(),
        error: topic.error().map(RDKafkaErrorCode::from),
        partitions: u32::try_from(partitions.len()).unwrap_or(u32::MAX),
        leaderless: leaderless.map(MetadataPartition::id).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(error: Option<RDKafkaErrorCode>, leaderless: &[i32]) -> Topic {
        Topic {
            name: "a-topic".to_owned(),
            error,
            partitions: 3,
            leaderless: leaderless.to_vec(),
        }
    }

    #[test]
    fn a_partition_with_a_leader_is_available() {
        let short = |partition| Writability::NotWritable(Shortage::NoLeader(partition));
        assert_eq!(topic(None, &[]).writability(None), Writability::Writable);
        assert_eq!(
            topic(None, &[1]).writability(Some(0)),
            Writability::Writable
        );
        assert_eq!(topic(None, &[1]).writability(Some(1)), short(1));
        assert_eq!(topic(None, &[1]).writability(None), short(1));
        let electing = RDKafkaErrorCode::LeaderNotAvailable;
        let none = Writability::NotWritable(Shortage::NoLeaders);
        assert_eq!(topic(Some(electing), &[]).writability(Some(0)), none);
        let missing = RDKafkaErrorCode::UnknownTopicOrPartition;
        let refused = Writability::Refused(missing);
        assert_eq!(topic(Some(missing), &[]).writability(None), refused);
    }

    #[test]
    fn in_sync_replicas_are_compared_with_the_smaller_of_minimum_and_replicas() {
        let short = |in_sync, replicas, minimum| {
            let lagging = Lagging {
                partition: 0,
                in_sync,
                replicas,
            };
            lagging
                .shortage(minimum)
                .map(|shortage| shortage.to_string())
        };
        assert_eq!(short(2, 3, 2), None);
        let said = Some("partition 0 has 1 of 2 in-sync replicas".to_owned());
        assert_eq!(short(1, 3, 2), said);
        assert_eq!(short(1, 2, 5), said);
        assert_eq!(short(1, 2, 1), None);
    }
}

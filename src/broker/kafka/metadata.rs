//! What the cluster says of its topics. librdkafka answers on the calling thread, so every question
//! goes to a blocking one and has a bound.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaResult, RDKafkaErrorCode};

use super::sender::Sender;
use super::{Kafka, classify};
use crate::broker::PublishError;

/// For how long an answer to "is it there?" serves everybody who asks.
const SEEN_FOR: Duration = Duration::from_millis(500);

/// Whether a topic could be written to, as far as its metadata tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Every partition has a leader.
    There,
    /// There is nobody to answer, or a partition without a leader.
    Away,
    /// The cluster answers that this topic is not there, or not for us.
    Refused(RDKafkaErrorCode),
}

/// What was found out about a topic, and when.
#[derive(Debug)]
pub(super) struct Seen {
    at: Instant,
    topic: String,
    reach: Reach,
}

/// A topic as the cluster tells of it.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    error: Option<RDKafkaErrorCode>,
    leaders: u32,
    partitions: u32,
}

impl Topic {
    pub(super) fn partitions(&self) -> Result<u32, PublishError> {
        match self.error {
            Some(code) => Err(PublishError::Destination(format!("{}: {code}", self.name))),
            None => Ok(self.partitions),
        }
    }

    fn reach(&self) -> Reach {
        match self.error {
            Some(RDKafkaErrorCode::LeaderNotAvailable) => Reach::Away,
            Some(code) => Reach::Refused(code),
            None if self.leaders == self.partitions => Reach::There,
            None => Reach::Away,
        }
    }
}

impl Kafka {
    /// One topic, or all there are.
    pub(super) async fn metadata(&self, topic: Option<&str>) -> Result<Vec<Topic>, PublishError> {
        let topic = topic.map(str::to_owned);
        self.ask(move |sender, timeout| {
            let metadata = sender.client().fetch_metadata(topic.as_deref(), timeout)?;
            Ok(metadata.topics().iter().map(describe).collect())
        })
        .await
    }

    /// Puts a question to the cluster; whoever answers it keeps to the time there is.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Sender, Duration) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, PublishError> {
        let Some(sender) = self.producers.any() else {
            return Err(PublishError::Fatal("there is no producer".to_owned()));
        };
        let timeout = self.config.metadata_timeout;
        match tokio::task::spawn_blocking(move || question(&sender, timeout)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(failure)) => Err(match classify(&failure) {
                // A question left unanswered changed nothing: the broker is just away.
                PublishError::PossiblyDelivered(text) => PublishError::Away(text),
                other => other,
            }),
            Err(failure) => Err(PublishError::Away(failure.to_string())),
        }
    }

    /// Whether `topic` could be written to. Asked once for all who want to know at the same time.
    pub(super) async fn reach(&self, topic: &str) -> Reach {
        let mut seen = self.seen.lock().await;
        if let Some(seen) = &*seen
            && seen.topic == topic
            && seen.at.elapsed() < SEEN_FOR
        {
            return seen.reach;
        }
        let found = self.metadata(Some(topic)).await.unwrap_or_default();
        let reach = found.first().map_or(Reach::Away, Topic::reach);
        *seen = Some(Seen {
            at: Instant::now(),
            topic: topic.to_owned(),
            reach,
        });
        reach
    }
}

fn describe(topic: &rdkafka::metadata::MetadataTopic) -> Topic {
    let count = |found: usize| u32::try_from(found).unwrap_or(u32::MAX);
    let partitions = topic.partitions();
    Topic {
        name: topic.name().to_owned(),
        error: topic.error().map(RDKafkaErrorCode::from),
        leaders: count(partitions.iter().filter(|one| one.leader() >= 0).count()),
        partitions: count(partitions.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(error: Option<RDKafkaErrorCode>, leaders: u32) -> Topic {
        Topic {
            name: "a-topic".to_owned(),
            error,
            leaders,
            partitions: 3,
        }
    }

    #[test]
    fn a_topic_is_there_when_each_of_its_partitions_has_a_leader() {
        assert_eq!(topic(None, 3).reach(), Reach::There);
        assert_eq!(topic(None, 2).reach(), Reach::Away);
        let electing = RDKafkaErrorCode::LeaderNotAvailable;
        assert_eq!(topic(Some(electing), 0).reach(), Reach::Away);
        let missing = RDKafkaErrorCode::UnknownTopicOrPartition;
        assert_eq!(topic(Some(missing), 0).reach(), Reach::Refused(missing));
    }
}

//! What the cluster says of its topics. librdkafka answers on the calling thread, so every question
//! goes to a blocking one and has a bound.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaResult, RDKafkaErrorCode};

use super::producers::Current;
use super::read::Extent;
use super::sender::Sender;
use super::topics::is_an_answer;
use super::{Kafka, classify};
use crate::broker::PublishError;

/// For how long an answer to "is it there?" serves everybody who asks.
const SEEN_FOR: Duration = Duration::from_millis(500);

/// Whether a producer could write to a partition of a topic, as far as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Every partition has a leader, and that of this one answers.
    There,
    /// There is nobody to answer, or a partition without a leader, or its leader is silent.
    Away,
    /// The cluster answers that this topic is not there, or not for us.
    Refused(RDKafkaErrorCode),
}

/// What a producer found out about a topic, and when.
#[derive(Debug)]
pub(super) struct Seen {
    at: Instant,
    topic: String,
    partition: Option<i32>,
    reach: Reach,
}

impl Seen {
    /// Whether it answers for this partition, too. A silence does for all of them: it costs nobody an attempt,
    /// and asking each of them would take as long again.
    fn serves(&self, topic: &str, partition: Option<i32>) -> bool {
        let is_of_it = self.partition == partition || self.reach == Reach::Away;
        self.topic == topic && is_of_it && self.at.elapsed() < SEEN_FOR
    }
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
        self.ask(self.any()?, move |sender, within| {
            let metadata = sender.client().fetch_metadata(topic.as_deref(), within)?;
            Ok(metadata.topics().iter().map(describe).collect())
        })
        .await
    }

    /// A producer for questions that any of them can put.
    pub(super) fn any(&self) -> Result<Sender, PublishError> {
        let none = || PublishError::Fatal("there is no producer".to_owned());
        self.producers.any().ok_or_else(none)
    }

    /// Puts a question to the cluster; whoever answers it keeps to the time there is.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        sender: Sender,
        question: impl FnOnce(&Sender, Duration) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, PublishError> {
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

    /// Whether this producer could write to `topic`, and to this partition of it: the connections of another
    /// may work while its own hang. Asked once for all who want to know at the same time.
    pub(super) async fn reach(
        &self,
        current: &Current,
        topic: &str,
        partition: Option<i32>,
    ) -> Reach {
        let mut seen = current.seen.lock().await;
        if let Some(seen) = seen.as_ref().filter(|seen| seen.serves(topic, partition)) {
            return seen.reach;
        }
        let asked = topic.to_owned();
        let question = move |sender: &Sender, within| look(sender, &asked, partition, within);
        let reach = self.ask(current.sender.clone(), question).await;
        let reach = reach.unwrap_or(Reach::Away);
        *seen = Some(Seen {
            at: Instant::now(),
            topic: topic.to_owned(),
            partition,
            reach,
        });
        reach
    }
}

fn look(
    sender: &Sender,
    topic: &str,
    partition: Option<i32>,
    within: Duration,
) -> KafkaResult<Reach> {
    let began = Instant::now();
    let metadata = sender.client().fetch_metadata(Some(topic), within)?;
    let found = metadata.topics().first().map(describe);
    let reach = found.map_or(Reach::Away, |found| found.reach());
    let (Reach::There, Some(partition)) = (reach, partition) else {
        return Ok(reach);
    };
    // Who tells of the topic may be another broker than the one that the record was for.
    let left = within.saturating_sub(began.elapsed());
    match Extent::of(sender.client(), topic, partition, left) {
        Err(failure) if !is_an_answer(&failure) => Ok(Reach::Away),
        _ => Ok(Reach::There),
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

//! What the cluster says of its topics. librdkafka answers on the calling thread, so every question
//! goes to a blocking one and has a bound.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::MetadataPartition;

use super::producers::Current;
use super::read::Extent;
use super::sender::Sender;
use super::topics::is_an_answer;
use super::{Kafka, classify};
use crate::parts::broker::PublishError;

/// For how long an answer to "is it there?" serves everybody who asks.
const SEEN_FOR: Duration = Duration::from_millis(500);

/// Whether a producer could write to a partition of a topic, as far as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// It has a leader, which answers, and as many replicas in sync as the topic asks for.
    There,
    /// There is nobody to answer.
    Away,
    /// The brokers answer, and the partition takes nothing.
    Short(Shortage),
    /// The cluster answers that this topic is not there, or not for us.
    Refused(RDKafkaErrorCode),
}

impl Reach {
    /// What is to be done about records for it; none: it can be written to.
    pub(super) fn failure(self, topic: &str) -> Option<PublishError> {
        match self {
            Self::There => None,
            Self::Away => Some(PublishError::Away(format!("{topic}: nobody answers"))),
            Self::Short(shortage) => Some(PublishError::Partition(format!("{topic}: {shortage}"))),
            Self::Refused(code) => Some(PublishError::Destination(format!("{topic}: {code}"))),
        }
    }
}

/// What a partition lacks, so that it takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Shortage {
    #[error("its partitions have no leader yet")]
    NoLeaders,
    #[error("partition {0} has no leader")]
    NoLeader(i32),
    #[error("the leader of partition {0} does not answer")]
    SilentLeader(i32),
    #[error("partition {partition} has {in_sync} of {minimum} in-sync replicas")]
    TooFewInSync {
        partition: i32,
        in_sync: usize,
        minimum: usize,
    },
}

/// What a producer found out about a topic, and when.
#[derive(Debug)]
pub(super) struct Seen {
    at: Instant,
    topic: String,
    partition: Option<i32>,
    reach: Reach,
    /// The other partitions of a leader that does not answer.
    silent: Vec<i32>,
}

impl Seen {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < SEEN_FOR
    }

    /// Whether it answers for this partition, too. A silence does for all partitions of the leader that is
    /// silent: it costs nobody an attempt, and asking for each of them would take as long again.
    fn serves(&self, topic: &str, partition: Option<i32>) -> bool {
        let is_silent = match self.reach {
            Reach::Away => true,
            Reach::Short(Shortage::SilentLeader(_)) => {
                partition.is_none_or(|partition| self.silent.contains(&partition))
            }
            _ => false,
        };
        self.topic == topic && (self.partition == partition || is_silent)
    }
}

/// A partition that has fewer replicas in sync than it is to have.
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

    /// What it lacks, where the topic asks for so many. More than there are replicas are not asked for.
    fn shortage(self, in_sync_min: usize) -> Option<Shortage> {
        let minimum = in_sync_min.min(self.replicas);
        (self.in_sync < minimum).then_some(Shortage::TooFewInSync {
            partition: self.partition,
            in_sync: self.in_sync,
            minimum,
        })
    }
}

/// A topic as the cluster tells of it.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    error: Option<RDKafkaErrorCode>,
    partitions: u32,
    leaderless: Vec<i32>,
}

impl Topic {
    pub(super) fn partitions(&self) -> Result<u32, PublishError> {
        match self.error {
            Some(code) => Err(PublishError::Destination(format!("{}: {code}", self.name))),
            None => Ok(self.partitions),
        }
    }

    /// Whether `partition`, or each of them where it is not known which, can be written to as far as this tells.
    fn reach(&self, partition: Option<i32>) -> Reach {
        match self.error {
            Some(RDKafkaErrorCode::LeaderNotAvailable) => Reach::Short(Shortage::NoLeaders),
            Some(code) => Reach::Refused(code),
            None => {
                let mut leaderless = self.leaderless.iter();
                let found = leaderless.find(|one| partition.is_none_or(|it| it == **one));
                found.map_or(Reach::There, |one| Reach::Short(Shortage::NoLeader(*one)))
            }
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
        seen.retain(Seen::is_fresh);
        if let Some(seen) = seen.iter().find(|seen| seen.serves(topic, partition)) {
            return seen.reach;
        }
        let Look { reach, silent, .. } = self.look(&current.sender, topic, partition).await;
        if matches!(reach, Reach::Short(_)) {
            self.progress.away(topic, partition);
        }
        seen.push(Seen {
            at: Instant::now(),
            topic: topic.to_owned(),
            partition,
            reach,
            silent,
        });
        reach
    }

    async fn look(&self, sender: &Sender, topic: &str, partition: Option<i32>) -> Look {
        let asked = topic.to_owned();
        let question = move |sender: &Sender, within| look(sender, &asked, partition, within);
        let answer = self.ask(sender.clone(), question).await;
        let mut found = answer.unwrap_or(Look::of(Reach::Away));
        if let (Reach::There, Some(lagging)) = (found.reach, found.lagging) {
            // Who may not know the topic's settings finds out by the time-outs.
            let minimum = self.in_sync_min(topic).await;
            if let Some(shortage) = minimum.and_then(|minimum| lagging.shortage(minimum)) {
                found.reach = Reach::Short(shortage);
            }
        }
        found
    }
}

/// What a look at a partition showed.
struct Look {
    reach: Reach,
    lagging: Option<Lagging>,
    /// The other partitions of a leader that does not answer.
    silent: Vec<i32>,
}

impl Look {
    const fn of(reach: Reach) -> Self {
        Self {
            reach,
            lagging: None,
            silent: Vec::new(),
        }
    }
}

/// Whether a partition has a leader that answers, and whether it lacks replicas.
fn look(
    sender: &Sender,
    topic: &str,
    partition: Option<i32>,
    within: Duration,
) -> KafkaResult<Look> {
    let began = Instant::now();
    let metadata = sender.client().fetch_metadata(Some(topic), within)?;
    let Some(found) = metadata.topics().first() else {
        return Ok(Look::of(Reach::Away));
    };
    let reach = describe(found).reach(partition);
    let (Reach::There, Some(partition)) = (reach, partition) else {
        return Ok(Look::of(reach));
    };
    let partitions = found.partitions();
    let it = partitions.iter().find(|one| one.id() == partition);
    let lagging = it.and_then(Lagging::of);
    // Who tells of the topic may be another broker than the one that the record was for.
    let left = within.saturating_sub(began.elapsed());
    let extent = Extent::of(sender.client(), topic, partition, left);
    let is_silent = extent.is_err_and(|failure| !is_an_answer(&failure));
    let of_leader = partitions.iter().filter(|one| {
        is_silent && it.is_some_and(|it| one.id() != it.id() && one.leader() == it.leader())
    });
    Ok(Look {
        reach: if is_silent {
            Reach::Short(Shortage::SilentLeader(partition))
        } else {
            Reach::There
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
    fn a_partition_is_there_when_it_has_a_leader() {
        let short = |partition| Reach::Short(Shortage::NoLeader(partition));
        assert_eq!(topic(None, &[]).reach(None), Reach::There);
        assert_eq!(topic(None, &[1]).reach(Some(0)), Reach::There);
        assert_eq!(topic(None, &[1]).reach(Some(1)), short(1));
        assert_eq!(topic(None, &[1]).reach(None), short(1));
        let electing = RDKafkaErrorCode::LeaderNotAvailable;
        let none = Reach::Short(Shortage::NoLeaders);
        assert_eq!(topic(Some(electing), &[]).reach(Some(0)), none);
        let missing = RDKafkaErrorCode::UnknownTopicOrPartition;
        let refused = Reach::Refused(missing);
        assert_eq!(topic(Some(missing), &[]).reach(None), refused);
    }

    #[test]
    fn a_silent_leader_answers_for_its_own_partitions_alone() {
        let seen = Seen {
            at: Instant::now(),
            topic: "a-topic".to_owned(),
            partition: Some(0),
            reach: Reach::Short(Shortage::SilentLeader(0)),
            silent: vec![2],
        };
        assert!(seen.serves("a-topic", Some(0)) && seen.serves("a-topic", Some(2)));
        assert!(!seen.serves("a-topic", Some(1)), "another broker leads it");
        assert!(!seen.serves("other", Some(0)));
    }

    #[test]
    fn in_sync_replicas_are_too_few_below_the_smaller_of_minimum_and_replicas() {
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

//! Partitions, leaders and offsets of topics, for operators. A request for the metadata of a missing topic may create
//! it, so the metadata of all topics is read.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};

use super::read::Extent;
use super::sender::Sender;
use super::{Kafka, PublishError};

/// A topic as the brokers report it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// Its name.
    pub name: String,
    /// Its partitions by number; none: the topic does not exist, or this client may not see it.
    pub partitions: Option<Vec<PartitionState>>,
}

/// A partition as the brokers report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// Its number, from 0.
    pub number: i32,
    /// Id of its leader; none: it has none at the moment.
    pub leader: Option<i32>,
    /// Number of brokers that should have a copy of it.
    pub replicas: usize,
    /// Number of copies that are up to date.
    pub in_sync: usize,
    /// Its offsets; none: it has no leader, or the leader does not answer.
    pub extent: Option<Extent>,
}

impl Kafka {
    /// The states of these topics, in this order. Takes no longer than the timeout of metadata queries.
    pub async fn topics(&self, names: Vec<String>) -> Result<Vec<TopicState>, PublishError> {
        let look = move |sender: &Sender, within| look(sender, names, within);
        self.ask(self.any()?, look).await
    }
}

fn look(sender: &Sender, names: Vec<String>, within: Duration) -> KafkaResult<Vec<TopicState>> {
    let began = Instant::now();
    let metadata = sender.client().fetch_metadata(None, within)?;
    let mut asking = Asking {
        sender,
        began,
        within,
        silent: BTreeSet::new(),
    };
    let topics = names.into_iter().map(|name| {
        let mut found = metadata.topics().iter();
        let found = found.find(|topic| topic.name() == name && !is_missing(topic));
        let partitions = found.map(|topic| asking.partitions(topic));
        TopicState { name, partitions }
    });
    Ok(topics.collect())
}

fn is_missing(topic: &MetadataTopic) -> bool {
    let missing = RDKafkaErrorCode::UnknownTopicOrPartition;
    topic.error().map(RDKafkaErrorCode::from) == Some(missing)
}

/// One read of all topics.
struct Asking<'a> {
    sender: &'a Sender,
    began: Instant,
    within: Duration,
    /// Leaders without an answer, which are not queried again.
    silent: BTreeSet<i32>,
}

impl Asking<'_> {
    fn partitions(&mut self, topic: &MetadataTopic) -> Vec<PartitionState> {
        let states = topic.partitions().iter();
        let mut states: Vec<_> = states.map(|one| self.state(topic.name(), one)).collect();
        states.sort_unstable_by_key(|state| state.number);
        states
    }

    fn state(&mut self, topic: &str, partition: &MetadataPartition) -> PartitionState {
        let leader = Some(partition.leader()).filter(|leader| *leader >= 0);
        PartitionState {
            number: partition.id(),
            leader,
            replicas: partition.replicas().len(),
            in_sync: partition.isr().len(),
            extent: leader.and_then(|leader| self.extent(topic, partition.id(), leader)),
        }
    }

    fn extent(&mut self, topic: &str, partition: i32, leader: i32) -> Option<Extent> {
        if self.silent.contains(&leader) {
            return None;
        }
        // Half of the remaining time, so that an unavailable leader leaves time for the others.
        let left = self.within.saturating_sub(self.began.elapsed()) / 2;
        match Extent::of(self.sender.client(), topic, partition, left) {
            Ok(extent) => return Some(extent),
            Err(failure) if is_an_answer(&failure) => {
                tracing::debug!(kafka.topic = topic, kafka.partition = partition, %failure, "cannot read the offsets from a leader");
            }
            Err(failure) => {
                tracing::warn!(kafka.topic = topic, kafka.partition = partition, %failure, "cannot read the offsets from a leader");
                self.silent.insert(leader);
            }
        }
        None
    }
}

/// Whether a broker answered with an error: another broker leads now, or the topic was deleted meanwhile.
pub(super) fn is_an_answer(failure: &KafkaError) -> bool {
    let silence = [
        RDKafkaErrorCode::OperationTimedOut,
        RDKafkaErrorCode::BrokerTransportFailure,
        RDKafkaErrorCode::AllBrokersDown,
        RDKafkaErrorCode::Resolve,
    ];
    let code = failure.rdkafka_error_code();
    !code.is_some_and(|code| silence.contains(&code))
}

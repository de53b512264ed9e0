//! What topics are made of and how far they are written, for those who watch. A topic that is missing stays
//! missing: naming one to the brokers may create it, so they are asked for all there are.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};

use super::read::Extent;
use super::sender::Sender;
use super::{Kafka, PublishError};

/// A topic as the brokers tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// Its name.
    pub name: String,
    /// Its partitions by number; none: there is no such topic, or not for us to see.
    pub partitions: Option<Vec<PartitionState>>,
}

/// A partition as the brokers tell of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// Its number, from 0.
    pub number: i32,
    /// Id of the broker that leads it; none: nobody does at the moment.
    pub leader: Option<i32>,
    /// Brokers that are to have a copy of it.
    pub replicas: usize,
    /// Those of them that are up to date.
    pub in_sync: usize,
    /// What is in it; none: nobody leads it, or who does does not say.
    pub extent: Option<Extent>,
}

impl Kafka {
    /// How these topics are, in this order. Takes no longer than questions about topics may.
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

/// One look at all of them.
struct Asking<'a> {
    sender: &'a Sender,
    began: Instant,
    within: Duration,
    /// Leaders that did not answer, and are not asked again.
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
        // Half of what is left: one leader that is away leaves time for the others.
        let left = self.within.saturating_sub(self.began.elapsed()) / 2;
        match Extent::of(self.sender.client(), topic, partition, left) {
            Ok(extent) => return Some(extent),
            Err(failure) if is_an_answer(&failure) => {
                tracing::debug!(kafka.topic = topic, kafka.partition = partition, %failure, "ask a leader");
            }
            Err(failure) => {
                tracing::warn!(kafka.topic = topic, kafka.partition = partition, %failure, "ask a leader");
                self.silent.insert(leader);
            }
        }
        None
    }
}

/// Whether somebody said so: that another leads now, or that the topic was deleted meanwhile.
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

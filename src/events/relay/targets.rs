//! The topic and partition of each record, and the parked rows that are not retried while their target fails.

use super::RelayContext;
use super::breakers::Target;
use crate::domain::{OutboxEvent, Topic, key_hash};
use crate::parts::store::{Partitions, Targets};

/// The names of the topics.
#[derive(Debug)]
pub(super) struct Topics {
    participation: String,
    campaign: String,
    order: String,
}

impl Topics {
    /// The names with this prefix.
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            participation: Topic::Participation.name(prefix),
            campaign: Topic::Campaign.name(prefix),
            order: Topic::Order.name(prefix),
        }
    }

    fn of(&self, topic: Topic) -> &str {
        match topic {
            Topic::Participation => &self.participation,
            Topic::Campaign => &self.campaign,
            Topic::Order => &self.order,
        }
    }
}

impl Target {
    /// The target of an event's record, in a topic of this many partitions.
    pub(super) fn of(event: &OutboxEvent, partitions: Option<u32>) -> Self {
        Self {
            topic: event.topic,
            partition: partitions.map(|count| key_hash(&event.key) % count.max(1)),
        }
    }
}

impl RelayContext {
    /// The targets whose parked rows are retried: no topics that are held back, and no failing partitions. Probes of
    /// those are read separately, because there may be many of them.
    pub(super) fn targets_to_retry(&self) -> Targets {
        let failing = Topic::ALL.into_iter();
        let failing =
            failing.filter_map(|topic| self.some(topic, self.breakers.failing_partitions(topic)));
        Targets::AllBut(self.breakers.held_topics(), failing.collect())
    }

    /// Partitions to probe now.
    pub(super) fn probe_partitions(&self) -> Vec<Partitions> {
        let topics = Topic::ALL.into_iter();
        let free = topics.filter(|topic| self.breakers.topic_wait(*topic).is_none());
        free.filter_map(|topic| self.some(topic, self.breakers.partitions_to_probe(topic)))
            .collect()
    }

    fn some(&self, topic: Topic, numbers: Vec<u32>) -> Option<Partitions> {
        if numbers.is_empty() {
            return None;
        }
        Some(Partitions {
            topic,
            count: self.partitions(topic)?,
            numbers,
        })
    }

    /// The number of partitions of a topic, if it is known.
    pub(super) fn partitions(&self, topic: Topic) -> Option<u32> {
        self.publisher.known_partitions(self.topics.of(topic))
    }
}

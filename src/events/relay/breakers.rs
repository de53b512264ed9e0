//! The breakers of the broker, of each topic, and of each partition that accepts no records. While one is open,
//! single records probe. A record that is held back does not count as a failed attempt.

mod partitions;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;

use super::breaker::{Breaker, BreakerState, SendMode};
use crate::domain::Topic;
use crate::runtime::retry;
use partitions::Partitions;

/// The target of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Target {
    /// The topic of its topic.
    pub(super) topic: Topic,
    /// The partition; none: the number of partitions is unknown.
    pub(super) partition: Option<u32>,
}

impl Target {
    fn key(self) -> Option<(Topic, u32)> {
        Some((self.topic, self.partition?))
    }
}

/// Permission to send one record, from the breakers of the broker, its topic and its partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permission {
    target: Target,
    broker: SendMode,
    topic: SendMode,
    partition: SendMode,
}

impl Permission {
    /// Whether its record is a probe.
    pub(super) fn is_probe(self) -> bool {
        [self.broker, self.topic, self.partition].contains(&SendMode::Probe)
    }
}

/// What holds a record back.
#[derive(Clone, Copy, Debug)]
pub(super) enum HeldBack {
    /// The broker; ask again after this time.
    All(Duration),
    /// Its topic; ask again after this time.
    Topic(Duration),
    /// Its partition.
    Partition,
}

/// The gauges.
#[derive(Debug)]
struct Shown {
    /// 1 unless all breakers are closed.
    open: Gauge,
    /// Partitions that accept no records.
    partitions: Gauge,
}

/// The breakers of a relay, shared by its tasks.
#[derive(Debug)]
pub(super) struct Breakers {
    broker: Breaker,
    participation: Breaker,
    campaign: Breaker,
    order: Breaker,
    partitions: Partitions,
    /// Locked while the gauges are set, so that the last update wins.
    shown: Mutex<Shown>,
}

impl Breakers {
    /// Closed ones; `open` says when they are not, and `partitions` of how many partitions.
    pub(super) fn new(policy: retry::Policy, open: Gauge, partitions: Gauge) -> Self {
        Self {
            broker: Breaker::new(policy),
            participation: Breaker::new(policy),
            campaign: Breaker::new(policy),
            order: Breaker::new(policy),
            partitions: Partitions::new(policy),
            shown: Mutex::new(Shown { open, partitions }),
        }
    }

    /// Sets the gauges.
    fn show(&self) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.open.set(i64::from(!self.closed()));
        let away = i64::try_from(self.partitions.len()).unwrap_or(i64::MAX);
        shown.partitions.set(away);
    }

    fn topic(&self, topic: Topic) -> &Breaker {
        match topic {
            Topic::Participation => &self.participation,
            Topic::Campaign => &self.campaign,
            Topic::Order => &self.order,
        }
    }

    /// Permission to send a record to a target, or what holds it back.
    pub(super) fn ask(&self, target: Target) -> Result<Permission, HeldBack> {
        let topic = self.topic(target.topic);
        if let Some(wait) = self.broker.wait() {
            return Err(HeldBack::All(wait));
        }
        if let Some(wait) = topic.wait() {
            return Err(HeldBack::Topic(wait));
        }
        let partition = self.partitions.ask(target).ok_or(HeldBack::Partition)?;
        Ok(Permission {
            target,
            broker: self.broker.leave(),
            topic: topic.leave(),
            partition,
        })
    }

    /// Whether a partition accepts no records, as far as is known. Only probes go to it.
    pub(super) fn is_partition_away(&self, target: Target) -> bool {
        self.partitions.is_away(target)
    }

    /// How long the broker is held back; none: it is not.
    pub(super) fn broker_wait(&self) -> Option<Duration> {
        self.broker.wait()
    }

    /// How long a topic is held back; none: it is not.
    pub(super) fn topic_wait(&self, topic: Topic) -> Option<Duration> {
        self.topic(topic).wait()
    }

    /// The topics whose topics are held back.
    pub(super) fn held_topics(&self) -> Vec<Topic> {
        let topics = Topic::ALL.into_iter();
        topics
            .filter(|topic| self.topic_wait(*topic).is_some())
            .collect()
    }

    /// Partitions of a topic's topic that accept no records, those to probe included.
    pub(super) fn partitions_away(&self, topic: Topic) -> Vec<u32> {
        self.partitions.away(topic)
    }

    /// Those of them to probe now.
    pub(super) fn partitions_to_probe(&self, topic: Topic) -> Vec<u32> {
        self.partitions.probe_partitions(topic)
    }

    /// Time until the next probe of a partition; none: no probe is needed.
    pub(super) fn next_probe(&self) -> Option<Duration> {
        self.partitions.next_probe()
    }

    /// The broker accepted the record, or refused the record itself. Returns whether a breaker closed.
    pub(super) fn answered(&self, permission: Permission) -> bool {
        let broker = self.broker.succeeded();
        if broker {
            tracing::info!("publishing again");
        }
        let name = permission.target.topic.as_str();
        let topic = self.topic(permission.target.topic).succeeded();
        if topic {
            tracing::info!(topic = name, "topic is writable again");
        }
        let partition = self.partitions.succeeded(permission.target);
        if partition {
            let partition = permission.target.partition;
            tracing::info!(topic = name, partition, "partition is writable again");
        }
        let changed = broker || topic || partition;
        if changed {
            self.show();
        }
        changed
    }

    /// The permission was not used.
    pub(super) fn unused(&self, permission: Permission) {
        self.broker.unused(permission.broker);
        self.target_unused(permission);
    }

    fn target_unused(&self, permission: Permission) {
        self.topic(permission.target.topic).unused(permission.topic);
        self.partitions
            .unused(permission.target, permission.partition);
    }

    /// The broker did not answer, or the producer is full.
    pub(super) fn away(&self, permission: Permission, reason: &str) {
        if self.broker.failed(permission.broker) {
            tracing::warn!(reason, "nothing can be published: rows wait");
        }
        self.target_unused(permission);
        self.show();
    }

    /// The broker refused the topic.
    pub(super) fn destination(&self, permission: Permission, reason: &str) {
        self.partitions
            .unused(permission.target, permission.partition);
        if self.topic_failed(permission) {
            let topic = permission.target.topic.as_str();
            tracing::error!(topic, reason, "topic cannot be written to: its rows wait");
        }
    }

    /// The broker answered: a partition of this topic takes nothing for now. It is `partition`, unless the
    /// permission says; where neither does, the topic waits.
    pub(super) fn partition(&self, permission: Permission, partition: Option<u32>, reason: &str) {
        let target = Target {
            partition: permission.target.partition.or(partition),
            ..permission.target
        };
        let topic = target.topic.as_str();
        let Some(key) = target.key() else {
            if self.topic_failed(permission) {
                tracing::warn!(
                    topic,
                    reason,
                    "a partition accepts no records: the topic's rows wait"
                );
            }
            return;
        };
        self.broker.succeeded();
        // Says nothing of the topic: a record for another partition finds out.
        self.topic(target.topic).unused(permission.topic);
        let is_new = self.partitions.failed(key, permission.partition);
        self.show();
        if is_new {
            let partition = target.partition;
            tracing::warn!(
                topic,
                partition,
                reason,
                "the partition accepts no records: its rows wait"
            );
        }
    }

    /// Opens the breaker of a topic. Returns whether it was closed.
    fn topic_failed(&self, permission: Permission) -> bool {
        self.broker.succeeded();
        let opened = self.topic(permission.target.topic).failed(permission.topic);
        self.show();
        opened
    }

    /// The breaker of the broker, and those of the topics: one is not closed while a partition takes nothing.
    pub(super) fn states(&self) -> (BreakerState, Vec<(Topic, BreakerState)>) {
        let of = |topic| match self.topic(topic).state() {
            BreakerState::Closed => self.partitions.state(topic),
            other => other,
        };
        let topics = Topic::ALL.into_iter();
        let topics = topics.map(|topic| (topic, of(topic)));
        (self.broker.state(), topics.collect())
    }

    /// Whether the broker, each topic, and each partition is written to.
    pub(super) fn closed(&self) -> bool {
        self.broker.is_closed()
            && self.participation.is_closed()
            && self.campaign.is_closed()
            && self.order.is_closed()
            && self.partitions.len() == 0
    }
}

#[cfg(test)]
mod tests;

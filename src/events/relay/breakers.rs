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
    /// Its topic.
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
struct BreakerGauges {
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
    gauges: Mutex<BreakerGauges>,
}

impl Breakers {
    /// The breaker of each topic. `open` is set while a breaker is open; `partitions` has the failing partitions.
    pub(super) fn new(policy: retry::Policy, open: Gauge, partitions: Gauge) -> Self {
        Self {
            broker: Breaker::new(policy),
            participation: Breaker::new(policy),
            campaign: Breaker::new(policy),
            order: Breaker::new(policy),
            partitions: Partitions::new(policy),
            gauges: Mutex::new(BreakerGauges { open, partitions }),
        }
    }

    /// Sets the gauges.
    fn show(&self) {
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.open.set(i64::from(!self.closed()));
        let failing = i64::try_from(self.partitions.len()).unwrap_or(i64::MAX);
        gauges.partitions.set(failing);
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

    /// Whether a partition is known to accept no records. Only probes are sent to it.
    pub(super) fn is_partition_failing(&self, target: Target) -> bool {
        self.partitions.is_away(target)
    }

    /// How long the broker's breaker holds records back; none: it is closed.
    pub(super) fn broker_wait(&self) -> Option<Duration> {
        self.broker.wait()
    }

    /// How long a topic's breaker holds records back; none: it is closed.
    pub(super) fn topic_wait(&self, topic: Topic) -> Option<Duration> {
        self.topic(topic).wait()
    }

    /// The topics whose breakers hold records back.
    pub(super) fn held_topics(&self) -> Vec<Topic> {
        let topics = Topic::ALL.into_iter();
        topics
            .filter(|topic| self.topic_wait(*topic).is_some())
            .collect()
    }

    /// Partitions of a topic that accept no records, including those to probe.
    pub(super) fn failing_partitions(&self, topic: Topic) -> Vec<u32> {
        self.partitions.failing(topic)
    }

    /// The partitions of a topic to probe now.
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
    pub(super) fn broker_failed(&self, permission: Permission, reason: &str) {
        if self.broker.failed(permission.broker) {
            tracing::warn!(reason, "nothing can be published: rows wait");
        }
        self.target_unused(permission);
        self.show();
    }

    /// The broker rejected the topic.
    pub(super) fn destination(&self, permission: Permission, reason: &str) {
        self.partitions
            .unused(permission.target, permission.partition);
        if self.topic_failed(permission) {
            let topic = permission.target.topic.as_str();
            tracing::error!(topic, reason, "topic cannot be written to: its rows wait");
        }
    }

    /// The broker answered: a partition of this topic accepts no records for now. It is the partition of the
    /// permission, or `partition` if that has none. If both are unknown, the whole topic waits.
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
        // This says nothing about the topic: a record for another partition will show whether it works.
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

    /// The state of the broker's breaker, and of the topics' breakers: a topic with a failing partition is not
    /// closed.
    pub(super) fn states(&self) -> (BreakerState, Vec<(Topic, BreakerState)>) {
        let of = |topic| match self.topic(topic).state() {
            BreakerState::Closed => self.partitions.state(topic),
            other => other,
        };
        let topics = Topic::ALL.into_iter();
        let topics = topics.map(|topic| (topic, of(topic)));
        (self.broker.state(), topics.collect())
    }

    /// Whether all breakers are closed.
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

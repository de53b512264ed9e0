//! Holds back what would fail anyway: one breaker for the broker, one for each topic, and one for each
//! partition that takes nothing. While open, one record at a time goes out to probe. It counts nothing against
//! a record.

mod partitions;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;

use super::breaker::{Breaker, BreakerState, SendMode};
use crate::domain::Stream;
use crate::runtime::retry;
use partitions::Partitions;

/// Where a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// To the topic of this stream.
    pub(super) stream: Stream,
    /// To this partition of it; none: it is not known how many there are.
    pub(super) partition: Option<u32>,
}

impl Target {
    fn key(self) -> Option<(Stream, u32)> {
        Some((self.stream, self.partition?))
    }
}

/// SendMode to send one record: from the broker's breaker, its topic's, and its partition's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permission {
    target: Target,
    broker: SendMode,
    topic: SendMode,
    partition: SendMode,
}

impl Permission {
    /// Whether its record finds out whether others may go.
    pub(super) fn is_probe(self) -> bool {
        [self.broker, self.topic, self.partition].contains(&SendMode::Probe)
    }
}

/// What a record has to wait for, and how long before asking again.
#[derive(Clone, Copy, Debug)]
pub(super) enum HeldBack {
    /// Nothing may go.
    All(Duration),
    /// Nothing to this topic, or to this partition of it.
    Target,
}

/// What shows how much is held back.
#[derive(Debug)]
struct Shown {
    /// 1 unless all breakers are closed.
    open: Gauge,
    /// How many partitions take nothing.
    partitions: Gauge,
}

/// The breakers of a relay, shared by its workers.
#[derive(Debug)]
pub(super) struct Breakers {
    broker: Breaker,
    participation: Breaker,
    campaign: Breaker,
    partitions: Partitions,
    /// Locked while it is found out what to show, so that who comes last is right.
    shown: Mutex<Shown>,
}

impl Breakers {
    /// Closed ones; `open` says when they are not, and `partitions` of how many partitions.
    pub(super) fn new(policy: retry::Policy, open: Gauge, partitions: Gauge) -> Self {
        Self {
            broker: Breaker::new(policy),
            participation: Breaker::new(policy),
            campaign: Breaker::new(policy),
            partitions: Partitions::new(policy),
            shown: Mutex::new(Shown { open, partitions }),
        }
    }

    /// Lets the gauges say what has changed.
    fn show(&self) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.open.set(i64::from(!self.closed()));
        let away = i64::try_from(self.partitions.len()).unwrap_or(i64::MAX);
        shown.partitions.set(away);
    }

    fn topic(&self, stream: Stream) -> &Breaker {
        match stream {
            Stream::Participation => &self.participation,
            Stream::Campaign => &self.campaign,
        }
    }

    /// SendMode to send a record to a target, or what holds it back.
    pub(super) fn ask(&self, target: Target) -> Result<Permission, HeldBack> {
        let topic = self.topic(target.stream);
        if let Some(wait) = self.broker.wait() {
            return Err(HeldBack::All(wait));
        }
        if topic.wait().is_some() {
            return Err(HeldBack::Target);
        }
        let partition = self.partitions.ask(target).ok_or(HeldBack::Target)?;
        Ok(Permission {
            target,
            broker: self.broker.leave(),
            topic: topic.leave(),
            partition,
        })
    }

    /// Whether there is no point in sending to the topic of `stream` for now.
    pub(super) fn is_held(&self, stream: Stream) -> bool {
        self.topic(stream).wait().is_some()
    }

    /// Whether there is no point in sending to the partition for now.
    pub(super) fn is_partition_held(&self, target: Target) -> bool {
        self.partitions.is_held(target)
    }

    /// The streams whose topics are held back.
    pub(super) fn held_streams(&self) -> Vec<Stream> {
        let streams = Stream::ALL.into_iter();
        streams.filter(|stream| self.is_held(*stream)).collect()
    }

    /// The partitions of a stream's topic that take nothing: those that may be probed now are among them.
    pub(super) fn partitions_away(&self, stream: Stream) -> Vec<u32> {
        self.partitions.away(stream)
    }

    /// Those of them that there is no point in sending to for now.
    pub(super) fn partitions_held(&self, stream: Stream) -> Vec<u32> {
        self.partitions.held(stream)
    }

    /// Those of them that may be probed now.
    pub(super) fn partitions_to_probe(&self, stream: Stream) -> Vec<u32> {
        self.partitions.probe_partitions(stream)
    }

    /// How long until a partition may be probed; none: none is away that is not probed now.
    pub(super) fn next_probe(&self) -> Option<Duration> {
        self.partitions.next_probe()
    }

    /// Whether the topic of `stream` refused what it was sent last.
    pub(super) fn is_refused(&self, stream: Stream) -> bool {
        !self.topic(stream).is_closed()
    }

    /// The broker answered and took the record, or refused it for what it is. True: rows that were
    /// held back may go again.
    pub(super) fn answered(&self, permission: Permission) -> bool {
        let broker = self.broker.succeeded();
        if broker {
            tracing::info!("publishing again");
        }
        let name = permission.target.stream.as_str();
        let topic = self.topic(permission.target.stream).succeeded();
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

    /// Whether leave that was given still holds: nothing has failed since, or this one finds out.
    pub(super) fn still(&self, permission: Permission) -> bool {
        let holds = |leave, breaker: &Breaker| leave == SendMode::Probe || breaker.is_closed();
        holds(permission.broker, &self.broker)
            && holds(permission.topic, self.topic(permission.target.stream))
            && (permission.partition == SendMode::Probe
                || self.partitions.is_closed(permission.target))
    }

    /// The permission was not made use of.
    pub(super) fn unused(&self, permission: Permission) {
        self.broker.unused(permission.broker);
        self.target_unused(permission);
    }

    fn target_unused(&self, permission: Permission) {
        self.topic(permission.target.stream)
            .unused(permission.topic);
        self.partitions
            .unused(permission.target, permission.partition);
    }

    /// The broker is away, or the producer cannot take more.
    pub(super) fn away(&self, permission: Permission, reason: &str) {
        if self.broker.failed(permission.broker) {
            tracing::warn!(reason, "nothing can be published: rows wait");
        }
        self.target_unused(permission);
        self.show();
    }

    /// The broker answered: nothing can be written to this topic.
    pub(super) fn destination(&self, permission: Permission, reason: &str) {
        self.partitions
            .unused(permission.target, permission.partition);
        if self.topic_failed(permission) {
            let topic = permission.target.stream.as_str();
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
        let topic = target.stream.as_str();
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
        self.topic(target.stream).unused(permission.topic);
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

    /// Opens the breaker of a topic; whether it was closed before.
    fn topic_failed(&self, permission: Permission) -> bool {
        self.broker.succeeded();
        let opened = self
            .topic(permission.target.stream)
            .failed(permission.topic);
        self.show();
        opened
    }

    /// The breaker of the broker, and those of the topics: one is not closed while a partition takes nothing.
    pub(super) fn states(&self) -> (BreakerState, Vec<(Stream, BreakerState)>) {
        let of = |stream| match self.topic(stream).state() {
            BreakerState::Closed => self.partitions.state(stream),
            other => other,
        };
        let topics = Stream::ALL.into_iter();
        let topics = topics.map(|stream| (stream, of(stream)));
        (self.broker.state(), topics.collect())
    }

    /// Whether the broker, each topic, and each partition is written to.
    pub(super) fn closed(&self) -> bool {
        self.broker.is_closed()
            && self.participation.is_closed()
            && self.campaign.is_closed()
            && self.partitions.len() == 0
    }
}

#[cfg(test)]
mod tests;

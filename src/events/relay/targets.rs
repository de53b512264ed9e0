//! The topic and partition of each record, and the rows that are not read while their target fails.

use super::RelayContext;
use super::breakers::Target;
use crate::domain::{OutboxEvent, Stream, key_hash};
use crate::parts::store::{Partitions, Without};

/// The names of the topics.
#[derive(Debug)]
pub(super) struct Topics {
    participation: String,
    campaign: String,
}

impl Topics {
    /// The names with this prefix.
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            participation: Stream::Participation.topic(prefix),
            campaign: Stream::Campaign.topic(prefix),
        }
    }

    fn of(&self, stream: Stream) -> &str {
        match stream {
            Stream::Participation => &self.participation,
            Stream::Campaign => &self.campaign,
        }
    }
}

impl RelayContext {
    /// The target of an event's record.
    pub(super) fn target(&self, event: &OutboxEvent) -> Target {
        let count = self.partitions(event.stream);
        Target {
            stream: event.stream,
            partition: count.map(|count| key_hash(&event.key) % count.max(1)),
        }
    }

    /// The rows that a poll does not read: those of topics held back and of partitions that fail. Rows for probes are
    /// read apart: they would displace others.
    pub(super) fn excluded_from_poll(&self) -> Without {
        self.without(|stream| self.breakers.partitions_away(stream))
    }

    /// What is not tried again: rows that would be held back.
    pub(super) fn excluded_from_retry(&self) -> Without {
        self.without(|stream| self.breakers.partitions_held(stream))
    }

    fn without(&self, numbers: impl Fn(Stream) -> Vec<u32>) -> Without {
        let streams = Stream::ALL.into_iter();
        Without {
            streams: self.breakers.held_streams(),
            partitions: streams
                .filter_map(|stream| self.some(stream, numbers(stream)))
                .collect(),
        }
    }

    /// Partitions to probe now.
    pub(super) fn probe_partitions(&self) -> Vec<Partitions> {
        let streams = Stream::ALL.into_iter();
        let free = streams.filter(|stream| !self.breakers.is_held(*stream));
        free.filter_map(|stream| self.some(stream, self.breakers.partitions_to_probe(stream)))
            .collect()
    }

    fn some(&self, stream: Stream, numbers: Vec<u32>) -> Option<Partitions> {
        if numbers.is_empty() {
            return None;
        }
        Some(Partitions {
            stream,
            count: self.partitions(stream)?,
            numbers,
        })
    }

    fn partitions(&self, stream: Stream) -> Option<u32> {
        self.publisher.known_partitions(self.topics.of(stream))
    }
}

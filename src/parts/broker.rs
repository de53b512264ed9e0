//! The broker: where committed events go. One trait for publishing, and a classification of its
//! failures that decides by type, never by text.

pub mod kafka;
mod turns;

use async_trait::async_trait;
use chrono::SecondsFormat;

pub use self::turns::{Turn, Turns};
use crate::domain::OutboxEvent;
use crate::runtime::trace::{self, SpanKind, Traced};

/// Where in a trace a record stands (W3C Trace Context).
pub const TRACEPARENT: &str = "traceparent";

/// A record on its way to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Topic it goes to.
    pub topic: String,
    /// Key: picks the partition.
    pub key: String,
    /// Value, JSON.
    pub payload: String,
    /// Headers, in order.
    pub headers: Vec<(&'static str, String)>,
}

impl Record {
    /// The record of an event: a `CloudEvent` in Kafka's binary mode.
    #[must_use]
    pub fn of(event: &OutboxEvent, topic_prefix: &str) -> Self {
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", event.id.to_string()),
            ("ce_type", event.event_type.clone()),
            ("ce_source", ["/", topic_prefix].concat()),
            ("ce_subject", event.aggregate_id.clone()),
            (
                "ce_time",
                event
                    .created_at
                    .to_rfc3339_opts(SecondsFormat::Micros, true),
            ),
            ("ce_keysequence", event.key_sequence.to_string()),
        ];
        if let Some(rank) = event.rank {
            headers.push(("ce_rank", rank.to_string()));
        }
        if let Some(traceparent) = &event.traceparent {
            headers.push((TRACEPARENT, traceparent.clone()));
        }
        Self {
            topic: event.stream.topic(topic_prefix),
            key: event.key.to_string(),
            payload: event.payload.clone(),
            headers,
        }
    }
}

impl Record {
    /// The span of publishing it, if its event is traced; whoever reads the record follows from that.
    pub fn traced(&mut self) -> Option<Traced> {
        if !trace::is_on() {
            return None;
        }
        let headers = &mut self.headers;
        let (_, traceparent) = headers.iter_mut().find(|(name, _)| *name == TRACEPARENT)?;
        let mut traced = trace::follow(Some(traceparent), "relay.publish", SpanKind::Producer)?;
        traced.note("messaging.system", "kafka");
        traced.note("messaging.destination.name", self.topic.clone());
        *traceparent = traced.traceparent();
        Some(traced)
    }
}

/// A record as it lies in a topic, whoever wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consumed<'a> {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value.
    pub payload: Option<&'a [u8]>,
    /// Headers that have a value, in order.
    pub headers: Vec<(&'a str, &'a [u8])>,
}

impl Consumed<'_> {
    /// The value of a header, where it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| *key == name);
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }
}

/// A record as it lies in a topic, kept until it was worked on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub payload: Option<Vec<u8>>,
    /// Headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Delivered {
    /// The value of a header, where it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }
}

/// What a copy of a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyOf {
    /// All of it.
    Everything,
    /// Its key and headers: its value is too large for where it goes.
    HeadOnly,
}

/// Where the broker put a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// Why a record was not acknowledged, by what has to be done about it.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The broker is away or asks to come back later: no attempt is charged, order is kept.
    #[error("reach the broker: {0}")]
    Away(String),
    /// The local queue is full: wait, no attempt is charged.
    #[error("the producer's queue is full")]
    QueueFull,
    /// Every record for this topic fails: missing topic or permission. The topic is parked.
    #[error("write to the topic: {0}")]
    Destination(String),
    /// The partition takes nothing for now: it has no leader, or too few in-sync replicas, or acknowledges
    /// nothing. No attempt is charged, order is kept, and other partitions go on.
    #[error("the partition accepts no records: {0}")]
    Partition(String),
    /// This record is refused, or its batch was refused because of one in it.
    #[error("write the record: {0}")]
    Record(String),
    /// No answer in time, though its partition acknowledged later ones: it may have been written. Sent again;
    /// consumers deduplicate.
    #[error("await the acknowledgement: {0}")]
    PossiblyDelivered(String),
    /// The producer can go no further and must be made anew.
    #[error("use the producer: {0}")]
    Fatal(String),
}

impl PublishError {
    /// What it is in one word, for metrics.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Away(_) => "away",
            Self::QueueFull => "queue_full",
            Self::Destination(_) => "destination",
            Self::Partition(_) => "partition_away",
            Self::Record(_) => "record",
            Self::PossiblyDelivered(_) => "possibly_delivered",
            Self::Fatal(_) => "fatal",
        }
    }
}

/// Publishes records. Order per key is the caller's work: one message in flight per key.
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Waits until what went before to where a record goes is answered, so that those who wait go there
    /// together; to be kept until it is answered itself. None: there is nothing to wait for.
    async fn turn(&self, _record: &Record) -> Option<Turn> {
        None
    }

    /// How many partitions a topic has, as far as that is known without asking: a record goes to the one that
    /// the [hash](crate::domain::key_hash) of its key says.
    fn known_partitions(&self, _topic: &str) -> Option<u32> {
        None
    }

    /// Asks whether the partition of a record takes records again, where it lately took none. Whoever probes
    /// asks first: a record that is sent in vain may be written and come twice.
    async fn ask_partition(&self, _record: &Record) -> Result<(), PublishError> {
        Ok(())
    }

    /// Sends one record and waits for the broker's acknowledgement (acks=all) or the failure.
    async fn publish(&self, record: &Record) -> Result<Acknowledged, PublishError>;

    /// The same for one of many records that have waited already: it may wait a little longer for
    /// others to share its request.
    async fn publish_in_bulk(&self, record: &Record) -> Result<Acknowledged, PublishError> {
        self.publish(record).await
    }

    /// How many partitions a topic has; an error where the broker is away or the topic is missing.
    async fn partitions(&self, topic: &str) -> Result<u32, PublishError>;

    /// Creates the topics that are missing.
    async fn create_topics(&self, topics: &[String], partitions: u32) -> Result<(), PublishError>;

    /// Waits for what is in flight, at most until the deadline.
    async fn flush(&self, deadline: std::time::Duration);
}

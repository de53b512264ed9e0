//! The broker, which receives committed events: one trait for publishing, and a classification of its failures by type,
//! never by text.

pub mod kafka;

use async_trait::async_trait;
use chrono::SecondsFormat;

use crate::domain::OutboxEvent;
use crate::runtime::trace::{self, SpanKind, Traced};

/// The header with the trace context of a record (W3C Trace Context).
pub const TRACEPARENT: &str = "traceparent";

/// A record to be sent to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its topic.
    pub topic: String,
    /// Key, which selects the partition.
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
            ("ce_sequence", event.sequence.to_string()),
        ];
        if let Some(rank) = event.rank {
            headers.push(("ce_rank", rank.to_string()));
        }
        if let Some(traceparent) = &event.traceparent {
            headers.push((TRACEPARENT, traceparent.clone()));
        }
        Self {
            topic: event.topic.name(topic_prefix),
            key: event.key.to_string(),
            payload: event.payload.clone(),
            headers,
        }
    }
}

impl Record {
    /// The span of publishing it, if its event is traced. Spans of its consumers follow from this span.
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

/// A record of a topic, borrowed from the client.
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

/// A record of a topic, for processing.
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

/// The content of a copy of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyOf {
    /// All of it.
    Everything,
    /// Its key and headers only, because its value is too large for the target topic.
    HeadOnly,
}

/// The position of a record in its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// Why a record was not acknowledged, classified by the necessary reaction.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The broker is away, or requests a later retry: no attempt is charged, and the order is kept.
    #[error("reach the broker: {0}")]
    Away(String),
    /// The local queue is full: wait, no attempt is charged.
    #[error("the producer's queue is full")]
    QueueFull,
    /// Every record for this topic fails: the topic or a permission is missing. The topic is parked.
    #[error("write to the topic: {0}")]
    Destination(String),
    /// The partition accepts no records for now: it has no leader or too few in-sync replicas, or does not
    /// acknowledge. No attempt is charged, the order is kept, and other partitions continue.
    #[error("the partition accepts no records: {0}")]
    Partition(String),
    /// This record is rejected, or its batch was rejected because of one record in it.
    #[error("write the record: {0}")]
    Record(String),
    /// No answer in time, though its partition acknowledged later records: it may have been written. It is sent
    /// again; consumers deduplicate.
    #[error("await the acknowledgement: {0}")]
    PossiblyDelivered(String),
    /// The producer cannot continue and must be replaced.
    #[error("use the producer: {0}")]
    Fatal(String),
}

impl PublishError {
    /// The failure in one word, for metrics.
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

/// Publishes records. The caller keeps the order within a partition: it sends the next records when it knows the
/// results of the previous ones.
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Number of partitions of a topic, if it is known without a request. The [hash](crate::domain::key_hash) of its key
    /// decides the partition of a record.
    fn known_partitions(&self, _topic: &str) -> Option<u32> {
        None
    }

    /// Checks whether the partition of a record accepts records again, if it accepted none before. A probe checks
    /// first: a record that is sent without success may still be written, and published twice.
    async fn ask_partition(&self, _record: &Record) -> Result<(), PublishError> {
        Ok(())
    }

    /// Sends one record and waits for the broker's acknowledgement (acks=all), or for the failure.
    async fn publish(&self, record: &Record) -> Result<Acknowledged, PublishError>;

    /// Sends records in order, and waits for the acknowledgement or the failure of each. Records after the last
    /// result were not sent. There is at least one result if there are records.
    async fn publish_all(&self, records: &[Record]) -> Vec<Result<Acknowledged, PublishError>> {
        let mut results = Vec::with_capacity(records.len());
        for record in records {
            results.push(self.publish(record).await);
            if results.last().is_some_and(Result::is_err) {
                break;
            }
        }
        results
    }

    /// Number of partitions of a topic; an error if the broker is away or the topic is missing.
    async fn partitions(&self, topic: &str) -> Result<u32, PublishError>;

    /// Creates missing topics.
    async fn create_topics(&self, topics: &[String], partitions: u32) -> Result<(), PublishError>;

    /// Waits for records in flight, at most for `deadline`.
    async fn flush(&self, deadline: std::time::Duration);
}

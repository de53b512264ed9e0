//! Records that can never be applied (poison): each is copied to the dead letter topic, with headers that name the
//! consumer, the reason, and the original topic, partition and offset.

use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::worker::{Revoked, Worker};
use crate::domain::{CampaignId, EventId};
use crate::parts::broker::kafka::OwnedPartition;
use crate::parts::broker::{CopyOf, Delivered, PublishError};
use crate::parts::store::{NewConsumerLetter, RecordBytes, StoreError};
use crate::runtime::failpoint;
use crate::runtime::telemetry::cause;

/// The kind of fault of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A header is missing or invalid.
    Headers,
    /// The value is not JSON, or lacks a field.
    Value,
    /// An unknown status.
    Status,
    /// Values out of range, or that contradict each other.
    Impossible,
    /// There is no such campaign.
    Campaign,
    /// The rewards database rejects it.
    Refused,
}

impl Flaw {
    /// The word in `firstcome-dead-class`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Value => "value",
            Self::Status => "status",
            Self::Impossible => "impossible",
            Self::Campaign => "unknown_campaign",
            Self::Refused => "refused",
        }
    }
}

/// Why a record is poison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Poison {
    pub(super) flaw: Flaw,
    pub(super) text: String,
}

impl Poison {
    pub(super) fn new(flaw: Flaw, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { flaw, text }
    }
}

impl Worker {
    /// Makes a record a dead letter: first its row, which is authoritative, then a copy in the dead letter topic.
    pub(super) async fn bury(
        &self,
        owned: &OwnedPartition,
        record: &Delivered,
        poison: &Poison,
    ) -> Result<(), Revoked> {
        let (store, consumer) = (&self.parts.store, self.consumer);
        let letter = self.letter(record, poison);
        let is_final = |failure: &StoreError, _| failure.is_about_values();
        let keep = || store.store_consumer_letter(&letter);
        let kept = self.retry(owned, "store a dead letter", is_final, keep);
        if let Err(failure) = kept.await? {
            // Then the copy must be enough.
            tracing::error!(
                consumer = consumer.as_str(),
                partition = record.partition,
                offset = record.offset,
                error = cause(&failure),
                "a dead letter cannot be stored"
            );
        }
        failpoint::point("consumer.kept");
        let copy = || self.copy(record, poison);
        let copied = self.retry(owned, "copy a dead letter", |_, _| false, copy);
        drop(copied.await?);
        failpoint::point("consumer.copied");
        let note = || store.consumer_letter_copied(consumer, letter.event);
        let noted = self.retry(owned, "note the copy of a dead letter", is_final, note);
        drop(noted.await?);
        Ok(())
    }

    fn letter(&self, record: &Delivered, poison: &Poison) -> NewConsumerLetter {
        let payload = record.payload.as_deref().unwrap_or_default();
        let value = serde_json::from_slice::<Value>(payload).unwrap_or_default();
        let campaign = value.get("campaignId").and_then(Value::as_i64);
        let event = record
            .header("ce_id")
            .and_then(|id| Uuid::try_parse(id).ok());
        NewConsumerLetter {
            consumer: self.consumer,
            event: EventId(event.unwrap_or_else(|| made_id(&self.topic, record))),
            campaign: campaign.filter(|id| *id > 0).map(CampaignId),
            event_type: record.header("ce_type").unwrap_or_default().to_owned(),
            topic: self.topic.clone(),
            partition: record.partition,
            offset: record.offset,
            record: RecordBytes {
                key: record.key.clone(),
                headers: record.headers.clone(),
                payload: record.payload.clone(),
            },
            error_class: poison.flaw.as_str(),
            error: poison.text.clone(),
        }
    }

    /// Copies a record to the dead letter topic, and waits for the acknowledgement.
    pub(super) async fn copy(
        &self,
        record: &Delivered,
        poison: &Poison,
    ) -> Result<(), PublishError> {
        let headers = self.headers(record, poison);
        let (kafka, topic) = (&self.parts.kafka, &self.dead_letter_topic);
        let everything = kafka.forward(record, topic, &headers, CopyOf::Everything);
        match everything.await {
            Ok(_) => Ok(()),
            // Too large for that topic: copied without its value.
            Err(PublishError::Record(_)) => {
                let mut headers = headers;
                headers.push(("firstcome-dead-payload", "omitted".to_owned()));
                let head = kafka.forward(record, topic, &headers, CopyOf::HeadOnly);
                head.await.map(drop)
            }
            Err(failure) => Err(failure),
        }
    }

    fn headers(&self, record: &Delivered, poison: &Poison) -> Vec<(&'static str, String)> {
        vec![
            ("firstcome-dead-consumer", self.consumer.as_str().to_owned()),
            ("firstcome-dead-class", poison.flaw.as_str().to_owned()),
            ("firstcome-dead-error", poison.text.clone()),
            ("firstcome-dead-topic", self.topic.clone()),
            ("firstcome-dead-partition", record.partition.to_string()),
            ("firstcome-dead-offset", record.offset.to_string()),
        ]
    }
}

/// The id of a record that has none of its own: the same if the record is read again.
fn made_id(topic: &str, record: &Delivered) -> Uuid {
    let mut digest = Sha256::new();
    digest.update(topic);
    digest.update(record.partition.to_be_bytes());
    digest.update(record.offset.to_be_bytes());
    digest.update(record.payload.as_deref().unwrap_or_default());
    let mut bytes = [0; 16];
    for (byte, of_digest) in bytes.iter_mut().zip(digest.finalize()) {
        *byte = of_digest;
    }
    Builder::from_random_bytes(bytes).into_uuid()
}

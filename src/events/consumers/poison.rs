//! Records that can never be applied (poison): each is copied to the dead letter topic, with headers that name the
//! consumer, the reason, and the original topic, partition and offset.

use super::worker::Worker;
use crate::parts::broker::{CopyOf, Delivered, PublishError};

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
    /// The rewards database refuses it.
    Refused,
}

impl Flaw {
    /// The word in `firstcome-dead-class`.
    const fn as_str(self) -> &'static str {
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

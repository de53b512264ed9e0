//! Records that cannot be applied, ever: each goes alone to the dead letter topic, with headers that say
//! which consumer found it, why, and where it lay.

use super::worker::Worker;
use crate::parts::broker::{CopyOf, Delivered, PublishError};

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A header is missing or is not what it has to be.
    Headers,
    /// The value is not JSON, or not of the shape it has to have.
    Value,
    /// A status that this release does not know.
    Status,
    /// Values that cannot be, or that contradict each other.
    Impossible,
    /// There is no such campaign.
    Campaign,
    /// The rewards database does not take it.
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
    /// Copies a record to the dead letter topic; it is there once this is answered.
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
            // Too large for that topic: its value stays where it lay.
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

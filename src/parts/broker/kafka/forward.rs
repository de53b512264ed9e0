//! Copies records of a topic, byte for byte, into another topic.

use rdkafka::message::{Header, OwnedHeaders};

use super::Kafka;
use super::sender::Outgoing;
use crate::parts::broker::{Acknowledged, CopyOf, Delivered, PublishError};

impl Kafka {
    /// Writes a copy of a record to `topic`, with headers added, and waits for its acknowledgement.
    pub async fn forward(
        &self,
        record: &Delivered,
        topic: &str,
        added: &[(&str, String)],
        copy: CopyOf,
    ) -> Result<Acknowledged, PublishError> {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len() + added.len());
        for (key, value) in &record.headers {
            let value = value.as_deref();
            headers = headers.insert(Header { key, value });
        }
        for (key, value) in added {
            let value = Some(value.as_bytes());
            headers = headers.insert(Header { key, value });
        }
        let outgoing = Outgoing {
            topic,
            key: record.key.as_deref(),
            payload: (copy == CopyOf::Everything)
                .then_some(record.payload.as_deref())
                .flatten(),
            headers,
        };
        super::first_result(
            self.deliver(self.producers.for_copies(), vec![outgoing])
                .await,
        )
    }
}

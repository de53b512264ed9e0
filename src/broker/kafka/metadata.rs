//! What the cluster says of its topics. librdkafka answers on the calling thread, so every question
//! goes to a blocking one and has a bound.

use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer;

use super::{Kafka, classify};
use crate::broker::PublishError;

/// For how long an answer to "is it there?" serves everybody who asks.
const SEEN_FOR: Duration = Duration::from_millis(500);

/// Whether a topic could be reached, and when that was found out.
#[derive(Debug)]
pub(super) struct Seen {
    at: Instant,
    topic: String,
    reachable: bool,
}

/// A topic as the cluster tells of it.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    error: Option<RDKafkaErrorCode>,
    leaders: u32,
    partitions: u32,
}

impl Topic {
    pub(super) fn partitions(&self) -> Result<u32, PublishError> {
        match self.error {
            Some(code) => Err(PublishError::Destination(format!("{}: {code}", self.name))),
            None => Ok(self.partitions),
        }
    }
}

impl Kafka {
    /// One topic, or all there are.
    pub(super) async fn metadata(&self, topic: Option<&str>) -> Result<Vec<Topic>, PublishError> {
        let sender = self.current().sender;
        let topic = topic.map(str::to_owned);
        let timeout = self.config.metadata_timeout;
        let asked = tokio::task::spawn_blocking(move || {
            let metadata = sender.client().fetch_metadata(topic.as_deref(), timeout)?;
            Ok(metadata.topics().iter().map(describe).collect())
        });
        match asked.await {
            Ok(Ok(topics)) => Ok(topics),
            Ok(Err(failure)) => Err(match classify(&failure) {
                // A question left unanswered changed nothing: the broker is just away.
                PublishError::PossiblyDelivered(text) => PublishError::Away(text),
                other => other,
            }),
            Err(failure) => Err(PublishError::Away(failure.to_string())),
        }
    }

    /// Whether every partition of `topic` has a leader that can be reached. Asked once for all who
    /// want to know at the same time.
    pub(super) async fn is_reachable(&self, topic: &str) -> bool {
        let mut seen = self.seen.lock().await;
        if let Some(seen) = &*seen
            && seen.topic == topic
            && seen.at.elapsed() < SEEN_FOR
        {
            return seen.reachable;
        }
        let found = self.metadata(Some(topic)).await;
        let reachable =
            found.is_ok_and(|topics| topics.iter().all(|topic| topic.leaders == topic.partitions));
        *seen = Some(Seen {
            at: Instant::now(),
            topic: topic.to_owned(),
            reachable,
        });
        reachable
    }
}

fn describe(topic: &rdkafka::metadata::MetadataTopic) -> Topic {
    let count = |found: usize| u32::try_from(found).unwrap_or(u32::MAX);
    let partitions = topic.partitions();
    Topic {
        name: topic.name().to_owned(),
        error: topic.error().map(RDKafkaErrorCode::from),
        leaders: count(partitions.iter().filter(|one| one.leader() >= 0).count()),
        partitions: count(partitions.len()),
    }
}

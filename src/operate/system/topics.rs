//! The topics of the installation: their partitions, leaders and offsets. They are read at most once a second for all
//! clients. Reading must not create a missing topic.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{KeyChoice, Timestamp, Topic};
use crate::parts::broker::PublishError;
use crate::parts::broker::kafka::{Kafka, TopicState};
use crate::runtime::cache::ReadThrough;
use crate::runtime::clock::Clock;

/// Maximum age of a fast read.
const AGE_MIN: Duration = Duration::from_secs(1);
/// Maximum age of a slow read: brokers that are available again should not be shown as unavailable for long.
const AGE_MAX: Duration = Duration::from_secs(10);

/// The state of the topics.
#[derive(Clone, Debug)]
pub struct TopicsState {
    /// When they were read.
    pub at: Timestamp,
    /// The key of a record, which selects its partition.
    pub key: KeyChoice,
    /// The topic of each stream, and after it that of its dead letters.
    pub topics: Vec<TopicState>,
}

/// The brokers did not answer.
#[derive(Debug, thiserror::Error)]
#[error("read the state of the topics")]
pub struct TopicsError(#[source] PublishError);

/// Reads the state of the topics.
#[derive(Clone)]
pub struct TopicBoard {
    kafka: Arc<Kafka>,
    names: Vec<String>,
    key: KeyChoice,
    clock: Clock,
    last: ReadThrough<(), Arc<TopicsState>, TopicsError>,
}

impl TopicBoard {
    /// A board for the topics that begin with `topic_prefix`, whose records have `key`.
    #[must_use]
    pub fn new(kafka: Arc<Kafka>, topic_prefix: &str, key: KeyChoice, clock: Clock) -> Self {
        Self {
            kafka,
            names: Topic::names(topic_prefix),
            key,
            clock,
            last: ReadThrough::new(1, AGE_MIN..=AGE_MAX),
        }
    }

    /// The state of the topics.
    pub async fn state(&self) -> Result<Arc<TopicsState>, Arc<TopicsError>> {
        self.last.get((), || self.read()).await
    }

    async fn read(&self) -> Result<Arc<TopicsState>, TopicsError> {
        let at = self.clock.now();
        let topics = self.kafka.topics(self.names.clone()).await;
        Ok(Arc::new(TopicsState {
            at,
            key: self.key,
            topics: topics.map_err(TopicsError)?,
        }))
    }
}

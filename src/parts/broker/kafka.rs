//! Apache Kafka through librdkafka: an idempotent producer, acks=all, Java-compatible partitions.
//! Owns the producer and rebuilds it after a fatal error of librdkafka; does not know the outbox.

mod classify;
mod client_config;
mod config;
mod deliver;
mod durability;
mod embedded;
mod forward;
mod group;
mod metadata;
mod producers;
mod progress;
mod questions;
mod read;
mod rewind;
mod sender;
mod topic_error;
mod topics;
mod writability;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseProducer;
use tokio::sync::Mutex;

use super::{Acknowledged, PublishError, Publisher, Record};
use classify::classify;
pub use config::{KafkaConfig, SaslMechanism, SecurityProtocol};
pub use durability::Durability;
pub use group::{GroupConfig, GroupError, Hooks, OwnedPartition};
use producers::Producers;
use progress::Progress;
pub use read::{Extent, ReadError};
pub use rewind::RewindError;
use sender::Outgoing;
pub use topic_error::TopicError;
pub use topics::{PartitionState, TopicState};

type Admin = AdminClient<DefaultClientContext>;

/// Logs the messages and errors of librdkafka as tracing events.
#[derive(Clone, Copy, Debug)]
struct Traced;

impl ClientContext for Traced {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(kafka.facility = facility, "{text}"),
            _ => tracing::debug!(kafka.facility = facility, "{text}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(kafka.error = %error, "{reason}");
    }
}

/// Publishes to Kafka.
pub struct Kafka {
    config: KafkaConfig,
    producers: Producers,
    progress: Progress,
    /// The required number of in-sync replicas of each topic, and when it was read.
    in_sync_min: Mutex<HashMap<String, (Instant, Option<usize>)>>,
    /// Locked while the number of partitions of a topic is read after a failure.
    counting: Mutex<()>,
    /// Hosts the embedded cluster and sends nothing. The last field, so that the producers end before their broker.
    embedded: Option<BaseProducer>,
}

impl Kafka {
    /// A producer that is connected to a broker; an unavailable broker is an error.
    pub async fn connect(config: KafkaConfig) -> Result<Arc<Self>, PublishError> {
        Self::open(config, None).await
    }

    async fn open(
        config: KafkaConfig,
        embedded: Option<BaseProducer>,
    ) -> Result<Arc<Self>, PublishError> {
        let kafka = Arc::new(Self {
            producers: Producers::new(&config)?,
            progress: Progress::default(),
            in_sync_min: Mutex::default(),
            counting: Mutex::default(),
            embedded,
            config,
        });
        kafka.metadata(None).await?;
        Ok(kafka)
    }

    /// Makes a request of the admin API.
    async fn as_admin<T>(
        &self,
        request: impl AsyncFnOnce(&Admin) -> KafkaResult<T>,
    ) -> Result<T, PublishError> {
        let admin: Admin = self.config.client().create().map_err(|e| classify(&e))?;
        let answer = request(&admin).await;
        // Its drop waits for its thread.
        drop(tokio::task::spawn_blocking(move || drop(admin)));
        answer.map_err(|failure| classify(&failure))
    }

    async fn create(&self, missing: &[&String], partitions: u32) -> Result<(), PublishError> {
        let partitions = i32::try_from(partitions.max(1)).unwrap_or(i32::MAX);
        if let Some(host) = &self.embedded {
            return embedded::create_topics(host, missing, partitions);
        }
        let topics: Vec<NewTopic<'_>> = missing
            .iter()
            // The default replication of the brokers, which their operator chose.
            .map(|topic| NewTopic::new(topic, partitions, TopicReplication::Fixed(-1)))
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(self.config.metadata_timeout));
        let create = async |admin: &Admin| admin.create_topics(&topics, &options).await;
        for result in self.as_admin(create).await? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    return Err(PublishError::Destination(format!("{topic}: {code}")));
                }
            }
        }
        Ok(())
    }
}

/// The result of a record that was sent alone.
fn first_result(
    results: Vec<Result<Acknowledged, PublishError>>,
) -> Result<Acknowledged, PublishError> {
    let result = results.into_iter().next();
    result.unwrap_or_else(|| Err(PublishError::Fatal("there is no result".to_owned())))
}

/// The headers of a record for librdkafka. Public for a benchmark.
#[must_use]
pub fn headers(record: &Record) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
    for (key, value) in &record.headers {
        let value = Some(value);
        headers = headers.insert(Header { key, value });
    }
    headers
}

#[async_trait]
impl Publisher for Kafka {
    fn known_partitions(&self, topic: &str) -> Option<u32> {
        self.producers.partitions(topic)
    }

    async fn ask_partition(&self, record: &Record) -> Result<(), PublishError> {
        let (topic, key) = (&record.topic, &record.key);
        if !self
            .progress
            .is_away(topic, self.producers.partition(topic, key))
        {
            return Ok(());
        }
        if self.producers.partition(topic, key).is_none() {
            self.partitions(topic).await?;
        }
        let Some(current) = self.producers.of(topic, key) else {
            return Ok(());
        };
        let partition = self.producers.partition(topic, key);
        let writability = self.writability(&current, topic, partition).await;
        let failure = writability.failure(topic);
        if matches!(failure, Some(PublishError::Away(_))) {
            // While nothing is sent, only these checks show that a producer has become silent.
            self.producers.timed_out(&self.config, &current);
        }
        failure.map_or(Ok(()), Err)
    }

    async fn publish(&self, record: &Record) -> Result<Acknowledged, PublishError> {
        let results = self.publish_all(std::slice::from_ref(record)).await;
        first_result(results)
    }

    async fn publish_all(&self, records: &[Record]) -> Vec<Result<Acknowledged, PublishError>> {
        let Some(first) = records.first() else {
            return Vec::new();
        };
        let current = self.producers.of(&first.topic, &first.key);
        let outgoing = records.iter().map(|record| Outgoing {
            topic: &record.topic,
            key: Some(record.key.as_bytes()),
            payload: Some(record.payload.as_bytes()),
            headers: headers(record),
        });
        self.deliver(current, outgoing.collect()).await
    }

    async fn partitions(&self, topic: &str) -> Result<u32, PublishError> {
        Ok(self.find_topic(topic).await?)
    }

    async fn create_topics(&self, topics: &[String], partitions: u32) -> Result<(), PublishError> {
        let present = self.metadata(None).await?;
        let missing: Vec<&String> = topics
            .iter()
            .filter(|name| !present.iter().any(|topic| topic.name == **name))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.create(&missing, partitions).await
    }

    async fn flush(&self, deadline: Duration) {
        let senders = self.producers.all();
        let flushed = tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let left = || deadline.saturating_sub(began.elapsed());
            let mut flushed = senders.iter().map(|sender| sender.flush(left()));
            (flushed.try_for_each(|one| one), began.elapsed())
        });
        match flushed.await {
            Ok((Ok(()), took)) => tracing::debug!(took_ms = took.as_millis(), "producer flushed"),
            Ok((Err(failure), _)) => tracing::warn!(%failure, "producer not flushed in time"),
            Err(failure) => tracing::error!(%failure, "flush of the producer ended unexpectedly"),
        }
    }
}

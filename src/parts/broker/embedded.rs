//! The broker that needs no installation: librdkafka's mock cluster in this process. In memory, so
//! what was published is gone with the process; any Kafka client can read it at its address.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer};

use super::kafka::{Kafka, KafkaConfig};
use super::{Acknowledged, PublishError, Publisher, Record, Turn};

/// The mock cluster as its host sees it.
pub type Cluster<'a> = MockCluster<'a, DefaultProducerContext>;

/// A broker of one node and the producer that writes to it.
pub struct Embedded {
    /// Lives as long as its cluster; sends nothing itself.
    host: BaseProducer,
    kafka: Arc<Kafka>,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Embedded")
            .field("kafka", &self.kafka)
            .finish_non_exhaustive()
    }
}

impl Embedded {
    /// Starts the broker and connects a producer to it; `config.brokers` is not looked at.
    pub async fn start(config: KafkaConfig) -> Result<Arc<Self>, PublishError> {
        let host: BaseProducer = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .create()
            .map_err(|failure| PublishError::Fatal(failure.to_string()))?;
        let brokers = host
            .client()
            .mock_cluster()
            .map(|cluster| cluster.bootstrap_servers())
            .ok_or_else(|| PublishError::Fatal("librdkafka has no mock cluster".to_owned()))?;
        let kafka = Kafka::connect(KafkaConfig {
            brokers: Some(brokers),
            producers: 1,
            ..config
        })
        .await?;
        Ok(Arc::new(Self { host, kafka }))
    }

    /// What reads and writes here as it would at a real broker.
    #[must_use]
    pub fn kafka(&self) -> Arc<Kafka> {
        Arc::clone(&self.kafka)
    }

    /// `host:port` for any Kafka client.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        let cluster = self.host.client().mock_cluster();
        cluster.map_or_else(String::new, |cluster| cluster.bootstrap_servers())
    }

    /// Does something with the cluster itself: tests inject failures so.
    pub fn with_cluster<T>(&self, work: impl FnOnce(&Cluster<'_>) -> T) -> Option<T> {
        self.host
            .client()
            .mock_cluster()
            .map(|cluster| work(&cluster))
    }
}

#[async_trait]
impl Publisher for Embedded {
    async fn turn(&self, record: &Record) -> Option<Turn> {
        self.kafka.turn(record).await
    }

    fn known_partitions(&self, topic: &str) -> Option<u32> {
        self.kafka.known_partitions(topic)
    }

    async fn ask_partition(&self, record: &Record) -> Result<(), PublishError> {
        self.kafka.ask_partition(record).await
    }

    async fn publish(&self, record: &Record) -> Result<Acknowledged, PublishError> {
        self.kafka.publish(record).await
    }

    async fn publish_in_bulk(&self, record: &Record) -> Result<Acknowledged, PublishError> {
        self.kafka.publish_in_bulk(record).await
    }

    async fn partitions(&self, topic: &str) -> Result<u32, PublishError> {
        self.kafka.partitions(topic).await
    }

    /// The mock cluster has no admin API, so topics are made from within.
    async fn create_topics(&self, topics: &[String], partitions: u32) -> Result<(), PublishError> {
        let partitions = i32::try_from(partitions.max(1)).unwrap_or(i32::MAX);
        for topic in topics {
            let created = self.with_cluster(|cluster| cluster.create_topic(topic, partitions, 1));
            match created {
                Some(
                    Ok(()) | Err(KafkaError::MockCluster(RDKafkaErrorCode::TopicAlreadyExists)),
                ) => {}
                Some(Err(failure)) => return Err(PublishError::Destination(failure.to_string())),
                None => return Err(PublishError::Fatal("the mock cluster is gone".to_owned())),
            }
        }
        Ok(())
    }

    async fn flush(&self, deadline: Duration) {
        self.kafka.flush(deadline).await;
    }
}

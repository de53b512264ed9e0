//! The broker without an installation: librdkafka's mock cluster in this process. It is in memory, so its records are
//! lost when the process ends. Any Kafka client can connect to its address.

use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer};

use super::{Kafka, KafkaConfig};
use crate::parts::broker::PublishError;

pub type Cluster<'a> = MockCluster<'a, DefaultProducerContext>;

impl Kafka {
    /// Starts a broker of one node in this process and connects to it; `config.brokers` is ignored.
    pub async fn embedded(config: KafkaConfig) -> Result<Arc<Self>, PublishError> {
        let host: BaseProducer = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .create()
            .map_err(|failure| PublishError::Fatal(failure.to_string()))?;
        let brokers = host
            .client()
            .mock_cluster()
            .map(|cluster| cluster.bootstrap_servers())
            .ok_or_else(|| PublishError::Fatal("librdkafka has no mock cluster".to_owned()))?;
        let config = KafkaConfig {
            brokers: Some(brokers),
            producers: 1,
            ..config
        };
        Self::open(config, Some(host)).await
    }

    /// `host:port` for any Kafka client.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        self.config.brokers.clone().unwrap_or_default()
    }

    /// Calls the embedded cluster, if there is one: tests inject failures with it.
    pub fn with_cluster<T>(&self, work: impl FnOnce(&Cluster<'_>) -> T) -> Option<T> {
        let cluster = self.embedded.as_ref()?.client().mock_cluster();
        cluster.map(|cluster| work(&cluster))
    }
}

/// Creates topics in the mock cluster, which has no admin API.
pub(super) fn create_topics(
    host: &BaseProducer,
    topics: &[&String],
    partitions: i32,
) -> Result<(), PublishError> {
    let Some(cluster) = host.client().mock_cluster() else {
        return Err(PublishError::Fatal("the mock cluster is gone".to_owned()));
    };
    for topic in topics {
        match cluster.create_topic(topic, partitions, 1) {
            Ok(()) | Err(KafkaError::MockCluster(RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err(failure) => return Err(PublishError::Destination(failure.to_string())),
        }
    }
    Ok(())
}

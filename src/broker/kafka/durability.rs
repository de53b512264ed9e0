//! How safe a topic keeps what it acknowledged; asked by the doctor.

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use super::super::PublishError;
use super::{Kafka, classify};

/// What a topic's acknowledgement is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durability {
    /// Copies of each record.
    pub replication: usize,
    /// Copies that exist before a record is acknowledged.
    pub min_insync_replicas: u32,
}

impl Kafka {
    /// Asks the brokers about a topic.
    pub async fn durability(&self, topic: &str) -> Result<Durability, PublishError> {
        let config = self.config.client();
        let timeout = self.config.metadata_timeout;
        let name = topic.to_owned();
        let replication = tokio::task::spawn_blocking(move || {
            use rdkafka::consumer::{BaseConsumer, Consumer};
            let consumer: BaseConsumer = config.create()?;
            let metadata = consumer.fetch_metadata(Some(&name), timeout)?;
            let replicas = metadata
                .topics()
                .iter()
                .flat_map(rdkafka::metadata::MetadataTopic::partitions)
                .map(|partition| partition.replicas().len());
            Ok(replicas.min().unwrap_or(0))
        })
        .await
        .map_err(|failure| PublishError::Fatal(failure.to_string()))?
        .map_err(|failure| classify(&failure))?;
        let admin: AdminClient<DefaultClientContext> = self
            .config
            .client()
            .create()
            .map_err(|failure| classify(&failure))?;
        let options = AdminOptions::new().request_timeout(Some(timeout));
        let described = admin
            .describe_configs(&[ResourceSpecifier::Topic(topic)], &options)
            .await;
        let described = described.map_err(|failure| classify(&failure))?;
        let min_insync_replicas = described
            .iter()
            .flatten()
            .filter_map(|resource| resource.get("min.insync.replicas"))
            .find_map(|entry| entry.value.as_deref()?.parse().ok())
            .unwrap_or(1);
        Ok(Durability {
            replication,
            min_insync_replicas,
        })
    }
}

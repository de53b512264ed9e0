//! How a topic keeps what it acknowledged; asked by the doctor.

use std::collections::BTreeMap;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use super::super::{PublishError, Publisher};
use super::{Kafka, classify};

/// What a topic's acknowledgement is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    /// Copies of each record.
    pub replication: usize,
    /// The topic's settings, the brokers' defaults included.
    pub settings: BTreeMap<String, String>,
}

impl Kafka {
    /// The largest batch its producers send.
    #[must_use]
    pub const fn batch_bytes_max(&self) -> u32 {
        self.config.message_bytes_max
    }

    /// Asks the brokers about a topic. One that is missing is a `Destination` error.
    pub async fn durability(&self, topic: &str) -> Result<Durability, PublishError> {
        self.partitions(topic).await?;
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
        let settings = described
            .into_iter()
            .flatten()
            .flat_map(|resource| resource.entries)
            .filter_map(|entry| Some((entry.name, entry.value?)))
            .collect();
        Ok(Durability {
            replication,
            settings,
        })
    }
}

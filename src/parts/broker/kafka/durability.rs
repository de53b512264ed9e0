//! The durability of acknowledged records of a topic: for the doctor, and for partitions that have lost replicas.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, ResourceSpecifier};

use super::super::{PublishError, Publisher};
use super::{Admin, Kafka, classify};

/// The setting for the required number of in-sync replicas.
const IN_SYNC_MIN: &str = "min.insync.replicas";
/// How long a reading of it is used.
const KNOWN_FOR: Duration = Duration::from_secs(10);

/// The durability of a topic's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    /// Replicas of each partition.
    pub replication: usize,
    /// The topic's settings, including the brokers' defaults.
    pub settings: BTreeMap<String, String>,
}

impl Kafka {
    /// The largest batch of its producers.
    #[must_use]
    pub const fn batch_bytes_max(&self) -> u32 {
        self.config.message_bytes_max
    }

    /// Reads the durability of a topic. A missing topic is a `Destination` error.
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
        let settings = self.settings(topic).await?;
        Ok(Durability {
            replication,
            settings,
        })
    }

    /// The required number of in-sync replicas of the topic; none: the cluster does not report it.
    pub(super) async fn in_sync_min(&self, topic: &str) -> Option<usize> {
        let mut known = self.in_sync_min.lock().await;
        if let Some((at, found)) = known.get(topic)
            && at.elapsed() < KNOWN_FOR
        {
            return *found;
        }
        let found = match self.settings(topic).await {
            Ok(settings) => settings.get(IN_SYNC_MIN).and_then(|it| it.parse().ok()),
            Err(failure) => {
                tracing::debug!(kafka.topic = topic, error = %failure, "cannot read the settings of a topic");
                None
            }
        };
        known.insert(topic.to_owned(), (Instant::now(), found));
        found
    }

    /// The settings of a topic, including the brokers' defaults.
    async fn settings(&self, topic: &str) -> Result<BTreeMap<String, String>, PublishError> {
        let options = AdminOptions::new().request_timeout(Some(self.config.metadata_timeout));
        let topic = [ResourceSpecifier::Topic(topic)];
        let describe = async |admin: &Admin| admin.describe_configs(&topic, &options).await;
        let described = self.as_admin(describe).await?;
        let entries = described
            .into_iter()
            .flatten()
            .flat_map(|resource| resource.entries);
        Ok(entries
            .filter_map(|entry| Some((entry.name, entry.value?)))
            .collect())
    }
}

//! How a topic keeps what it acknowledged: asked by the doctor, and where a partition has lost replicas.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, ResourceSpecifier};

use super::super::{PublishError, Publisher};
use super::{Admin, Kafka, classify};

/// The setting that says how many replicas have to be in sync.
const IN_SYNC_MIN: &str = "min.insync.replicas";
/// For how long it is taken to be as it was.
const KNOWN_FOR: Duration = Duration::from_secs(10);

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
        let settings = self.settings(topic).await?;
        Ok(Durability {
            replication,
            settings,
        })
    }

    /// How many in-sync replicas the topic asks for, by its settings; none: the cluster does not say.
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

    /// The settings of a topic, the brokers' defaults included.
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

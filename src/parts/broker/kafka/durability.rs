//! The durability of acknowledged records of a topic: for the doctor, and for partitions that have lost replicas.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, ConfigResourceResult, ResourceSpecifier};

use super::super::PublishError;
use super::topic_error::TopicError;
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
    /// The topic's settings, including the brokers' defaults; or why the brokers do not show them.
    pub settings: Result<BTreeMap<String, String>, String>,
}

impl Kafka {
    /// The largest batch of its producers.
    #[must_use]
    pub const fn batch_bytes_max(&self) -> u32 {
        self.config.message_bytes_max
    }

    /// Reads the durability of a topic. If the brokers do not show its settings, the reason is in their place.
    pub async fn durability(&self, topic: &str) -> Result<Durability, TopicError> {
        self.find_topic(topic).await?;
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
        let settings = match self.settings(topic).await {
            Ok(settings) => Ok(settings),
            Err(PublishError::Destination(reason)) => Err(reason),
            Err(failure) => return Err(failure.into()),
        };
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
        let named = [ResourceSpecifier::Topic(topic)];
        let describe = async |admin: &Admin| admin.describe_configs(&named, &options).await;
        entries(topic, self.as_admin(describe).await?)
    }
}

/// The settings in the answer about a topic. The brokers may refuse to show them.
fn entries(
    topic: &str,
    described: Vec<ConfigResourceResult>,
) -> Result<BTreeMap<String, String>, PublishError> {
    let mut settings = BTreeMap::new();
    for resource in described {
        let refused = |code| PublishError::Destination(format!("{topic}: {code}"));
        let entries = resource.map_err(refused)?.entries.into_iter();
        settings.extend(entries.filter_map(|entry| Some((entry.name, entry.value?))));
    }
    // The client passes a refusal on as a topic without settings, and no topic is without.
    if settings.is_empty() {
        let none = format!("{topic}: the brokers show none of its settings");
        return Err(PublishError::Destination(none));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use rdkafka::admin::{ConfigEntry, ConfigResource, ConfigSource, OwnedResourceSpecifier};
    use rdkafka::error::RDKafkaErrorCode;

    use super::*;

    #[test]
    fn a_refused_reading_of_the_settings_is_an_error_with_its_reason() {
        let described = vec![Err(RDKafkaErrorCode::TopicAuthorizationFailed)];
        let refused = entries("t", described).unwrap_err();
        assert_eq!(refused.class(), "destination");
        let said = refused.to_string();
        assert!(
            said.contains("t: ") && said.contains("authorization failed"),
            "{said}"
        );
    }

    #[test]
    fn settings_without_a_value_are_left_out() {
        let entry = |name: &str, value: Option<&str>| ConfigEntry {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            source: ConfigSource::Default,
            is_read_only: false,
            is_default: true,
            is_sensitive: false,
        };
        let resource = ConfigResource {
            specifier: OwnedResourceSpecifier::Topic("t".to_owned()),
            entries: vec![entry(IN_SYNC_MIN, Some("2")), entry("hidden", None)],
        };
        let found = entries("t", vec![Ok(resource)]).unwrap();
        let wanted = BTreeMap::from([(IN_SYNC_MIN.to_owned(), "2".to_owned())]);
        assert_eq!(found, wanted);
    }
}

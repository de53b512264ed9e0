//! Opens the configured parts, or the embedded ones in their place. An unreachable part is reported in one line: which
//! part, its address, and what to try.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;

use super::data_folder;
use crate::config::Config;
use crate::domain::Topic;
use crate::http::listen;
use crate::parts::broker::kafka::{Kafka, TopicError};
use crate::parts::broker::{PublishError, Publisher};
use crate::parts::gate::ScriptGate;
use crate::parts::pubsub::Nodes;
use crate::parts::store::{Store, StoreConfig};
use crate::runtime::clock::Clock;
use crate::runtime::retry;

/// Opening a part takes at most this long.
const OPEN_TIMEOUT: Duration = Duration::from_secs(8);

/// The clock of the process: the database's, if that is a server.
pub(super) fn clock(config: &Config) -> Clock {
    let url = config.database.url.as_ref();
    if url.is_some_and(|url| url.expose_secret().starts_with("mysql:")) {
        Clock::of_database()
    } else {
        Clock::System
    }
}

/// Opens the store.
pub(super) async fn store(config: &Config, clock: Clock) -> anyhow::Result<Store> {
    let (url, advice) = match &config.database.url {
        Some(url) => (
            url.expose_secret().to_owned(),
            "is it up, and is FIRSTCOME_DATABASE_URL right?",
        ),
        None => (
            format!(
                "sqlite://{}",
                data_folder::database(config, data_folder::EVENTS)?.display()
            ),
            "is the data folder writable?",
        ),
    };
    let settings = StoreConfig {
        url: Some(url.as_str().into()),
        ..config.database.clone()
    };
    let place = without_credentials(&url);
    within(Store::connect(&settings, clock))
        .await
        .with_context(|| format!("cannot open the database at {place} ({advice})"))
}

/// Opens the store and brings its schema up to date.
pub(super) async fn migrated_store(config: &Config, clock: Clock) -> anyhow::Result<Store> {
    let store = store(config, clock).await?;
    store
        .migrate()
        .await
        .context("cannot bring the schema up to date")?;
    Ok(store)
}

/// Listens on the address of the API.
pub(super) fn listener(config: &Config) -> anyhow::Result<TcpListener> {
    let address = config.http.listen;
    listen(address)
        .with_context(|| format!("cannot listen on {address} (set FIRSTCOME_HTTP_LISTEN)"))
}

/// Listens on the address for operators, if there is one.
pub(super) fn management_listener(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let listener = config.http.management_listen.map(|address| {
        listen(address).with_context(|| {
            format!("cannot listen on {address} (set FIRSTCOME_HTTP_MANAGEMENT_LISTEN)")
        })
    });
    listener.transpose()
}

/// Listens on the address of a process that has only probes and metrics.
pub(super) fn probe_listener(config: &Config) -> anyhow::Result<TcpListener> {
    management_listener(config)?.map_or_else(|| listener(config), Ok)
}

/// Opens the gate.
pub(super) async fn gate(config: &Config, clock: Clock) -> anyhow::Result<ScriptGate> {
    if config.redis.url.is_none() {
        let gate = ScriptGate::in_process(clock, &config.redis.prefix)?;
        return Ok(gate.with_over_retention(config.gate.over_retention));
    }
    let gate = redis_gate(config).await?;
    Ok(gate.with_over_retention(config.gate.over_retention))
}

/// Opens the gate in Redis.
pub(super) async fn redis_gate(config: &Config) -> anyhow::Result<ScriptGate> {
    let url = config
        .redis
        .url
        .as_ref()
        .context("no Redis is configured (set FIRSTCOME_REDIS_URL)")?;
    let place = without_credentials(url.expose_secret());
    within(ScriptGate::redis(&config.redis, &config.redis.prefix))
        .await
        .with_context(|| {
            format!("cannot reach Redis at {place} (is it up, and is FIRSTCOME_REDIS_URL right?)")
        })
}

/// The broker, and the address where other processes can read it.
pub(super) struct Broker {
    pub(super) publisher: Arc<dyn Publisher>,
    /// The same broker, for readers.
    pub(super) kafka: Arc<Kafka>,
    pub(super) address: String,
}

impl Broker {
    fn new(kafka: Arc<Kafka>, address: String) -> Self {
        Self {
            publisher: Arc::<Kafka>::clone(&kafka),
            kafka,
            address,
        }
    }
}

/// Opens the broker, and makes sure that the topics exist.
pub(super) async fn broker(config: &Config) -> anyhow::Result<Broker> {
    let topics = topics(config);
    let Some(address) = config.kafka.brokers.clone() else {
        let kafka = Kafka::embedded(config.kafka.clone())
            .await
            .context("cannot start the embedded broker")?;
        kafka
            .create_topics(&topics, config.kafka.partitions)
            .await?;
        let address = kafka.bootstrap_servers();
        return Ok(Broker::new(kafka, address));
    };
    let kafka = kafka(config).await?;
    if config.kafka.create_topics {
        within(kafka.create_topics(&topics, config.kafka.partitions))
            .await
            .with_context(|| format!("cannot create topics at {address}"))?;
    }
    for topic in &topics {
        found(kafka.as_ref(), topic, config.kafka.create_topics)
            .await
            .map_err(|error| unusable(topic, &address, error))?;
    }
    Ok(Broker::new(kafka, address))
}

/// Checks a topic, and returns the number of its partitions. A new topic takes a moment until every broker
/// knows it, and some seconds with thousands of topics. A missing permission is not waited for.
async fn found(kafka: &Kafka, topic: &str, just_created: bool) -> Result<u32, TopicError> {
    let policy = retry::Policy {
        initial: Duration::from_millis(50),
        max: Duration::from_millis(500),
        multiplier: 2.0,
        attempts_max: if just_created { 60 } else { 1 },
    };
    let classify = |error: &TopicError| match error {
        TopicError::Missing(_) | TopicError::Other(PublishError::Destination(_)) => {
            retry::RetryDecision::Again
        }
        TopicError::NotAllowed(_) | TopicError::Other(_) => retry::RetryDecision::GiveUp,
    };
    retry::retry(&policy, classify, || kafka.find_topic(topic)).await
}

/// The error for a topic that cannot be used, with what to try.
fn unusable(topic: &str, address: &str, error: TopicError) -> anyhow::Error {
    let advice = match &error {
        TopicError::Missing(_) => " (create it, or set FIRSTCOME_KAFKA_CREATE_TOPICS=true)",
        TopicError::NotAllowed(_) => {
            " (grant the user Describe on it; Read and Write include Describe)"
        }
        TopicError::Other(_) => "",
    };
    anyhow::Error::new(error).context(format!("cannot use topic {topic} at {address}{advice}"))
}

/// Fails unless Kafka is configured, which `reader` reads.
pub(super) fn need_kafka(config: &Config, reader: &str) -> anyhow::Result<()> {
    ensure!(
        config.kafka.brokers.is_some(),
        "{reader} reads Kafka, and none is configured (set FIRSTCOME_KAFKA_BROKERS)"
    );
    Ok(())
}

/// Opens the real broker.
pub(super) async fn kafka(config: &Config) -> anyhow::Result<Arc<Kafka>> {
    let address = config.kafka.brokers.as_deref().unwrap_or_default();
    within(Kafka::connect(config.kafka.clone()))
        .await
        .with_context(|| {
            format!(
                "cannot reach Kafka at {address} (is it up, and is FIRSTCOME_KAFKA_BROKERS right?)"
            )
        })
}

/// The topics of this installation.
pub(super) fn topics(config: &Config) -> Vec<String> {
    Topic::names(&config.kafka.topic_prefix)
}

/// The admin token: the configured one or, if all three parts are embedded, one that is generated once and stored.
pub(super) fn admin_token(config: &Config) -> anyhow::Result<Option<SecretString>> {
    if config.admin.token.is_some() || config.embedded_parts().len() < 3 {
        return Ok(config.admin.token.clone());
    }
    Ok(Some(data_folder::admin_token(config)?.into()))
}

pub(super) async fn within<T, E>(opening: impl Future<Output = Result<T, E>>) -> anyhow::Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match tokio::time::timeout(OPEN_TIMEOUT, opening).await {
        Ok(opened) => Ok(opened?),
        Err(_) => Err(anyhow!("no answer within {} s", OPEN_TIMEOUT.as_secs())),
    }
}

/// A URL, or several separated by commas, without their credentials.
pub(super) fn without_credentials(urls: &str) -> String {
    let place = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://{place}"),
        _ => url.to_owned(),
    };
    urls.split(',').map(place).collect::<Vec<_>>().join(",")
}

/// The Redis servers that connect replicas; none: there is only this process.
pub(super) fn redis_nodes(config: &Config) -> anyhow::Result<Option<Nodes>> {
    let nodes = config.redis.url.as_ref().map(|_| config.redis.clients());
    let nodes = nodes
        .transpose()
        .context("cannot use FIRSTCOME_REDIS_URL")?;
    Ok(nodes.map(Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_topic_is_to_be_created() {
        let told = |error| format!("{:#}", unusable("t", "host:1", error));
        let reason = || "t: a reason".to_owned();
        let missing = told(TopicError::Missing(reason()));
        assert!(missing.contains("create it"), "{missing}");
        let denied = told(TopicError::NotAllowed(reason()));
        assert!(!denied.contains("create it"), "{denied}");
        assert!(denied.contains("grant the user Describe"), "{denied}");
        let failed = told(TopicError::Other(PublishError::Destination(reason())));
        assert!(!failed.contains("create it"), "{failed}");
        assert!(failed.contains("t: a reason"), "{failed}");
    }

    #[test]
    fn credentials_are_removed_from_urls() {
        assert_eq!(
            without_credentials("mysql://root:pw@host:1/db"),
            "mysql://host:1/db"
        );
        assert_eq!(without_credentials("redis://host:1"), "redis://host:1");
        assert_eq!(
            without_credentials("redis://:pw@a:1,redis://:pw@b:2"),
            "redis://a:1,redis://b:2"
        );
    }
}

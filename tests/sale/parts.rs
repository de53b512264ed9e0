//! The parts that a run shares with other programs: the settings of the replicas for them, and the removal of its data
//! at the end.

use std::time::Duration;

use firstcome::domain::Topic;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

use crate::key::Key;
use crate::replica::ADMIN_TOKEN;

/// The gate's lease: how long the units of a lost commit stay taken.
pub const GATE_LEASE: Duration = Duration::from_secs(3);

/// The consumers of a run with a campaign whose units earn points.
pub const POINTS: &str = "points";

/// A variable that `scripts/parts env` prints. The test fails without it.
pub fn real(variable: &str) -> String {
    std::env::vars()
        .find_map(|(name, value)| (name == variable).then_some(value))
        .unwrap_or_else(|| panic!("{variable} is not set: run `make test`"))
}

/// The settings of a replica, with these consumers: short leases, everything else as in production.
pub fn settings(
    key: Key,
    prefix: &str,
    (database, redis, brokers): (&str, &str, &str),
    consumers: &str,
) -> Vec<(String, String)> {
    let lease = format!("{}ms", GATE_LEASE.as_millis());
    [
        ("HTTP_LISTEN", "127.0.0.1:0"),
        ("ADMIN_TOKEN", ADMIN_TOKEN),
        ("DATABASE_URL", database),
        ("DATABASE_RESPONSE_TIMEOUT", "2s"),
        ("REDIS_URL", redis),
        ("REDIS_PREFIX", prefix),
        ("KAFKA_BROKERS", brokers),
        ("KAFKA_TOPIC_PREFIX", prefix),
        ("KAFKA_CREATE_TOPICS", "true"),
        ("KAFKA_KEY", key.name()),
        ("KAFKA_MESSAGE_TIMEOUT", "1s"),
        ("GATE_LEASE", &lease),
        ("GATE_SWEEP_INTERVAL", "1s"),
        ("RELAY_LEASE", "4s"),
        ("RELAY_RETRY_MAX", "1s"),
        ("CONSUMERS_ENABLED", consumers),
        ("CONSUMERS_SESSION_TIMEOUT", "6s"),
        // Published events of the campaign that its administrator closes are aged, and deleted.
        ("RETENTION_PUBLISHED_EVENTS", "1h"),
        ("RETENTION_INTERVAL", "1s"),
        ("RETENTION_SWEEP_INTERVAL", "1s"),
        ("SHUTDOWN_DEADLINE", "5s"),
    ]
    .map(|(name, value)| (format!("FIRSTCOME_{name}"), value.to_owned()))
    .into()
}

/// The schema of the rewards database of a service with this schema.
pub fn rewards_of(schema: &str) -> String {
    format!("{schema}_rewards")
}

/// Removes the keys of a run from Redis.
pub async fn remove_keys(redis_url: &str, prefix: &str) -> redis::RedisResult<()> {
    let client = redis::Client::open(redis_url)?;
    let mut redis = client.get_multiplexed_async_connection().await?;
    let pattern = format!("{prefix}:*");
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(pattern)
        .query_async(&mut redis)
        .await?;
    if keys.is_empty() {
        return Ok(());
    }
    redis::cmd("DEL").arg(&keys).exec_async(&mut redis).await
}

/// Removes the topics of a run.
pub async fn remove_topics(brokers: &str, prefix: &str) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .unwrap();
    let topics = Topic::names(prefix);
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    for deleted in admin.delete_topics(&names, &options).await.unwrap() {
        deleted.unwrap();
    }
}

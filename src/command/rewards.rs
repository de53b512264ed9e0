//! Opens the rewards database, and starts the consumers that grant in it.

use std::sync::Arc;

use anyhow::Context;
use secrecy::ExposeSecret;

use super::process::Process;
use super::{data_folder, parts};
use crate::config::Config;
use crate::domain::Consumer;
use crate::events::consumers::{self, ConsumerConfig, Metrics, Parts};
use crate::parts::store::{Rewards, Store, StoreConfig};
use crate::runtime::clock::Clock;
use crate::sale::catalogue::{Catalogue, CatalogueConfig};

/// Suffix of the schema beside that of the events.
const SCHEMA_SUFFIX: &str = "_rewards";

/// Opens the rewards database, if this process uses it, and brings its schema up to date.
pub(super) async fn open_if_used(
    config: &Config,
    store: &Store,
    clock: &Clock,
) -> anyhow::Result<Option<Rewards>> {
    let is_used = config.rewards.database_url.is_some()
        || store.is_embedded()
        || !config.consumers_of_serve().is_empty();
    if !is_used {
        return Ok(None);
    }
    Ok(Some(open(config, store, clock).await?))
}

/// Opens the rewards database, and brings its schema up to date. Creates it, unless its URL is configured.
pub(super) async fn open(config: &Config, store: &Store, clock: &Clock) -> anyhow::Result<Rewards> {
    let (url, schema) = place(config)?;
    if let Some(schema) = schema.filter(|_| !store.is_embedded()) {
        store.create_schema(&schema).await.with_context(|| {
            format!(
                "cannot create the schema {schema} (create it, or set FIRSTCOME_REWARDS_DATABASE_URL)"
            )
        })?;
    }
    let rewards = connect(config, &url, clock).await?;
    let place = parts::without_credentials(&url);
    rewards
        .migrate()
        .await
        .with_context(|| format!("cannot bring the schema of {place} up to date"))?;
    Ok(rewards)
}

/// Opens the rewards database without a migration.
pub(super) async fn find(config: &Config, clock: &Clock) -> anyhow::Result<Rewards> {
    connect(config, &place(config)?.0, clock).await
}

async fn connect(config: &Config, url: &str, clock: &Clock) -> anyhow::Result<Rewards> {
    let settings = StoreConfig {
        url: Some(url.into()),
        connections_max: config.rewards.connections_max,
        ..config.database.clone()
    };
    let place = parts::without_credentials(url);
    parts::within(Rewards::connect(&settings, clock.clone()))
        .await
        .with_context(|| {
            format!(
                "cannot open the rewards database at {place} (is it up, and is \
                 FIRSTCOME_REWARDS_DATABASE_URL right?)"
            )
        })
}

/// Its URL: as configured, or that of a schema beside the events, with the name of the schema to create.
fn place(config: &Config) -> anyhow::Result<(String, Option<String>)> {
    if let Some(url) = &config.rewards.database_url {
        return Ok((url.expose_secret().to_owned(), None));
    }
    let Some(events) = &config.database.url else {
        let file = data_folder::database(config, data_folder::REWARDS)?;
        return Ok((format!("sqlite://{}", file.display()), None));
    };
    let (url, schema) = beside(events.expose_secret())
        .context("FIRSTCOME_DATABASE_URL names no schema: set FIRSTCOME_REWARDS_DATABASE_URL")?;
    Ok((url, Some(schema)))
}

/// The URL and the name of the schema or file beside that of the events.
fn beside(events: &str) -> Option<(String, String)> {
    let (address, parameters) = match events.split_once('?') {
        Some((address, parameters)) => (address, format!("?{parameters}")),
        None => (events, String::new()),
    };
    let (server, name) = address.rsplit_once('/')?;
    if name.is_empty() || server.ends_with('/') && !server.starts_with("sqlite:") {
        return None;
    }
    let name = format!("{name}{SCHEMA_SUFFIX}");
    Some((format!("{server}/{name}{parameters}"), name))
}

pub(super) fn start(process: &Process, consumers: &[Consumer], rewards: &Rewards) {
    if consumers.is_empty() {
        return;
    }
    let (config, store) = (&process.config, &process.store);
    let metrics = Metrics::default();
    process
        .telemetry
        .register(|registry| metrics.register(registry));
    let parts = Parts {
        store: store.clone(),
        catalogue: Catalogue::new(store.clone(), CatalogueConfig::default()),
        rewards: rewards.clone(),
        kafka: Arc::clone(&process.broker.kafka),
        metrics,
    };
    let settings = ConsumerConfig {
        topic_prefix: config.kafka.topic_prefix.clone(),
        ..config.consumers.clone()
    };
    for consumer in consumers {
        consumers::start(&process.spawner, *consumer, &parts, &settings);
    }
}

#[cfg(test)]
mod tests {
    use super::beside;

    #[test]
    fn the_rewards_database_is_named_after_that_of_the_events() {
        let url = |events| beside(events).map(|(url, _)| url);
        assert_eq!(
            url("mysql://u:p@h:1/events").as_deref(),
            Some("mysql://u:p@h:1/events_rewards")
        );
        assert_eq!(
            url("mysql://h/events?ssl-mode=REQUIRED").as_deref(),
            Some("mysql://h/events_rewards?ssl-mode=REQUIRED")
        );
        assert_eq!(url("mysql://u@h:1/"), None);
        assert_eq!(url("mysql://h"), None);
    }
}

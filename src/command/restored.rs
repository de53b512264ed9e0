//! `restored`: after MySQL was restored to an earlier moment, makes the other parts fit that state, before any process
//! starts: numbers of lost campaigns and accounts are not given out again, consumers read the events since then again,
//! and Redis is emptied. Each step can be repeated.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::confirmation::Confirmation;
use super::verify::topic::read_into;
use crate::config::{Config, Mode};
use crate::domain::{CampaignId, Consumer, Topic, UserId};
use crate::events::consumers;
use crate::events::topic_check::{HighestIds, Truncation};
use crate::parts::broker::kafka::Kafka;
use crate::runtime::clock::Clock;

/// The moment, and how the topics are read.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The moment to which the database was restored, or an earlier one: RFC 3339, for example 2030-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    to: DateTime<Utc>,
    /// How far the consumers may have been behind at that moment, in minutes: they read the records of this time before it
    /// again, too.
    #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(0..=525_600))]
    consumers_behind: u32,
    /// How long reading each topic may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    topic_seconds_max: u64,
    /// Redis keeps its keys. The gates then repair themselves under traffic, which takes longer, and sessions stay.
    #[arg(long)]
    keep_redis: bool,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// Prepares the parts, and prints what it did.
pub async fn run(config: &Config, options: &Options) -> anyhow::Result<ExitCode> {
    super::parts::need_kafka(config, "restored")?;
    ensure!(
        options.to <= Clock::System.now(),
        "--to is in the future: it is the moment to which the database was restored"
    );
    let clock = super::parts::clock(config);
    let store = super::parts::store(config, clock).await?;
    ensure!(
        !store.is_embedded(),
        "restored is for MySQL, and none is configured (set FIRSTCOME_DATABASE_URL)"
    );
    // A moment that is too late, as in another time zone, must not skip what the consumers have not applied.
    let newest = store.newest_event_at().await?.unwrap_or(options.to);
    let from = options.to.min(newest) - TimeDelta::minutes(options.consumers_behind.into());
    options.confirmation.ask(&question(config, options, from))?;
    store
        .migrate()
        .await
        .context("cannot bring the schema up to date")?;
    let kafka = super::parts::kafka(config).await?;
    let groups = Consumer::ALL.map(|one| consumers::group_name(one, &config.kafka.topic_prefix));
    for group in &groups {
        let members = kafka.members(group).await?;
        ensure!(
            members == 0,
            "{members} consumers are members of group {group}: stop every process, and wait until the sessions of killed ones have timed out (consumers.session_timeout)"
        );
    }
    let within = Duration::from_secs(options.topic_seconds_max);
    let highest = highest_ids(&kafka, &config.kafka.topic_prefix, within).await?;
    store.skip_campaigns(CampaignId(highest.campaign)).await?;
    super::print(&format!(
        "numbers of new campaigns are above {}",
        highest.campaign
    ))?;
    if config.auth.mode == Mode::Sessions {
        store.skip_accounts(UserId(highest.user)).await?;
        super::print(&format!(
            "numbers of new accounts are above {}",
            highest.user
        ))?;
    }
    rewind(config, from, &kafka, &groups).await?;
    if config.redis.url.is_some() && !options.keep_redis {
        let removed = config.redis.remove_keys(&config.redis.prefix).await;
        let removed = removed.context("remove the keys of this installation from Redis")?;
        super::print(&format!("{removed} keys removed from Redis"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Names what is about to be changed, so that a test of a restore does not change production.
fn question(config: &Config, options: &Options, from: DateTime<Utc>) -> String {
    let address = |url: &SecretString| super::parts::without_credentials(url.expose_secret());
    let database = config
        .database
        .url
        .as_ref()
        .map(address)
        .unwrap_or_default();
    let brokers = config.kafka.brokers.as_deref().unwrap_or_default();
    let (topics, keys) = (&config.kafka.topic_prefix, &config.redis.prefix);
    let redis = match &config.redis.url {
        Some(url) if !options.keep_redis => {
            format!("remove all keys {keys}:* from Redis at {}, ", address(url))
        }
        _ => String::new(),
    };
    format!(
        "This will {redis}set the consumers of {topics} at {brokers} back to {from}, and fit {database} to it. Is MySQL restored to {}, and does no process run?",
        options.to
    )
}

/// The highest numbers in the records about campaigns and participations.
async fn highest_ids(kafka: &Kafka, prefix: &str, within: Duration) -> anyhow::Result<HighestIds> {
    let mut highest = HighestIds::default();
    for topic in [Topic::Campaign, Topic::Participation] {
        let name = topic.name(prefix);
        let (found, truncation) = read_into(kafka, &name, within, HighestIds::feed).await?;
        if truncation == Truncation::Beginning {
            tracing::warn!(
                topic = name,
                "the first records were deleted: they may have named higher numbers"
            );
        }
        highest = highest.max(found);
    }
    Ok(highest)
}

/// The consumers of rewards read the records since that moment again; the inbox ignores the known ones.
async fn rewind(
    config: &Config,
    from: DateTime<Utc>,
    kafka: &Kafka,
    groups: &[String],
) -> anyhow::Result<()> {
    let topic = Topic::Participation.name(&config.kafka.topic_prefix);
    for group in groups {
        let partitions = kafka.rewind(group, &topic, from).await?;
        super::print(&format!(
            "group {group}: set back in {partitions} partitions"
        ))?;
    }
    Ok(())
}

//! `restored`: after MySQL was restored to an earlier moment, makes the other parts fit that state, before any process
//! starts: numbers of lost campaigns and accounts are not given out again, consumers read the events since then again,
//! and Redis is emptied. Each step can be repeated.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;

use super::confirmation::Confirmation;
use crate::config::{Config, Mode};
use crate::domain::{CampaignId, Consumer, Topic, UserId};
use crate::events::consumers;
use crate::events::topic_check::HighestIds;
use crate::parts::broker::kafka::Kafka;

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
    ensure!(
        config.kafka.brokers.is_some(),
        "restored reads Kafka, and none is configured (set FIRSTCOME_KAFKA_BROKERS)"
    );
    ensure!(
        options.to <= Utc::now(),
        "--to is in the future: it is the moment to which the database was restored"
    );
    let clock = super::parts::clock(config);
    let store = super::parts::migrated_store(config, clock).await?;
    ensure!(
        !store.is_embedded(),
        "restored is for MySQL, and none is configured (set FIRSTCOME_DATABASE_URL)"
    );
    options
        .confirmation
        .ask("Is MySQL restored, and does no process run?")?;
    let kafka = super::parts::kafka(config).await?;
    let within = Duration::from_secs(options.topic_seconds_max);
    let highest = highest_ids(&kafka, &config.kafka.topic_prefix, within).await?;
    store.skip_campaigns(CampaignId(highest.campaign)).await?;
    super::print(&format!(
        "campaigns: new numbers are above {}",
        highest.campaign
    ))?;
    if config.auth.mode == Mode::Sessions {
        store.skip_accounts(UserId(highest.user)).await?;
        super::print(&format!("accounts: new numbers are above {}", highest.user))?;
    }
    let behind = TimeDelta::minutes(options.consumers_behind.into());
    rewind(config, options.to - behind, &kafka).await?;
    if config.redis.url.is_some() && !options.keep_redis {
        let removed = config.redis.remove_keys(&config.redis.prefix).await;
        let removed = removed.context("remove the keys of this installation from Redis")?;
        super::print(&format!("Redis: {removed} keys removed"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The highest numbers in the records about campaigns and participations.
async fn highest_ids(kafka: &Kafka, prefix: &str, within: Duration) -> anyhow::Result<HighestIds> {
    let mut highest = HighestIds::default();
    for topic in [Topic::Campaign, Topic::Participation] {
        let name = topic.name(prefix);
        let read = kafka.read_topic(&name, within, HighestIds::default(), HighestIds::feed);
        let (found, _) = read
            .await
            .context("a topic was not read to its end (more time: --topic-seconds-max)")?;
        highest = highest.max(found);
    }
    Ok(highest)
}

/// The consumers of rewards read the records since that moment again; the inbox ignores the known ones.
async fn rewind(config: &Config, to: DateTime<Utc>, kafka: &Kafka) -> anyhow::Result<()> {
    let prefix = &config.kafka.topic_prefix;
    let topic = Topic::Participation.name(prefix);
    for consumer in Consumer::ALL {
        let group = consumers::group_name(consumer, prefix);
        let partitions = kafka.rewind(&group, &topic, to).await?;
        super::print(&format!(
            "group {group}: set back in {partitions} partitions"
        ))?;
    }
    Ok(())
}

//! `verify`: checks the invariants on a running system; with `--topic` also the topic of participations, and with
//! `--rewards` also the rewards database.

pub(super) mod topic;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::domain::{CampaignId, Topic};
use crate::events::relay::KeyPolicy;
use crate::events::topic_check::{self, TopicVerdict};
use crate::operate::verify::{self, Depth, EventOrder, Finding, Grants, Keys, Scope, Verification};
use crate::parts::broker::Publisher;
use crate::parts::store::Store;
use crate::runtime::clock::Clock;

/// How the findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
}

impl Form {
    /// The form that `--json` selects.
    #[must_use]
    pub const fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Table }
    }
}

/// What is verified, and how the findings are printed.
#[derive(Args, Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct Options {
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Only this campaign.
    #[arg(long, value_name = "ID", conflicts_with = "topic")]
    campaign: Option<i64>,
    /// Reads everything again, including unchanged data that was verified before.
    #[arg(long)]
    full: bool,
    /// Also reads the topic of participations from its beginning: order, gaps, losses.
    #[arg(long)]
    topic: bool,
    /// Also reads the rewards database: one effect of each event.
    #[arg(long, conflicts_with = "campaign")]
    rewards: bool,
    /// Seconds that a consumer must be past an event before its missing reward counts as a violation.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 900,
        requires = "rewards",
        value_parser = clap::value_parser!(u64).range(0..=86_400)
    )]
    rewards_passed_seconds: u64,
    /// How long reading the topic may take.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 300,
        requires = "topic",
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    topic_seconds_max: u64,
}

/// Verifies, and prints the findings; the exit code is non-zero if there is a violation. An in-process gate belongs to
/// another process, and is not read.
pub async fn run(config: &Config, options: &Options) -> anyhow::Result<ExitCode> {
    if options.topic {
        super::parts::need_kafka(config, "verify --topic")?;
    }
    // Its reads are large, and not urgent.
    let store = super::parts::store(config, super::parts::clock(config))
        .await?
        .patient();
    let gate = Arc::new(super::parts::gate(config, Clock::System).await?);
    let campaign = options.campaign.map(CampaignId);
    if let Some(id) = campaign {
        let is_there = store.counters_of(id).await?.is_some();
        ensure!(is_there, "there is no campaign {id} to verify");
    }
    let scope = &Scope {
        campaign,
        depth: if options.full {
            Depth::Full
        } else {
            Depth::Incremental
        },
        order: match config.relay.key_policy {
            KeyPolicy::Block => EventOrder::Required,
            KeyPolicy::Skip => EventOrder::NotRequired,
        },
    };
    let verification = Verification::new(store.clone(), gate);
    let mut report = Report::default();
    if options.topic {
        let kafka = super::parts::kafka(config).await?;
        let name = Topic::Participation.name(&config.kafka.topic_prefix);
        let within = Duration::from_secs(options.topic_seconds_max);
        let (findings, verdict) =
            topic::verify((&verification, &store), scope, &kafka, &name, within).await?;
        report.campaigns = findings;
        report.topic = Some((name, verdict));
    } else {
        report.campaigns = verification.run_within(scope).await?;
    }
    if options.rewards {
        let patience = Duration::from_secs(options.rewards_passed_seconds);
        report.rewards = Some(rewarded(config, &store, patience).await?);
    }
    super::print(&match Form::of(options.json) {
        Form::Table => report.table(),
        Form::Json => serde_json::to_string_pretty(&report.json())?,
    })?;
    Ok(if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// All findings.
#[derive(Default)]
struct Report {
    campaigns: Vec<Finding>,
    topic: Option<(String, TopicVerdict)>,
    rewards: Option<RewardsFinding>,
}

/// The findings about rewards.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RewardsFinding {
    /// Participations with a granted reward.
    granted: u64,
    /// Those of them not marked as rewarded yet.
    unmarked: u64,
    breaches: Vec<String>,
}

impl Report {
    fn is_clean(&self) -> bool {
        self.campaigns
            .iter()
            .all(|finding| finding.breaches.is_empty())
            && self
                .topic
                .as_ref()
                .is_none_or(|(_, verdict)| verdict.is_clean())
            && self
                .rewards
                .as_ref()
                .is_none_or(|finding| finding.breaches.is_empty())
    }

    fn table(&self) -> String {
        let mut table = verify::table(&self.campaigns);
        if let Some((topic, verdict)) = &self.topic {
            table = format!("{table}\n\n{}", topic_check::table(topic, verdict));
        }
        if let Some(found) = &self.rewards {
            let (granted, unmarked) = (found.granted, found.unmarked);
            let breaches = &found.breaches;
            table = format!(
                "{table}\n\nrewards: {granted} participations granted, {unmarked} to be marked, \
                 {} breaches",
                breaches.len()
            );
            for breach in breaches {
                table = format!("{table}\n  {breach}");
            }
        }
        table
    }

    /// Only the list of campaigns, unless the topic or the rewards were read.
    fn json(&self) -> Value {
        let mut beyond = Map::new();
        if let Some((name, verdict)) = &self.topic {
            let topic = json!({ "name": name, "verdict": verdict });
            beyond.insert("topic".to_owned(), topic);
        }
        if let Some(rewards) = &self.rewards {
            beyond.insert("rewards".to_owned(), json!(rewards));
        }
        if beyond.is_empty() {
            return json!(self.campaigns);
        }
        beyond.insert("campaigns".to_owned(), json!(self.campaigns));
        beyond.into()
    }
}

/// The keys of events, and the number of partitions that they are distributed over.
async fn keys(config: &Config) -> anyhow::Result<Keys> {
    let topic = Topic::Participation.name(&config.kafka.topic_prefix);
    let partitions = match config.kafka.brokers {
        Some(_) => {
            let kafka = super::parts::kafka(config).await?;
            let partitions = kafka.partitions(&topic).await;
            partitions.with_context(|| format!("cannot read the partitions of {topic}"))?
        }
        None => config.kafka.partitions,
    };
    Ok(Keys {
        choice: config.kafka.key,
        partitions,
    })
}

/// A participation is marked after its reward is granted, and the marks are counted first. So a campaign with more marks
/// than grants has a wrong mark.
async fn rewarded(
    config: &Config,
    store: &Store,
    patience: Duration,
) -> anyhow::Result<RewardsFinding> {
    let marked = store.rewarded_counts().await?;
    let rewards = super::rewards::find(config, &Clock::System)
        .await?
        .patient();
    let found = rewards.verify().await;
    let found =
        found.context("cannot read the rewards database (has anything been granted yet?)")?;
    let mut breaches = found.breaches;
    let grants = Grants::new(store, &rewards, patience, keys(config).await?).await?;
    let campaigns = found.granted.keys().copied().collect();
    breaches.extend(grants.breaches(&campaigns).await?);
    rewards.close().await?;
    let mut unmarked = 0;
    for (campaign, granted) in &found.granted {
        unmarked += granted.saturating_sub(marked.get(campaign).copied().unwrap_or(0));
    }
    for (campaign, marked) in marked {
        let granted = found.granted.get(&campaign).copied().unwrap_or(0);
        if marked > granted {
            breaches.push(format!(
                "I6: campaign {campaign} has {marked} participations marked as rewarded, and {granted} were"
            ));
        }
    }
    Ok(RewardsFinding {
        granted: found.granted.values().sum(),
        unmarked,
        breaches,
    })
}

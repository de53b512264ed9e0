//! `verify`: the invariants, on a running system; with `--topic` what consumers see of it, and with
//! `--rewards` what they made of it.

mod topic;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::domain::Stream;
use crate::events::relay::KeyPolicy;
use crate::events::topic_check::{self, TopicVerdict};
use crate::operate::verify::{self, EventOrder, Finding, Grants, Keys, Scope, Verification};
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

/// What is looked at beside the events' database and the gate.
#[derive(Clone, Copy, Debug)]
pub struct Beyond {
    /// The topic of participations, read in so much time.
    pub topic_within: Option<Duration>,
    /// The rewards database; consumers are left so much time for an event.
    pub rewards: Option<Duration>,
}

/// Verifies and prints; non-zero on a breach. Whether events of a participation wait for each other is
/// the configuration's to say and not the scope's. An in-process gate lives in another process and is not
/// looked at.
pub async fn run(
    config: &Config,
    form: Form,
    scope: &Scope,
    beyond: Beyond,
) -> anyhow::Result<ExitCode> {
    ensure!(
        beyond.topic_within.is_none() || config.kafka.brokers.is_some(),
        "verify --topic reads Kafka, and none is configured (set FIRSTCOME_KAFKA_BROKERS)"
    );
    // It reads a lot at once, and nobody waits for it.
    let store = super::parts::store(config, super::parts::clock(config))
        .await?
        .patient();
    let gate = Arc::new(super::parts::gate(config, Clock::System).await?);
    if let Some(id) = scope.campaign {
        let is_there = store.books_of(id).await?.is_some();
        ensure!(is_there, "there is no campaign {id} to verify");
    }
    let scope = &Scope {
        order: match config.relay.key_policy {
            KeyPolicy::Block => EventOrder::Required,
            KeyPolicy::Skip => EventOrder::NotRequired,
        },
        ..*scope
    };
    let verification = Verification::new(store.clone(), gate);
    let mut report = Report::default();
    match beyond.topic_within {
        None => report.campaigns = verification.run_within(scope).await?,
        Some(within) => {
            let kafka = super::parts::kafka(config).await?;
            let name = Stream::Participation.topic(&config.kafka.topic_prefix);
            let (findings, verdict) =
                topic::verify((&verification, &store), scope, &kafka, &name, within).await?;
            report.campaigns = findings;
            report.topic = Some((name, verdict));
        }
    }
    if let Some(patience) = beyond.rewards {
        report.rewards = Some(rewarded(config, &store, patience).await?);
    }
    super::print(&match form {
        Form::Table => report.table(),
        Form::Json => serde_json::to_string_pretty(&report.json())?,
    })?;
    Ok(if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// All that was found.
#[derive(Default)]
struct Report {
    campaigns: Vec<Finding>,
    topic: Option<(String, TopicVerdict)>,
    rewards: Option<RewardsFinding>,
}

/// What was found about rewards.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RewardsFinding {
    /// Participations that were granted something.
    granted: u64,
    /// Those of them that are still to be marked as rewarded.
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

    /// The campaigns alone, where nothing else was asked for.
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

/// What the events of a participation have in common with those that consumers have applied: their partition.
async fn keys(config: &Config) -> anyhow::Result<Keys> {
    let topic = Stream::Participation.topic(&config.kafka.topic_prefix);
    let partitions = match config.kafka.brokers {
        Some(_) => {
            let kafka = super::parts::kafka(config).await?;
            let partitions = kafka.partitions(&topic).await;
            partitions.with_context(|| format!("cannot ask for the partitions of {topic}"))?
        }
        None => config.kafka.partitions,
    };
    Ok(Keys {
        choice: config.kafka.key,
        partitions,
    })
}

/// A participation is marked after it was granted something, and the marks are counted first: a campaign
/// with more marks than grants has one too many.
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

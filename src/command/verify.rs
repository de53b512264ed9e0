//! `verify`: the invariants, on a running system, and with `--topic` what consumers see of it.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;

use crate::broker::kafka::Kafka;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::{CampaignId, Stream};
use crate::order::{self, Checker, Expected, Gone, TopicVerdict};
use crate::reconcile::Reconciler;
use crate::reconcile::verify::{self, Finding, Order, Scope};
use crate::relay::KeyPolicy;

/// How often the topic is read before something in it is called lost: on a system under traffic the
/// database's counts are taken at different moments.
const LOOKS: usize = 2;

/// How the findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Verifies and prints; non-zero on a breach. Whether events of a participation wait for each other is
/// the configuration's to say and not the scope's. With `read_topic_within`, the topic of
/// participations is read, too. An in-process gate lives in another process and is not looked at.
pub async fn run(
    config: &Config,
    form: Form,
    scope: &Scope,
    read_topic_within: Option<Duration>,
) -> anyhow::Result<ExitCode> {
    ensure!(
        read_topic_within.is_none() || config.kafka.brokers.is_some(),
        "verify --topic reads Kafka, and none is configured (set FIRSTCOME_KAFKA_BROKERS)"
    );
    // It reads a lot at once, and nobody waits for it.
    let store = super::parts::store(config, Clock::System).await?.patient();
    let gate = super::parts::gate(config, Clock::System).await?;
    if let Some(id) = scope.campaign {
        let is_there = store.books_of(id).await?.is_some();
        ensure!(is_there, "there is no campaign {id} to verify");
    }
    let scope = &Scope {
        order: match config.relay.key_policy {
            KeyPolicy::Block => Order::Kept,
            KeyPolicy::Skip => Order::Skipped,
        },
        ..*scope
    };
    let reconciler = Reconciler::new(store, gate);
    let Some(within) = read_topic_within else {
        let findings = reconciler.verify_within(scope).await?;
        super::print(&match form {
            Form::Table => verify::table(&findings),
            Form::Json => serde_json::to_string_pretty(&findings)?,
        })?;
        return Ok(exit_code(are_clean(&findings)));
    };
    let kafka = super::parts::kafka(config).await?;
    let topic = Stream::Participation.topic(&config.kafka.topic_prefix);
    let (findings, verdict) = with_topic(&reconciler, scope, &kafka, &topic, within).await?;
    super::print(&match form {
        Form::Table => format!(
            "{}\n\n{}",
            verify::table(&findings),
            order::table(&topic, &verdict)
        ),
        Form::Json => serde_json::to_string_pretty(&json!({
            "campaigns": findings,
            "topic": { "name": topic, "verdict": verdict },
        }))?,
    })?;
    Ok(exit_code(are_clean(&findings) && verdict.is_clean()))
}

async fn with_topic(
    reconciler: &Reconciler,
    scope: &Scope,
    kafka: &Kafka,
    topic: &str,
    within: Duration,
) -> anyhow::Result<(Vec<Finding>, TopicVerdict)> {
    let mut looks = 1;
    loop {
        // First the database, then the topic: so what is called published here is there by then.
        let findings = reconciler.verify_within(scope).await?;
        let read = kafka.read_topic(topic, within, Checker::default(), order::feed);
        let (checker, extents) = read
            .await
            .context("the topic was not read to its end (more time: --topic-seconds-max)")?;
        let is_whole = extents.iter().all(|extent| extent.from == 0);
        let gone = if is_whole {
            Gone::Nothing
        } else {
            Gone::Beginning
        };
        let verdict = order::judge(checker.finish(), &expected(&findings), gone);
        if looks == LOOKS || !verdict.is_lacking() {
            return Ok((findings, verdict));
        }
        looks += 1;
    }
}

fn expected(findings: &[Finding]) -> BTreeMap<CampaignId, Expected> {
    findings
        .iter()
        .map(|finding| {
            let expected = Expected {
                published: finding.published,
                parked: finding.parked,
            };
            (CampaignId(finding.campaign_id), expected)
        })
        .collect()
}

fn are_clean(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.breaches.is_empty())
}

fn exit_code(is_clean: bool) -> ExitCode {
    if is_clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

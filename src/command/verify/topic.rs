//! `verify --topic`: compares the topic with the events that the database has as published.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;

use crate::domain::CampaignId;
use crate::events::topic_check::{
    self, Checker, Differences, Expected, Presence, Report, TopicVerdict, Truncation,
};
use crate::operate::verify::{Finding, Scope, Verification};
use crate::parts::broker::Consumed;
use crate::parts::broker::kafka::Kafka;
use crate::parts::store::{Segment, Store, StoreError};

/// The findings, and the verdict on the topic. Under traffic, events are published between the reads of the topic and
/// of the database. So an event counts as lost only if it is missing in a second read too.
pub(super) async fn verify(
    (verification, store): (&Verification, &Store),
    scope: &Scope,
    kafka: &Kafka,
    topic: &str,
    within: Duration,
) -> anyhow::Result<(Vec<Finding>, TopicVerdict)> {
    let findings = verification.run_within(scope).await?;
    let expected = expected(&findings);
    let campaigns = expected.keys().copied().collect();
    let compared = differences(store, &campaigns, kafka, (topic, within)).await?;
    let (report, differences, truncation) = compared;
    // A replay is recorded before its event is published, so the log already has the replay of every event in the
    // topic.
    let replayed = store.replayed_among(&report.late.ids()).await?;
    let verdict = topic_check::judge(report, &replayed, &expected, &differences, truncation);
    Ok((findings, verdict))
}

/// Reads a topic within a time, and compares it with the published events of these campaigns, and of those in the topic.
pub(in crate::command) async fn differences(
    store: &Store,
    campaigns: &BTreeSet<CampaignId>,
    kafka: &Kafka,
    (topic, within): (&str, Duration),
) -> anyhow::Result<(Report, Differences, Truncation)> {
    let (mut report, mut truncation) = read(kafka, topic, within).await?;
    let mut differences = compare(store, campaigns, &report.presence).await?;
    if truncation == Truncation::None && differences.has_missing() {
        (report, truncation) = read(kafka, topic, within).await?;
        let second = compare(store, campaigns, &report.presence).await?;
        differences = second.missing_since(&differences);
    }
    Ok((report, differences, truncation))
}

async fn read(
    kafka: &Kafka,
    topic: &str,
    within: Duration,
) -> anyhow::Result<(Report, Truncation)> {
    let (checker, truncation): (Checker, _) =
        read_into(kafka, topic, within, topic_check::feed).await?;
    Ok((checker.finish(), truncation))
}

/// Passes every record of a topic to `feed`, within a time.
pub(in crate::command) async fn read_into<T: Default + Send + 'static>(
    kafka: &Kafka,
    topic: &str,
    within: Duration,
    feed: fn(&mut T, &Consumed<'_>),
) -> anyhow::Result<(T, Truncation)> {
    let read = kafka.read_topic(topic, within, T::default(), feed);
    let (found, extents) = read
        .await
        .context("the topic was not read to its end (more time: --topic-seconds-max)")?;
    let is_complete = extents.iter().all(|extent| extent.from == 0);
    let truncation = if is_complete {
        Truncation::None
    } else {
        Truncation::Beginning
    };
    Ok((found, truncation))
}

/// Compares sums, and the events of segments with different sums. The database is read after the topic, so it has every
/// event of the topic.
async fn compare(
    store: &Store,
    campaigns: &BTreeSet<CampaignId>,
    presence: &Presence,
) -> Result<Differences, StoreError> {
    let mut differences = Differences::default();
    let seen = presence.sums().keys().map(|segment| segment.campaign);
    let campaigns: BTreeSet<CampaignId> = campaigns.iter().copied().chain(seen).collect();
    for campaign in campaigns {
        let snapshot = store.snapshot().await?;
        let published = snapshot.published(campaign).await?;
        let purged = snapshot.purged(&[campaign]).await?;
        let of_topic = presence.sums().range(Segment::all_of(campaign));
        let numbers = of_topic.map(|(segment, _)| segment.number);
        let numbers = numbers.chain(published.keys().copied());
        let deleted = purged
            .keys()
            .filter_map(|(_, segment)| u64::try_from(*segment).ok());
        let numbers: BTreeSet<u64> = numbers.chain(deleted).collect();
        for number in numbers {
            let segment = Segment { campaign, number };
            let topic = presence.sums().get(&segment).copied().unwrap_or_default();
            let in_database = published.get(&number).copied().unwrap_or_default();
            let purged = purged
                .get(&(campaign, i64::try_from(number).unwrap_or(i64::MAX)))
                .copied()
                .unwrap_or_default();
            if !topic_check::agree(topic, in_database, purged) {
                let events = snapshot.events_within(segment).await?;
                differences.compare(segment, presence, events, purged);
            }
        }
        snapshot.end().await?;
    }
    Ok(differences)
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

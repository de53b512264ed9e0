//! Judges the records of a topic against the published events in the database.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Difference, Differences, EXAMPLES_MAX, LateEvent, Report, Tally};
use crate::domain::{CampaignId, EventId};
use crate::runtime::table::{self, Column, or_none};

/// The counts of a campaign in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Events the broker has acknowledged.
    pub published: u64,
    /// Parked events; dead and discarded ones leave gaps.
    pub parked: u64,
}

/// Whether retention has removed records of the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// The topic is complete.
    None,
    /// Its first records are deleted.
    Beginning,
}

/// The verdict on one campaign.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CampaignVerdict {
    /// Id of the campaign.
    pub campaign_id: i64,
    /// Published events in the database; none: not read (archived, or an unknown campaign).
    pub published: Option<u64>,
    /// The counts of its records.
    #[serde(flatten)]
    pub tally: Tally,
    /// Changes whose preceding change is missing; none: unknown.
    pub gaps: Option<u64>,
    /// Published events that are not in the topic; none: unknown.
    pub lost: Option<u64>,
    /// Their ids, for up to 100,000 of all campaigns; purged events are not among them.
    pub lost_events: Vec<EventId>,
    /// Events in the topic that the database does not have.
    pub phantoms: u64,
    /// The violations.
    pub breaches: Vec<String>,
}

/// The verdict on a topic.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicVerdict {
    /// By campaign.
    pub campaigns: Vec<CampaignVerdict>,
    /// Whether retention has removed records, so that losses are unknown.
    pub beginning_is_gone: bool,
    /// Records that the relay did not write.
    pub unreadable: u64,
    /// A few of the wrong records.
    pub examples: Vec<String>,
}

impl TopicVerdict {
    /// Whether there is no violation.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.unreadable == 0 && self.campaigns.iter().all(|one| one.breaches.is_empty())
    }
}

/// Judges the findings about a topic, and its differences from the database. Late events among
/// `replayed` are replayed dead letters, and are no violation.
#[must_use]
pub fn judge(
    report: Report,
    replayed: &BTreeSet<EventId>,
    expected: &BTreeMap<CampaignId, Expected>,
    differences: &Differences,
    truncation: Truncation,
) -> TopicVerdict {
    let mut tallies = report.campaigns;
    let (replayed, late) = report.late.split(replayed);
    for letter in replayed {
        let tally = tallies.entry(letter.campaign).or_default();
        tally.out_of_order = tally.out_of_order.saturating_sub(1);
        tally.replayed += 1;
    }
    for campaign in expected.keys() {
        tallies.entry(*campaign).or_default();
    }
    let none = Difference::default();
    let judged = tallies.into_iter().map(|(campaign, tally)| {
        let difference = differences.campaigns.get(&campaign).unwrap_or(&none);
        judge_one(
            campaign,
            tally,
            expected.get(&campaign),
            difference,
            truncation,
        )
    });
    let campaigns = judged.collect();
    let mut examples = report.examples;
    examples.extend(late.iter().take(EXAMPLES_MAX).map(LateEvent::to_string));
    if truncation == Truncation::None {
        examples.extend(report.examples_of_gaps);
        examples.extend(describe_lost(differences));
    }
    examples.extend(describe_phantoms(differences));
    TopicVerdict {
        campaigns,
        beginning_is_gone: truncation == Truncation::Beginning,
        unreadable: report.unreadable,
        examples,
    }
}

fn describe_lost(differences: &Differences) -> impl Iterator<Item = String> + '_ {
    let missing = differences.campaigns.iter().flat_map(|(campaign, one)| {
        let events = one.missing.iter();
        events.map(move |event| {
            let (id, sequence, rank) = (event.id, event.sequence, event.rank);
            format!(
                "campaign {campaign}: event {id} (change {sequence} of rank {rank}) is published and not in the topic"
            )
        })
    });
    missing.take(EXAMPLES_MAX)
}

fn describe_phantoms(differences: &Differences) -> impl Iterator<Item = String> + '_ {
    let phantoms = differences.campaigns.iter().flat_map(|(campaign, one)| {
        let ids = one.examples.iter();
        ids.map(move |id| {
            format!("campaign {campaign}: event {id} is in the topic and not in the database")
        })
    });
    phantoms.take(EXAMPLES_MAX)
}

fn judge_one(
    campaign: CampaignId,
    tally: Tally,
    expected: Option<&Expected>,
    difference: &Difference,
    truncation: Truncation,
) -> CampaignVerdict {
    let mut breaches = Vec::new();
    if tally.out_of_order > 0 {
        breaches.push(format!("I8 {} events out of order", tally.out_of_order));
    }
    let phantoms = difference.phantoms;
    if phantoms > 0 {
        breaches.push(format!(
            "I4 {phantoms} phantoms: events that the database does not have"
        ));
    }
    let mut lost = None;
    let mut lost_events = Vec::new();
    if let (Some(expected), Truncation::None) = (expected, truncation) {
        let missing = difference.lost();
        lost = Some(missing);
        lost_events.extend(difference.missing.iter().map(|event| event.id));
        if missing > 0 {
            breaches.push(format!(
                "I4 {missing} events lost: {} published, {} in the topic",
                expected.published, tally.distinct
            ));
        }
        // A dead letter is not in the topic, so it may leave a gap.
        if tally.gaps > expected.parked {
            breaches.push(format!(
                "I8 {} gaps, and {} events parked",
                tally.gaps, expected.parked
            ));
        }
    }
    CampaignVerdict {
        campaign_id: campaign.0,
        published: expected.map(|expected| expected.published),
        gaps: (truncation == Truncation::None).then_some(tally.gaps),
        tally,
        lost,
        lost_events,
        phantoms,
        breaches,
    }
}

/// The verdict as a table for people.
#[must_use]
pub fn table(topic: &str, verdict: &TopicVerdict) -> String {
    let columns: [Column<CampaignVerdict>; 12] = [
        ("campaign", |of| of.campaign_id.to_string()),
        ("published", |of| or_none(of.published)),
        ("records", |of| of.tally.records.to_string()),
        ("distinct", |of| of.tally.distinct.to_string()),
        ("redelivered", |of| of.tally.redelivered.to_string()),
        ("out of order", |of| of.tally.out_of_order.to_string()),
        ("replayed", |of| of.tally.replayed.to_string()),
        ("gaps", |of| or_none(of.gaps)),
        ("moved", |of| of.tally.moved.to_string()),
        ("lost", |of| or_none(of.lost)),
        ("phantoms", |of| of.phantoms.to_string()),
        ("verdict", |of| table::verdict(&of.breaches)),
    ];
    let table = table::table(&verdict.campaigns, &columns);
    let mut lines = vec![format!("topic {topic}"), table.to_string()];
    lines.extend(
        verdict
            .examples
            .iter()
            .map(|example| format!("  {example}")),
    );
    if verdict.beginning_is_gone {
        let note = "retention has removed the beginning of the topic: losses and gaps are unknown";
        lines.push(note.to_owned());
    }
    let records: u64 = verdict.campaigns.iter().map(|one| one.tally.records).sum();
    let breaches: usize = verdict.campaigns.iter().map(|one| one.breaches.len()).sum();
    let unreadable = verdict.unreadable;
    lines.push(format!(
        "{records} records, {unreadable} unreadable, {breaches} breaches"
    ));
    lines.join("\n")
}

//! What the records of a topic say about the promises, beside what the database says was published.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Difference, Differences, EXAMPLES_MAX, Report, Tally};
use crate::domain::CampaignId;
use crate::runtime::table::{self, Column, or_none};

/// What the database said of a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Events the broker has acknowledged.
    pub published: u64,
    /// Events outside the hot path; dead and discarded ones leave gaps.
    pub parked: u64,
}

/// Whether the topic still has its first records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It has all it ever had.
    Nothing,
    /// Retention has removed records.
    Beginning,
}

/// One campaign's records, and what is wrong with them.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CampaignVerdict {
    /// The campaign.
    pub campaign_id: i64,
    /// Events the database calls published; none: it was not asked (archived, or no campaign of ours).
    pub published: Option<u64>,
    /// How its records came.
    #[serde(flatten)]
    pub tally: Tally,
    /// Changes that came though the one before never did; none: cannot be told.
    pub gaps: Option<u64>,
    /// Published, and not in the topic; none: cannot be told.
    pub lost: Option<u64>,
    /// In the topic, and not in the database.
    pub phantoms: u64,
    /// What is broken.
    pub breaches: Vec<String>,
}

/// A whole topic.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicVerdict {
    /// By campaign.
    pub campaigns: Vec<CampaignVerdict>,
    /// Whether retention has removed records, so that what is lost cannot be told.
    pub beginning_is_gone: bool,
    /// Records that are not as the relay writes them.
    pub unreadable: u64,
    /// A few of the records that are wrong.
    pub examples: Vec<String>,
}

impl TopicVerdict {
    /// Whether nothing is broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.unreadable == 0 && self.campaigns.iter().all(|one| one.breaches.is_empty())
    }
}

/// Judges what came of a topic, and how it differs from what the database says was published.
#[must_use]
pub fn judge(
    report: Report,
    expected: &BTreeMap<CampaignId, Expected>,
    differences: &Differences,
    gone: Gone,
) -> TopicVerdict {
    let mut tallies = report.campaigns;
    for campaign in expected.keys() {
        tallies.entry(*campaign).or_default();
    }
    let none = Difference::default();
    let judged = tallies.into_iter().map(|(campaign, tally)| {
        let difference = differences.campaigns.get(&campaign).unwrap_or(&none);
        judge_one(campaign, tally, expected.get(&campaign), difference, gone)
    });
    let campaigns = judged.collect();
    let mut examples = report.examples;
    if gone == Gone::Nothing {
        examples.extend(report.examples_of_gaps);
        examples.extend(lost_by_name(differences));
    }
    examples.extend(phantoms_by_name(differences));
    TopicVerdict {
        campaigns,
        beginning_is_gone: gone == Gone::Beginning,
        unreadable: report.unreadable,
        examples,
    }
}

fn lost_by_name(differences: &Differences) -> impl Iterator<Item = String> + '_ {
    let missing = differences.campaigns.iter().flat_map(|(campaign, one)| {
        let told = one.missing.iter();
        told.map(move |event| {
            let (id, sequence, rank) = (event.id, event.sequence, event.rank);
            format!(
                "campaign {campaign}: event {id} (change {sequence} of rank {rank}) is published and not in the topic"
            )
        })
    });
    missing.take(EXAMPLES_MAX)
}

fn phantoms_by_name(differences: &Differences) -> impl Iterator<Item = String> + '_ {
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
    gone: Gone,
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
    if let (Some(expected), Gone::Nothing) = (expected, gone) {
        let missing = difference.lost();
        lost = Some(missing);
        if missing > 0 {
            breaches.push(format!(
                "I4 {missing} events lost: {} published, {} in the topic",
                expected.published, tally.distinct
            ));
        }
        // An event that was given up is missing by right: it is a dead letter.
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
        gaps: (gone == Gone::Nothing).then_some(tally.gaps),
        tally,
        lost,
        phantoms,
        breaches,
    }
}

/// The verdict as a table for people.
#[must_use]
pub fn table(topic: &str, verdict: &TopicVerdict) -> String {
    let columns: [Column<CampaignVerdict>; 11] = [
        ("campaign", |of| of.campaign_id.to_string()),
        ("published", |of| or_none(of.published)),
        ("records", |of| of.tally.records.to_string()),
        ("distinct", |of| of.tally.distinct.to_string()),
        ("again", |of| of.tally.redelivered.to_string()),
        ("out of order", |of| of.tally.out_of_order.to_string()),
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
        let gone = "the beginning of the topic is gone (retention): what was lost, and gaps, cannot be told";
        lines.push(gone.to_owned());
    }
    let records: u64 = verdict.campaigns.iter().map(|one| one.tally.records).sum();
    let breaches: usize = verdict.campaigns.iter().map(|one| one.breaches.len()).sum();
    let unreadable = verdict.unreadable;
    lines.push(format!(
        "{records} records, {unreadable} unreadable, {breaches} breaches"
    ));
    lines.join("\n")
}

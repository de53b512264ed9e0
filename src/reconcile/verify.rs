//! Verifies the invariants on a running system, per campaign: what the gate admitted = participations
//! = outbox = published + parked + pending, nobody over their limit, nothing oversold. An event that
//! was published and deleted since counts as both: the campaign's row says how many there are.

use serde::Serialize;

use super::{ReconcileError, Reconciler};
use crate::domain::{Campaign, State};
use crate::gate::GateState;
use crate::store::{CampaignFilter, Counts};

/// How often a difference is looked at again before it is called one: on a system under traffic the
/// counts are taken at different moments.
const LOOKS: usize = 5;
/// Campaigns read in one page.
const PAGE: u64 = 200;

/// One campaign's figures and what is wrong with them.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "each field is the figure of that name")]
pub struct Finding {
    pub campaign_id: i64,
    pub total_stock: Option<u64>,
    pub committed_units: u64,
    pub gate_units: Option<u64>,
    pub gate_leases: Option<u64>,
    pub participations: u64,
    pub events: u64,
    pub published: u64,
    pub purged: u64,
    pub pending: u64,
    pub parked: u64,
    pub breaches: Vec<String>,
}

impl Reconciler {
    /// Verifies every campaign that is not archived.
    pub async fn verify(&self) -> Result<Vec<Finding>, ReconcileError> {
        let mut filter = CampaignFilter {
            states: vec![
                State::Draft,
                State::Scheduled,
                State::Open,
                State::Paused,
                State::Closed,
            ],
            kind: None,
            after: None,
            limit: PAGE,
        };
        let mut findings = Vec::new();
        loop {
            let page = self.store.campaigns(&filter).await?;
            filter.after = page.last().map(|campaign| campaign.id);
            for campaign in &page {
                findings.extend(self.verify_one(campaign).await?);
            }
            if u64::try_from(page.len()).unwrap_or(PAGE) < PAGE {
                return Ok(findings);
            }
        }
    }

    async fn verify_one(&self, campaign: &Campaign) -> Result<Option<Finding>, ReconcileError> {
        let mut found = None;
        for _ in 0..LOOKS {
            let before = self.gate.inspect(campaign.id).await?;
            let Some(now) = self.store.campaign(campaign.id).await? else {
                return Ok(None);
            };
            let counts = self.store.counts(campaign.id).await?;
            let finding = judge(&now, before, &counts);
            let clean = finding.breaches.is_empty();
            found = Some(finding);
            if clean {
                break;
            }
        }
        Ok(found)
    }
}

fn judge(campaign: &Campaign, gate: Option<GateState>, counts: &Counts) -> Finding {
    let waiting = counts.pending + counts.parked;
    let events = counts.events + counts.purged;
    Finding {
        campaign_id: campaign.id.0,
        total_stock: campaign.total_stock,
        committed_units: campaign.committed_units,
        gate_units: gate.map(|gate| gate.units),
        gate_leases: gate.map(|gate| gate.leases),
        participations: counts.participations,
        events,
        published: events.saturating_sub(waiting),
        purged: counts.purged,
        pending: counts.pending,
        parked: counts.parked,
        breaches: breaches(campaign, gate, counts),
    }
}

fn breaches(campaign: &Campaign, gate: Option<GateState>, counts: &Counts) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut hold = |holds: bool, breach: String| {
        if !holds {
            breaches.push(breach);
        }
    };
    let (committed, units_held) = (campaign.committed_units, counts.units);
    let within = campaign.total_stock.is_none_or(|total| units_held <= total);
    hold(
        within,
        format!(
            "I1 oversold: {units_held} units of {:?}",
            campaign.total_stock
        ),
    );
    hold(
        units_held == committed,
        format!("I1 the campaign counts {committed} units, its participations hold {units_held}"),
    );
    let over = counts.users_over_limit;
    hold(
        over == 0,
        format!("I2 {over} users hold more than they may"),
    );
    let (changes, events, purged) = (counts.changes, counts.events, counts.purged);
    hold(
        events + purged == changes,
        format!("I3 {changes} changes, {events} outbox events and {purged} purged"),
    );
    hold(
        counts.orphans == 0,
        format!("I4 {} waiting entries without an event", counts.orphans),
    );
    let waiting = counts.pending + counts.parked;
    hold(
        waiting <= events,
        format!("I4 {waiting} waiting, but only {events} events"),
    );
    if let Some(GateState { units, leases, .. }) = gate {
        // Leases may be for units that are committed and not settled yet, or for units on their way.
        let least = units.saturating_sub(leases.saturating_mul(u64::from(campaign.max_quantity)));
        let breach =
            format!("I7 the gate counts {units} units and {leases} leases, the store {committed}");
        hold((least..=units).contains(&committed), breach);
    }
    breaches
}

/// The findings as a table for people.
#[must_use]
pub fn table(findings: &[Finding]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "campaign",
        "stock",
        "committed",
        "gate",
        "leases",
        "rows",
        "events",
        "published",
        "purged",
        "pending",
        "parked",
        "verdict",
    ]);
    let or_none =
        |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    for finding in findings {
        let verdict = if finding.breaches.is_empty() {
            "ok".to_owned()
        } else {
            finding.breaches.join("; ")
        };
        table.add_row([
            finding.campaign_id.to_string(),
            or_none(finding.total_stock),
            finding.committed_units.to_string(),
            or_none(finding.gate_units),
            or_none(finding.gate_leases),
            finding.participations.to_string(),
            finding.events.to_string(),
            finding.published.to_string(),
            finding.purged.to_string(),
            finding.pending.to_string(),
            finding.parked.to_string(),
            verdict,
        ]);
    }
    let breaches: usize = findings.iter().map(|finding| finding.breaches.len()).sum();
    format!("{table}\n{} campaigns, {breaches} breaches", findings.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CampaignId, Kind};

    fn campaign() -> Campaign {
        Campaign {
            id: CampaignId(1),
            name: String::new(),
            description: String::new(),
            kind: Kind::General,
            state: State::Open,
            total_stock: Some(10),
            committed_units: 4,
            per_user_limit: 1,
            max_quantity: 1,
            price: None,
            hold_seconds: 120,
            opens_at: None,
            closes_at: None,
            reward: None,
            gate_epoch: 1,
            version: 1,
            created_at: chrono::DateTime::default(),
        }
    }

    fn sound() -> Counts {
        Counts {
            participations: 4,
            changes: 4,
            units: 4,
            events: 4,
            pending: 1,
            ..Counts::default()
        }
    }

    #[test]
    fn a_sound_campaign_has_no_breach() {
        assert!(judge(&campaign(), None, &sound()).breaches.is_empty());
    }

    #[test]
    fn purged_events_count_as_published() {
        let counts = Counts {
            events: 1,
            purged: 3,
            ..sound()
        };
        let finding = judge(&campaign(), None, &counts);
        assert!(finding.breaches.is_empty(), "{:?}", finding.breaches);
        assert_eq!((finding.events, finding.published), (4, 3));
    }

    #[test]
    fn what_was_purged_before_it_was_published_is_a_breach() {
        let counts = Counts {
            events: 1,
            purged: 3,
            pending: 2,
            ..sound()
        };
        let breaches = judge(&campaign(), None, &counts).breaches.join(" ");
        assert!(breaches.contains("I4"), "{breaches}");
    }

    #[test]
    fn each_breach_is_named() {
        let breach = |counts: Counts| judge(&campaign(), None, &counts).breaches.join(" ");
        assert!(
            breach(Counts {
                units: 11,
                ..sound()
            })
            .contains("I1 oversold")
        );
        assert!(
            breach(Counts {
                users_over_limit: 1,
                ..sound()
            })
            .contains("I2")
        );
        assert!(
            breach(Counts {
                events: 3,
                ..sound()
            })
            .contains("I3")
        );
        assert!(
            breach(Counts {
                purged: 1,
                ..sound()
            })
            .contains("I3")
        );
        assert!(
            breach(Counts {
                orphans: 1,
                ..sound()
            })
            .contains("I4")
        );
        let gate = GateState {
            epoch: 1,
            units: 9,
            last_rank: 9,
            remaining: Some(1),
            leases: 2,
            users: 9,
            expiring: 2,
        };
        assert!(
            judge(&campaign(), Some(gate), &sound())
                .breaches
                .join(" ")
                .contains("I7")
        );
    }
}

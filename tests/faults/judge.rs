//! Compares the responses to clients with the database and the topic. Pure. Planted violations prove that it
//! finds them.

mod answers;
mod changes;
mod coupons;
mod events;
mod points;
mod settings;
#[cfg(test)]
mod tests;
mod windows;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

pub use self::events::{late, redelivered};
use crate::evidence::{Campaign, Evidence, Participation};
use crate::ledger::{Answer, ChangeAnswer};

/// Most examples of one kind of violation.
const EXAMPLES_MAX: usize = 5;

/// A violated guarantee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// `I1` to `I8`, `I10`, or a word for another promise.
    pub promise: String,
    pub what: String,
}

impl Breach {
    pub fn new(promise: &str, what: impl Into<String>) -> Self {
        Self {
            promise: promise.to_owned(),
            what: what.into(),
        }
    }
}

/// All violations.
pub fn judge(evidence: &Evidence, answers: &[Answer], changes: &[ChangeAnswer]) -> Vec<Breach> {
    let mut found = Found::default();
    stock(evidence, &mut found);
    users(evidence, &mut found);
    ranks(evidence, &mut found);
    events::judge(evidence, &mut found);
    answers::judge(evidence, answers, &mut found);
    windows::judge(evidence, answers, &mut found);
    changes::judge(evidence, changes, &mut found);
    coupons::judge(evidence, changes, &mut found);
    points::judge(evidence, &mut found);
    settings::judge(evidence, answers, &mut found);
    found.breaches()
}

/// The violations by promise: their number, and a few examples.
#[derive(Default)]
struct Found(BTreeMap<&'static str, Vec<String>>);

impl Found {
    fn hold(&mut self, promise: &'static str, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.entry(promise).or_default().push(what());
        }
    }

    fn breaches(self) -> Vec<Breach> {
        let mut breaches = Vec::new();
        for (promise, whats) in self.0 {
            let more = whats.len().saturating_sub(EXAMPLES_MAX);
            let examples = whats.into_iter().take(EXAMPLES_MAX);
            breaches.extend(examples.map(|what| Breach::new(promise, what)));
            if more > 0 {
                breaches.push(Breach::new(promise, format!("… and {more} more")));
            }
        }
        breaches
    }
}

fn stock(evidence: &Evidence, found: &mut Found) {
    for campaign in &evidence.campaigns {
        let (id, held) = (campaign.id, evidence.units(campaign.id));
        let rows = |row: &&Participation| row.campaign == id;
        let count = evidence.participations.iter().filter(rows).count() as u64;
        if let Some(total) = campaign.total {
            let oversold = || format!("campaign {id}: {held} units of {total}");
            found.hold("I1", held <= total, oversold);
            let left =
                || format!("campaign {id}: {held} of {total} units sold, and no more could be");
            found.hold("I7", held >= total || campaign.is_over, left);
        }
        let committed = campaign.committed;
        found.hold("I1", committed == held, || {
            format!("campaign {id} counts {committed} units, its participations hold {held}")
        });
        found.hold("I1", campaign.count == count, || {
            format!(
                "campaign {id} counts {} participations, there are {count}",
                campaign.count
            )
        });
        returns(evidence, campaign, found);
    }
}

/// Units return once. At the end no reservation is left, and only participations that hold units have an ordinal.
fn returns(evidence: &Evidence, campaign: &Campaign, found: &mut Found) {
    let id = campaign.id;
    let rows = evidence.participations.iter();
    let rows: Vec<&Participation> = rows.filter(|row| row.campaign == id).collect();
    let given_up = rows.iter().filter(|row| !row.holds_units()).count() as u64;
    found.hold("I1", campaign.returns == given_up, || {
        let returns = campaign.returns;
        format!("campaign {id} counts {returns} returns, {given_up} gave their units back")
    });
    for row in rows {
        found.hold("I7", row.status != "reserved", || {
            format!("{} is held to this day, and not paid for", row.id)
        });
        found.hold("I2", row.ordinal.is_some() == row.holds_units(), || {
            let (place, status) = (row.ordinal, &row.status);
            format!(
                "{} is {status}, its place under the limit is {place:?}",
                row.id
            )
        });
    }
}

fn users(evidence: &Evidence, found: &mut Found) {
    let mut held: BTreeMap<(i64, i64), u64> = BTreeMap::new();
    let holding = evidence.participations.iter();
    for row in holding.filter(|row| row.holds_units()) {
        *held.entry((row.campaign, row.user)).or_default() += u64::from(row.quantity);
    }
    for campaign in &evidence.campaigns {
        let limit = campaign.per_user_limit;
        for ((_, user), units) in held.range((campaign.id, i64::MIN)..=(campaign.id, i64::MAX)) {
            found.hold("I2", *units <= limit, || {
                format!(
                    "user {user} holds {units} of at most {limit} in campaign {}",
                    campaign.id
                )
            });
        }
        let rows = evidence.participations.iter();
        for row in rows.filter(|row| row.campaign == campaign.id) {
            found.hold(
                "I2",
                u64::from(row.quantity) <= campaign.max_quantity,
                || format!("{} takes {} units at once", row.id, row.quantity),
            );
        }
    }
}

fn ranks(evidence: &Evidence, found: &mut Found) {
    let mut seen = HashMap::new();
    for row in &evidence.participations {
        let other = seen.insert((row.campaign, row.rank), row.id);
        found.hold("rank", other.is_none() && row.rank > 0, || {
            format!(
                "campaign {}: rank {} is {}'s and {other:?}'s",
                row.campaign, row.rank, row.id
            )
        });
    }
}

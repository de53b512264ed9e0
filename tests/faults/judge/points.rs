//! Compares the ledger of points with the participations that earn them.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::Found;
use crate::evidence::{Campaign, Entry, Evidence, Participation};

pub(super) fn judge(evidence: &Evidence, found: &mut Found) {
    let mut entries: HashMap<Uuid, Vec<&Entry>> = HashMap::new();
    for entry in &evidence.entries {
        entries.entry(entry.participation).or_default().push(entry);
    }
    let campaigns = evidence.campaigns.iter();
    let campaigns: HashMap<i64, &Campaign> = campaigns.map(|one| (one.id, one)).collect();
    let mut earned: BTreeMap<i64, i64> = BTreeMap::new();
    for row in &evidence.participations {
        let points = campaigns.get(&row.campaign).map_or(0, |one| one.points);
        let points = points * i64::from(row.quantity);
        let own = entries.remove(&row.id).unwrap_or_default();
        found.hold("I6", is_right(row, points, &own), || {
            format!("{row:?} earns {points} points, and has {own:?}")
        });
        if points > 0 {
            let stands = i64::from(row.status == "confirmed");
            *earned.entry(row.user).or_default() += points * stands;
        }
    }
    for entry in entries.into_values().flatten() {
        found.hold("I6", false, || format!("nothing earned {entry:?}"));
    }
    let users = earned.keys().chain(evidence.balances.keys());
    for user in users {
        let earns = earned.get(user).copied().unwrap_or(0);
        let has = evidence.balances.get(user).copied().unwrap_or(0);
        found.hold("I6", earns == has, || {
            format!("user {user} has {has} points, and earned {earns}")
        });
    }
}

/// A confirmed participation was granted its points once. From a cancelled one they were taken back, if it had any.
fn is_right(row: &Participation, points: i64, own: &[&Entry]) -> bool {
    let of = |kind: &str| -> Vec<i64> {
        let own = own.iter().filter(|entry| entry.kind == kind);
        own.map(|entry| entry.amount).collect()
    };
    let granted = (points > 0).then_some(points);
    let taken_back = granted.map(|points| -points);
    let has_all = of("granted").into_iter().eq(granted);
    let is_other = own
        .iter()
        .any(|entry| entry.user != row.user || !["granted", "reversed"].contains(&&*entry.kind));
    let is_right = if row.status == "confirmed" {
        has_all && of("reversed").is_empty()
    } else {
        own.is_empty() || has_all && of("reversed").into_iter().eq(taken_back)
    };
    is_right && !is_other
}

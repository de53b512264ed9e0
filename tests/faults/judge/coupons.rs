//! Compares the responses to coupon uses and to cancellations with the stored coupons and participations.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::Found;
use crate::evidence::{Campaign, Coupon, Evidence, Participation};
use crate::ledger::{Change, ChangeAnswer, ChangeOutcome, Phase};

pub(super) fn judge(evidence: &Evidence, changes: &[ChangeAnswer], found: &mut Found) {
    let mut coupons: HashMap<Uuid, Vec<&Coupon>> = HashMap::new();
    for coupon in &evidence.coupons {
        coupons
            .entry(coupon.participation)
            .or_default()
            .push(coupon);
    }
    let rows = &evidence.participations;
    for campaign in &evidence.campaigns {
        let own: Vec<&Participation> = rows
            .iter()
            .filter(|row| row.campaign == campaign.id)
            .collect();
        stock(campaign, &own, &coupons, found);
        for row in own {
            let coupons = coupons.get(&row.id).map_or(&[][..], Vec::as_slice);
            coupons_match(campaign, row, coupons, found);
        }
    }
    let known: HashSet<Uuid> = rows.iter().map(|row| row.id).collect();
    for coupon in &evidence.coupons {
        let is_earned = known.contains(&coupon.participation);
        found.hold("I6", is_earned, || format!("nothing earned {coupon:?}"));
        unrequested(coupon, changes, found);
    }
    for participation in &evidence.revocations {
        found.hold("coupon", false, || {
            format!("a cancellation of {participation} is expected to this day")
        });
    }
    for answer in changes {
        let coupons = coupons.get(&answer.request.participation);
        let coupons = coupons.map_or(&[][..], Vec::as_slice);
        definite_response(answer, coupons, rows, found);
    }
}

/// Returned units are sold again, but the rewards of each unit are used once.
fn stock(
    campaign: &Campaign,
    rows: &[&Participation],
    coupons: &HashMap<Uuid, Vec<&Coupon>>,
    found: &mut Found,
) {
    let earned = rows.iter().filter_map(|row| coupons.get(&row.id)).flatten();
    let used = earned.filter(|coupon| coupon.is("used")).count() as u64;
    if let Some(total) = campaign.total {
        found.hold("I1", used <= total, || {
            format!("campaign {}: {used} coupons used of {total}", campaign.id)
        });
    }
}

/// A confirmed participation has a coupon for each unit; a cancelled one has no used or usable coupon.
fn coupons_match(campaign: &Campaign, row: &Participation, coupons: &[&Coupon], found: &mut Found) {
    let is_confirmed = row.status == "confirmed";
    let earns = u64::from(row.quantity) * u64::from(campaign.has_coupons);
    let count = coupons.len() as u64;
    let is_right = if is_confirmed {
        count == earns
    } else {
        count == 0 || count == earns
    };
    found.hold("I6", is_right, || {
        format!("{row:?} earns {earns} coupons, and has {coupons:?}")
    });
    let allowed: &[&str] = if is_confirmed {
        &["issued", "used"]
    } else {
        &["revoked"]
    };
    for coupon in coupons {
        let is_allowed = allowed.contains(&coupon.status.as_str());
        found.hold("coupon", is_allowed, || {
            format!("{} is {}, and has {coupon:?}", row.id, row.status)
        });
        found.hold("I6", coupon.user == row.user, || {
            format!("{row:?} earned {coupon:?} for another user")
        });
    }
}

/// A coupon is used only if a client requested it.
fn unrequested(coupon: &Coupon, changes: &[ChangeAnswer], found: &mut Found) {
    let is_wanted = |answer: &ChangeAnswer| match &answer.request.change {
        Change::Use { coupon: id, order } => {
            *id == coupon.id && coupon.order.as_ref() == Some(order)
        }
        Change::Confirm { .. } | Change::Cancel => false,
    };
    let is_right = !coupon.is("used") || changes.iter().any(is_wanted);
    found.hold("coupon", is_right, || {
        format!("no client used this coupon for its order: {coupon:?}")
    });
}

/// A definite response is true.
fn definite_response(
    answer: &ChangeAnswer,
    coupons: &[&Coupon],
    rows: &[Participation],
    found: &mut Found,
) {
    let request = &answer.request;
    let row = rows.iter().find(|row| row.id == request.participation);
    let status = row.map_or("", |row| row.status.as_str());
    let (promise, is_so) = match (&request.change, &answer.outcome) {
        (Change::Use { coupon, order }, ChangeOutcome::Yes) => {
            let is_used = of(coupons, *coupon)
                .is_some_and(|one| one.is("used") && one.order.as_ref() == Some(order));
            ("I5", is_used && status == "confirmed")
        }
        (Change::Use { coupon, order }, ChangeOutcome::No { code }) => {
            let is_so = of(coupons, *coupon).is_some_and(|one| match code.as_str() {
                "COUPON_USED" => one.is("used") && one.order.as_ref() != Some(order),
                _ => one.is("revoked") && status == "cancelled",
            });
            // Clients use only usable coupons by then.
            ("coupon", is_so && answer.phase == Phase::Traffic)
        }
        (Change::Cancel, ChangeOutcome::Yes) => ("I5", coupons.iter().all(|one| one.is("revoked"))),
        (Change::Cancel, ChangeOutcome::No { code }) if code == "ALREADY_USED" => {
            ("coupon", coupons.iter().any(|one| one.is("used")))
        }
        _ => return,
    };
    found.hold(promise, is_so, || {
        format!("{}; stored: {row:?} with {coupons:?}", answer.line())
    });
}

fn of<'a>(coupons: &[&'a Coupon], id: Uuid) -> Option<&'a Coupon> {
    coupons.iter().copied().find(|one| one.id == id)
}

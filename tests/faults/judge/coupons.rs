//! What clients were told of their coupons and of giving back what earned them, against what became of both.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::Found;
use crate::evidence::{Campaign, Coupon, Evidence, Participation};
use crate::ledger::{Change, ChangeAnswer, Phase, Told};

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
            stands(campaign, row, coupons, found);
        }
    }
    let known: HashSet<Uuid> = rows.iter().map(|row| row.id).collect();
    for coupon in &evidence.coupons {
        let is_earned = known.contains(&coupon.participation);
        found.hold("I6", is_earned, || format!("nothing earned {coupon:?}"));
        unasked(coupon, changes, found);
    }
    for participation in &evidence.revocations {
        found.hold("coupon", false, || {
            format!("a cancellation of {participation} is expected to this day")
        });
    }
    for answer in changes {
        let coupons = coupons.get(&answer.asked.participation);
        let coupons = coupons.map_or(&[][..], Vec::as_slice);
        told(answer, coupons, rows, found);
    }
}

/// Units that are given back are sold again, but what they earned is used once.
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

/// What is confirmed has a coupon for each unit, and what was cancelled has none that was or can be used.
fn stands(campaign: &Campaign, row: &Participation, coupons: &[&Coupon], found: &mut Found) {
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

/// Nothing is used unless somebody asked for it.
fn unasked(coupon: &Coupon, changes: &[ChangeAnswer], found: &mut Found) {
    let is_wanted = |answer: &ChangeAnswer| match &answer.asked.change {
        Change::Use { coupon: id, order } => {
            *id == coupon.id && coupon.order.as_ref() == Some(order)
        }
        Change::Confirm { .. } | Change::Cancel => false,
    };
    let is_right = !coupon.is("used") || changes.iter().any(is_wanted);
    found.hold("coupon", is_right, || {
        format!("nobody used it so: {coupon:?}")
    });
}

/// What was said for good is how it is.
fn told(answer: &ChangeAnswer, coupons: &[&Coupon], rows: &[Participation], found: &mut Found) {
    let asked = &answer.asked;
    let row = rows.iter().find(|row| row.id == asked.participation);
    let status = row.map_or("", |row| row.status.as_str());
    let (promise, is_so) = match (&asked.change, &answer.told) {
        (Change::Use { coupon, order }, Told::Yes) => {
            let is_used = of(coupons, *coupon)
                .is_some_and(|one| one.is("used") && one.order.as_ref() == Some(order));
            ("I5", is_used && status == "confirmed")
        }
        (Change::Use { coupon, order }, Told::No { code }) => {
            let is_so = of(coupons, *coupon).is_some_and(|one| match code.as_str() {
                "COUPON_USED" => one.is("used") && one.order.as_ref() != Some(order),
                _ => one.is("revoked") && status == "cancelled",
            });
            // By then, only what can be used is asked for.
            ("coupon", is_so && answer.phase == Phase::Traffic)
        }
        (Change::Cancel, Told::Yes) => ("I5", coupons.iter().all(|one| one.is("revoked"))),
        (Change::Cancel, Told::No { code }) if code == "ALREADY_USED" => {
            ("coupon", coupons.iter().any(|one| one.is("used")))
        }
        _ => return,
    };
    found.hold(promise, is_so, || {
        format!("{}; kept {row:?} with {coupons:?}", answer.line())
    });
}

fn of<'a>(coupons: &[&'a Coupon], id: Uuid) -> Option<&'a Coupon> {
    coupons.iter().copied().find(|one| one.id == id)
}

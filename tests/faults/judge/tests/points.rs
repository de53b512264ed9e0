//! Planted violations in the ledger of points.

use super::*;
use crate::evidence::Entry;

const POINTS: i64 = 6;
const STANDS: u64 = 60;
const CANCELLED: u64 = 61;
/// Cancelled before the consumer saw it confirmed.
const UNSEEN: u64 = 62;

fn entry(nth: u64, user: i64, kind: &str, amount: i64) -> Entry {
    Entry {
        participation: id(nth),
        kind: kind.to_owned(),
        user,
        amount,
    }
}

/// One participation stands, and two are cancelled.
fn sound_points() -> Evidence {
    let mut evidence = Evidence {
        campaigns: vec![Campaign {
            id: POINTS,
            points: 10,
            ..sound().0.campaigns[0].clone()
        }],
        participations: vec![participation(STANDS, POINTS, 8, 2)],
        entries: vec![
            entry(STANDS, 8, "granted", 20),
            entry(CANCELLED, 9, "granted", 10),
            entry(CANCELLED, 9, "reversed", -10),
        ],
        balances: [(8, 20), (9, 0)].into(),
        ..Evidence::default()
    };
    for (nth, user) in [(CANCELLED, 9), (UNSEEN, 8)] {
        evidence.participations.push(Participation {
            status: "cancelled".to_owned(),
            ..participation(nth, POINTS, user, 1)
        });
    }
    evidence
}

fn breaches(plant: impl FnOnce(&mut Evidence)) -> BTreeSet<String> {
    let mut evidence = sound_points();
    plant(&mut evidence);
    let mut found = Found::default();
    super::super::points::judge(&evidence, &mut found);
    let breaches = found.breaches().into_iter();
    breaches.map(|breach| breach.promise).collect()
}

#[test]
fn points_of_a_correct_run_have_no_findings() {
    assert_eq!(breaches(|_| {}), BTreeSet::new());
}

#[test]
fn points_that_differ_from_what_was_earned_are_reported() {
    let plants: [fn(&mut Evidence); 9] = [
        // Never granted, or twice.
        |evidence| drop(evidence.entries.remove(0)),
        |evidence| evidence.entries.push(entry(STANDS, 8, "granted", 20)),
        |evidence| evidence.entries[0].amount = 10,
        // To another user.
        |evidence| evidence.entries[0].user = 9,
        // Not taken back from a cancelled participation, or taken from one that stands.
        |evidence| drop(evidence.entries.remove(2)),
        |evidence| evidence.entries.push(entry(STANDS, 8, "reversed", -20)),
        // A participation that there is not.
        |evidence| evidence.entries.push(entry(99, 8, "granted", 10)),
        // The balance is not what is earned.
        |evidence| *evidence.balances.get_mut(&8).unwrap() += 10,
        |evidence| evidence.balances.retain(|user, _| *user != 8),
    ];
    for (nth, plant) in plants.into_iter().enumerate() {
        assert_eq!(breaches(plant), promises(["I6"]), "plant {nth}");
    }
}

#[test]
fn points_of_a_campaign_without_points_are_reported() {
    let found = breaches(|evidence| evidence.campaigns[0].points = 0);
    assert_eq!(found, promises(["I6"]));
}

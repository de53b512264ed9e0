//! Planted violations: the judge finds each of them, and no others.

mod coupons;
mod keys;
mod letters;
mod orders;
mod points;
mod purged;
mod settings;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::client::sends_keys;
use crate::evidence::{Event, Seen, UsedKey};
use crate::key::Key;
use crate::ledger::{Outcome, ParticipationRequest, Path, Phase, Yes};

const LIMITED: i64 = 1;
const SEVERAL: i64 = 2;
const PAID: i64 = 3;

fn id(nth: u64) -> Uuid {
    Uuid::from_u128(u128::from(nth) + 1)
}

fn participation(nth: u64, campaign: i64, user: i64, quantity: u32) -> Participation {
    Participation {
        id: id(nth),
        campaign,
        user,
        quantity,
        rank: nth + 1,
        status: "confirmed".to_owned(),
        version: 1,
        ordinal: Some(1),
        payment_reference: None,
    }
}

/// A participation with a price, after these changes.
fn order(nth: u64, user: i64, changes: &[&str]) -> Participation {
    let status = changes.last().unwrap();
    let is_paid = changes.contains(&"confirmed");
    let ordinal = ["reserved", "confirmed"].contains(status).then_some(1);
    Participation {
        status: (*status).to_owned(),
        version: changes.len().try_into().unwrap(),
        ordinal,
        payment_reference: is_paid.then(|| format!("pay-{nth}")),
        ..participation(nth, PAID, user, 2)
    }
}

fn request(row: &Participation) -> ParticipationRequest {
    ParticipationRequest {
        campaign: row.campaign,
        user: row.user,
        quantity: row.quantity,
        key: sends_keys(row.user).then(|| format!("key-{}", row.id)),
        path: Path::Grouped,
    }
}

fn answer(request: ParticipationRequest, outcome: Outcome) -> Answer {
    Answer {
        sent: Duration::ZERO,
        at: Duration::ZERO,
        phase: Phase::Traffic,
        replica: 0,
        request,
        outcome,
    }
}

fn yes(row: &Participation) -> Answer {
    let yes = Yes {
        participation: row.id,
        campaign: row.campaign,
        user: row.user,
        quantity: row.quantity,
        rank: row.rank,
    };
    answer(request(row), Outcome::Yes(yes))
}

fn refused(request: ParticipationRequest, code: &str, first: Option<Uuid>) -> Answer {
    let code = code.to_owned();
    answer(request, Outcome::No { code, first })
}

const ORDERS: [&[&str]; 4] = [
    &["reserved", "confirmed"],
    &["reserved", "confirmed", "cancelled"],
    &["reserved", "cancelled"],
    &["reserved", "expired"],
];

fn event(row: &Participation, nth: u64, sequence: u32, status: &str) -> Event {
    Event {
        id: id(nth),
        participation: row.id.to_string(),
        sequence,
        kind: format!("firstcome.participation.{status}"),
        place: (row.campaign, 0),
        is_purged: false,
    }
}

fn record(event: &Event, row: &Participation) -> Seen {
    Seen {
        partition: 0,
        key: "all".to_owned(),
        event: event.id,
        participation: row.id,
        sequence: event.sequence,
        campaign: row.campaign,
        position: event.place.1,
        kind: event.kind.clone(),
    }
}

/// Gives events without a number the next ones of their streams.
fn number(evidence: &mut Evidence) {
    let mut last: HashMap<i64, i64> = HashMap::new();
    for event in &mut evidence.events {
        let (campaign, sequence) = &mut event.place;
        let last = last.entry(*campaign).or_default();
        if *sequence == 0 {
            *sequence = *last + 1;
        }
        *last = (*last).max(*sequence);
    }
}

/// A run without violations: three campaigns, all sold, and the responses to clients.
fn sound() -> (Evidence, Vec<Answer>) {
    let mut rows = vec![
        participation(0, LIMITED, 1, 1),
        participation(1, LIMITED, 2, 1),
        participation(2, SEVERAL, 3, 2),
        participation(3, SEVERAL, 3, 1),
    ];
    // One user had all of them, and is within the limit because three were cancelled.
    rows.extend(
        (4..)
            .zip(ORDERS)
            .map(|(nth, changes)| order(nth, 4, changes)),
    );
    let answers: Vec<Answer> = rows.iter().map(yes).collect();
    let campaign = |id, total, count, per_user_limit| Campaign {
        id,
        total: Some(total),
        committed: total,
        count,
        per_user_limit,
        max_quantity: 2,
        returns: 0,
        is_paid: false,
        hold: Duration::from_secs(120),
        is_cancellable: false,
        has_coupons: false,
        points: 0,
        is_over: false,
    };
    let paid = Campaign {
        returns: 3,
        is_paid: true,
        hold: Duration::from_secs(2),
        is_cancellable: true,
        ..campaign(PAID, 2, 4, 2)
    };
    let mut evidence = Evidence {
        campaigns: vec![campaign(LIMITED, 2, 2, 1), campaign(SEVERAL, 3, 2, 3), paid],
        keys: answers.iter().filter_map(used).collect(),
        key: Some(Key::Campaign),
        ..Evidence::default()
    };
    for row in &rows {
        let changes = ORDERS.get(usize::try_from(row.rank).unwrap().wrapping_sub(5));
        let changes = changes.copied().unwrap_or(&["confirmed"]);
        for (sequence, status) in (1..).zip(changes) {
            let event = event(row, 100 + evidence.events.len() as u64, sequence, status);
            evidence.records.push(record(&event, row));
            evidence.events.push(event);
        }
    }
    evidence.participations = rows;
    number(&mut evidence);
    // A re-delivery is allowed.
    evidence.records.push(evidence.records[0].clone());
    (evidence, answers)
}

fn used(answer: &Answer) -> Option<UsedKey> {
    let Outcome::Yes(yes) = &answer.outcome else {
        return None;
    };
    Some(UsedKey {
        user: answer.request.user,
        key: answer.request.key.clone()?,
        participation: yes.participation,
    })
}

/// The violations that are found after a change.
fn broken(plant: impl FnOnce(&mut Evidence, &mut Vec<Answer>)) -> BTreeSet<String> {
    let (mut evidence, mut answers) = sound();
    plant(&mut evidence, &mut answers);
    number(&mut evidence);
    let breaches = judge(&evidence, &answers, &orders::responses());
    breaches.into_iter().map(|breach| breach.promise).collect()
}

fn promises<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn a_correct_run_has_no_findings() {
    assert_eq!(broken(|_, _| {}), BTreeSet::new());
    let (evidence, _) = sound();
    assert_eq!(redelivered(&evidence), 1);
}

#[test]
fn an_accepted_answer_without_a_row_is_reported() {
    let found = broken(|_, answers| {
        answers.push(yes(&participation(9, LIMITED, 3, 1)));
    });
    assert_eq!(found, promises(["I5"]));
}

#[test]
fn an_accepted_answer_with_another_rank_or_user_than_stored_is_reported() {
    let of = |change: fn(&mut Yes)| {
        broken(|_, answers| {
            if let Outcome::Yes(yes) = &mut answers[0].outcome {
                change(yes);
            }
        })
    };
    assert_eq!(of(|yes| yes.rank += 1), promises(["I5"]));
    assert_eq!(of(|yes| yes.user += 1), promises(["I5"]));
}

#[test]
fn an_already_participated_answer_without_a_participation_is_reported() {
    let found = broken(|evidence, answers| {
        let others = evidence.participations[1].id;
        let request = answers[0].request.clone();
        let request = ParticipationRequest {
            key: None,
            ..request
        };
        answers.push(refused(request, "ALREADY_PARTICIPATED", Some(others)));
    });
    assert_eq!(found, promises(["I5"]));
}

#[test]
fn a_rejected_key_with_a_participation_is_reported() {
    for code in ["SOLD_OUT", "LIMIT_EXCEEDED", "ALREADY_PARTICIPATED"] {
        let found = broken(|evidence, answers| {
            let request = answers[0].request.clone();
            assert!(request.key.is_some());
            answers.push(refused(request, code, Some(evidence.participations[0].id)));
        });
        assert_eq!(found, promises(["I10"]), "{code}");
    }
    // Another user's key of the same text has no participation.
    let found = broken(|_, answers| {
        let mut request = answers[0].request.clone();
        request.user = 5;
        answers.push(refused(request, "SOLD_OUT", None));
    });
    assert_eq!(found, BTreeSet::new());
}

#[test]
fn a_duplicate_rank_is_reported() {
    let found = broken(|evidence, answers| {
        evidence.participations[1].rank = 1;
        answers.remove(1);
    });
    assert_eq!(found, promises(["rank"]));
}

#[test]
fn an_unsold_unit_is_reported() {
    let found = broken(|evidence, _| evidence.campaigns[0].total = Some(3));
    assert_eq!(found, promises(["I7"]));
    let closed = broken(|evidence, _| {
        evidence.campaigns[0].total = Some(3);
        evidence.campaigns[0].is_over = true;
    });
    assert_eq!(closed, BTreeSet::new(), "a closed campaign sells nothing");
}

#[test]
fn a_unit_sold_twice_is_reported() {
    let found = broken(|evidence, _| evidence.campaigns[0].total = Some(1));
    assert_eq!(found, promises(["I1"]));
}

#[test]
fn a_count_that_differs_from_the_rows_is_reported() {
    let units = broken(|evidence, _| evidence.campaigns[0].committed = 1);
    assert_eq!(units, promises(["I1"]));
    let count = broken(|evidence, _| evidence.campaigns[0].count = 3);
    assert_eq!(count, promises(["I1"]));
}

#[test]
fn a_user_above_the_limit_is_reported() {
    let found = broken(|evidence, _| evidence.campaigns[1].per_user_limit = 2);
    assert_eq!(found, promises(["I2"]));
}

#[test]
fn participations_without_outbox_rows_and_rows_without_participations_are_reported() {
    let missing = broken(|evidence, _| {
        evidence.events.remove(0);
    });
    // Its record then belongs to no participation either.
    assert_eq!(missing, promises(["I3", "I4"]));
    let twice = broken(|evidence, _| {
        let mut second = evidence.events[0].clone();
        second.id = id(999);
        second.sequence = 2;
        second.place.1 = 0;
        let mut record = evidence.records[0].clone();
        record.event = second.id;
        record.sequence = 2;
        evidence.events.push(second);
        evidence.records.push(record);
    });
    assert_eq!(twice, promises(["I3"]));
}

#[test]
fn an_unpublished_event_is_reported() {
    let found = broken(|evidence, _| {
        let gone = evidence.records[1].event;
        evidence.records.retain(|record| record.event != gone);
    });
    assert_eq!(found, promises(["I4"]));
}

#[test]
fn a_foreign_event_is_reported() {
    let found = broken(|evidence, _| {
        let mut foreign = evidence.records[0].clone();
        foreign.event = id(999);
        foreign.participation = id(998);
        evidence.records.push(foreign);
    });
    assert_eq!(found, promises(["I4"]));
}

#[test]
fn events_that_stay_pending_are_reported() {
    let pending = |evidence: &mut Evidence| evidence.pending = vec!["an event".to_owned()];
    assert_eq!(broken(|evidence, _| pending(evidence)), promises(["I4"]));
    let dead = broken(|evidence, _| evidence.parked.push("dead".to_owned()));
    assert_eq!(dead, promises(["I4"]));
}

#[test]
fn events_out_of_order_are_reported_only_under_a_shared_key() {
    let swap = |evidence: &mut Evidence| evidence.records.swap(2, 3);
    let shared = broken(|evidence, _| swap(evidence));
    assert_eq!(shared, promises(["I8"]));
    let own = broken(|evidence, _| {
        swap(evidence);
        evidence.key = Some(Key::Participation);
    });
    assert_eq!(own, BTreeSet::new());
}

#[test]
fn a_key_with_two_participations_is_reported() {
    let other = broken(|evidence, _| evidence.keys.clear());
    assert_eq!(other, promises(["key"]));
    // Two participations of one user with the same key.
    let twice = broken(|evidence, answers| {
        let user = 6;
        assert!(sends_keys(user));
        for row in &mut evidence.participations[2..4] {
            row.user = user;
        }
        answers.truncate(2);
        let mut lost = request(&evidence.participations[2]);
        lost.key = Some("the only one".to_owned());
        answers.push(answer(lost, Outcome::Lost(String::new())));
    });
    // Nor was there a response for it.
    assert_eq!(twice, promises(["answer", "key"]));
}

#[test]
fn an_impossible_answer_is_reported() {
    let odd = broken(|_, answers| {
        let request = answers[0].request.clone();
        let body = "INTERNAL".to_owned();
        answers.push(answer(request, Outcome::Odd { status: 500, body }));
    });
    assert_eq!(odd, promises(["answer"]));
    let refused_for_good = broken(|_, answers| {
        let mut no = refused(answers[1].request.clone(), "LIMIT_EXCEEDED", None);
        no.phase = Phase::Healing;
        answers.push(no);
    });
    assert_eq!(refused_for_good, promises(["answer"]));
}

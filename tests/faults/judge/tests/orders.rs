//! Planted violations among participations with a price.

use super::*;
use crate::ledger::{Change, ChangeOutcome, ChangeRequest};

/// Indexes of the orders in the evidence, by their course.
const CONFIRMED: usize = 4;
const GIVEN_BACK: usize = 5;
const CANCELLED: usize = 6;
const EXPIRED: usize = 7;

fn pay(reference: &str) -> Change {
    Change::Confirm {
        reference: reference.to_owned(),
    }
}

fn response(nth: usize, change: Change, outcome: ChangeOutcome) -> ChangeAnswer {
    ChangeAnswer {
        at: Duration::from_secs(5),
        phase: Phase::Traffic,
        replica: 0,
        request: ChangeRequest {
            participation: id(nth as u64),
            user: 4,
            change,
            waited: Duration::from_secs(1),
        },
        age: Duration::from_secs(3),
        outcome,
    }
}

fn no(code: &str) -> ChangeOutcome {
    ChangeOutcome::No {
        code: code.to_owned(),
    }
}

/// The responses about the orders of a correct run.
pub(super) fn responses() -> Vec<ChangeAnswer> {
    vec![
        response(CONFIRMED, pay("declined-1"), no("PAYMENT_DECLINED")),
        response(CONFIRMED, pay("pay-4"), ChangeOutcome::Lost(String::new())),
        response(CONFIRMED, pay("pay-4"), ChangeOutcome::Yes),
        response(CONFIRMED, pay("other"), no("ALREADY_PAID")),
        response(GIVEN_BACK, pay("pay-5"), ChangeOutcome::Yes),
        response(GIVEN_BACK, Change::Cancel, ChangeOutcome::Yes),
        // Too late for a payment, and cancelled before it expired.
        response(CANCELLED, pay("pay-6"), no("EXPIRED")),
        response(CANCELLED, Change::Cancel, ChangeOutcome::Yes),
        response(CANCELLED, pay("pay-6"), no("CANCELLED")),
        response(EXPIRED, Change::Cancel, no("EXPIRED")),
    ]
}

fn broken_by(plant: impl FnOnce(&mut Evidence, &mut Vec<ChangeAnswer>)) -> BTreeSet<String> {
    let (mut evidence, answers) = sound();
    let mut changes = responses();
    plant(&mut evidence, &mut changes);
    number(&mut evidence);
    let breaches = judge(&evidence, &answers, &changes);
    breaches.into_iter().map(|breach| breach.promise).collect()
}

fn broken_by_an_answer(nth: usize, change: Change, outcome: ChangeOutcome) -> BTreeSet<String> {
    broken_by(|_, changes| changes.push(response(nth, change, outcome)))
}

#[test]
fn an_accepted_payment_missing_from_the_database_is_reported() {
    let lost = broken_by_an_answer(EXPIRED, pay("pay-7"), ChangeOutcome::Yes);
    assert_eq!(lost, promises(["I5"]));
    // Two payments for one.
    let twice = broken_by_an_answer(CONFIRMED, pay("other"), ChangeOutcome::Yes);
    assert_eq!(twice, promises(["I5"]));
    let of_nothing = broken_by_an_answer(99, pay("pay"), ChangeOutcome::Yes);
    assert_eq!(of_nothing, promises(["I5"]));
}

#[test]
fn a_granted_cancellation_missing_from_the_database_is_reported() {
    for nth in [CONFIRMED, EXPIRED] {
        let lost = broken_by_an_answer(nth, Change::Cancel, ChangeOutcome::Yes);
        assert_eq!(lost, promises(["I5"]));
    }
}

#[test]
fn an_unfounded_refusal_of_a_change_is_reported() {
    for (nth, change, code) in [
        (CONFIRMED, pay("pay-4"), "EXPIRED"),
        (CONFIRMED, pay("pay-4"), "CANCELLED"),
        (CONFIRMED, pay("pay-4"), "ALREADY_PAID"),
        (EXPIRED, pay("pay-7"), "ALREADY_PAID"),
        (EXPIRED, pay("pay-7"), "CANCELLED"),
        (CONFIRMED, pay("pay-4"), "PAYMENT_DECLINED"),
        (CANCELLED, Change::Cancel, "EXPIRED"),
        // This campaign allows cancellation after confirmation.
        (GIVEN_BACK, Change::Cancel, "NOT_CANCELLABLE"),
    ] {
        let found = broken_by_an_answer(nth, change, no(code));
        assert_eq!(found, promises(["change"]), "{nth} {code}");
    }
}

#[test]
fn a_final_confirmation_found_cancelled_is_reported() {
    let found = broken_by(|evidence, _| evidence.campaigns[2].is_cancellable = false);
    assert_eq!(found, promises(["I3"]));
    let refused = broken_by(|evidence, changes| {
        evidence.campaigns[2].is_cancellable = false;
        evidence.participations.remove(GIVEN_BACK);
        evidence.campaigns[2].count = 3;
        evidence.campaigns[2].returns = 2;
        let gone = id(GIVEN_BACK as u64);
        evidence
            .events
            .retain(|event| event.participation != gone.to_string());
        for event in &mut evidence.events {
            event.place.1 = 0;
        }
        evidence
            .records
            .retain(|record| record.participation != gone);
        changes.retain(|answer| answer.request.participation != gone);
        changes.push(response(CONFIRMED, Change::Cancel, no("NOT_CANCELLABLE")));
    });
    // The only trace left is the accepted response to its client.
    assert_eq!(refused, promises(["I5"]));
}

#[test]
fn a_client_without_an_answer_is_reported() {
    let lost = || ChangeOutcome::Lost(String::new());
    assert_eq!(
        broken_by_an_answer(EXPIRED, pay("x"), lost()),
        promises(["answer"])
    );
    // The response to another request does not count.
    let other = broken_by_an_answer(CONFIRMED, Change::Cancel, lost());
    assert_eq!(other, promises(["answer"]));
}

#[test]
fn participations_without_a_request_are_reported() {
    let cancelled = broken_by(|_, changes| {
        changes.retain(|answer| answer.request.change != Change::Cancel);
    });
    assert_eq!(cancelled, promises(["change"]));
    let paid = broken_by(|_, changes| {
        changes.retain(|answer| answer.request.change != pay("pay-4"));
    });
    assert_eq!(paid, promises(["change"]));
    let unpaid = broken_by(|evidence, changes| {
        evidence.participations[CONFIRMED].payment_reference = None;
        changes.retain(|answer| answer.request.participation != id(CONFIRMED as u64));
    });
    assert_eq!(unpaid, promises(["change"]));
    let paid_and_expired = broken_by(|evidence, changes| {
        evidence.participations[EXPIRED].payment_reference = Some("pay-7".to_owned());
        changes.push(response(
            EXPIRED,
            pay("pay-7"),
            ChangeOutcome::Lost(String::new()),
        ));
    });
    assert_eq!(paid_and_expired, promises(["answer", "change"]));
}

#[test]
fn a_hold_that_is_too_short_or_too_long_is_reported() {
    let short = broken_by(|_, changes| {
        let mut early = response(EXPIRED, pay("pay-7"), no("EXPIRED"));
        early.age = Duration::from_secs(1);
        changes.push(early);
    });
    assert_eq!(short, promises(["hold"]));
    let long = broken_by(|_, changes| changes[2].request.waited = Duration::from_secs(3));
    assert_eq!(long, promises(["hold"]));
}

#[test]
fn a_reservation_that_never_expires_is_reported() {
    let found = broken_by(|evidence, changes| {
        let row = &mut evidence.participations[EXPIRED];
        row.status = "reserved".to_owned();
        row.version = 1;
        row.ordinal = Some(1);
        let last = evidence.events.pop().unwrap();
        evidence.records.retain(|record| record.event != last.id);
        evidence.campaigns[2].returns = 2;
        evidence.campaigns[2].committed = 4;
        evidence.campaigns[2].total = Some(4);
        evidence.campaigns[2].per_user_limit = 4;
        changes.retain(|answer| answer.request.participation != id(EXPIRED as u64));
    });
    assert_eq!(found, promises(["I7"]));
}

#[test]
fn units_returned_twice_or_never_are_reported() {
    let twice = broken_by(|evidence, _| evidence.campaigns[2].committed = 0);
    assert_eq!(twice, promises(["I1"]));
    let counted = broken_by(|evidence, _| evidence.campaigns[2].returns = 4);
    assert_eq!(counted, promises(["I1"]));
    let unsold = broken_by(|evidence, _| evidence.campaigns[2].total = Some(4));
    assert_eq!(unsold, promises(["I7"]));
    let oversold = broken_by(|evidence, _| evidence.campaigns[2].total = Some(1));
    assert_eq!(oversold, promises(["I1"]));
}

#[test]
fn a_wrongly_kept_or_lost_ordinal_is_reported() {
    let kept = broken_by(|evidence, _| evidence.participations[EXPIRED].ordinal = Some(2));
    assert_eq!(kept, promises(["I2"]));
    let lost = broken_by(|evidence, _| evidence.participations[CONFIRMED].ordinal = None);
    assert_eq!(lost, promises(["I2"]));
    let over = broken_by(|evidence, _| evidence.campaigns[2].per_user_limit = 1);
    assert_eq!(over, promises(["I2"]));
}

#[test]
fn a_change_without_an_event_is_reported() {
    // With its record, as if neither had been written.
    let last = broken_by(|evidence, _| {
        let last = evidence.events.pop().unwrap();
        evidence.records.retain(|record| record.event != last.id);
    });
    assert_eq!(last, promises(["I3"]));
    let twice = broken_by(|evidence, _| {
        let (mut second, row) = (evidence.events[4].clone(), &evidence.participations[4]);
        second.id = id(999);
        evidence.records.push(record(&second, row));
        evidence.events.push(second);
    });
    assert_eq!(twice, promises(["I3", "I8"]));
    let another = broken_by(|evidence, _| {
        let last = evidence.events.last_mut().unwrap();
        last.kind = "firstcome.participation.cancelled".to_owned();
    });
    assert_eq!(another, promises(["I3"]));
}

#[test]
fn events_of_one_participation_out_of_order_are_reported_under_any_key() {
    for key in [Key::Participation, Key::User, Key::Campaign] {
        let found = broken_by(|evidence, _| {
            evidence.key = Some(key);
            evidence.records.swap(4, 5);
        });
        assert_eq!(found, promises(["I8"]));
    }
}

#[test]
fn a_record_with_another_change_than_its_event_is_reported() {
    let found = broken_by(|evidence, _| {
        evidence.events.swap(4, 5);
        let (first, second) = (evidence.events[4].id, evidence.events[5].id);
        evidence.events[4].id = second;
        evidence.events[5].id = first;
        let places = (evidence.events[4].place, evidence.events[5].place);
        (evidence.events[5].place, evidence.events[4].place) = places;
    });
    assert_eq!(found, promises(["I4"]));
}

#[test]
fn an_impossible_answer_to_a_change_is_reported() {
    let odd = ChangeOutcome::Odd {
        status: 500,
        body: "INTERNAL".to_owned(),
    };
    let found = broken_by_an_answer(EXPIRED, pay("pay-7"), odd.clone());
    assert_eq!(found, promises(["answer"]));
    let of_nothing = broken_by_an_answer(99, pay("pay"), odd);
    assert_eq!(of_nothing, promises(["answer"]));
}

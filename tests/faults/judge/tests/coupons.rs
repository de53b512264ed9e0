//! Planted violations among coupons that are used and participations that are cancelled.

use super::*;
use crate::evidence::Coupon;
use crate::ledger::{Change, ChangeOutcome, ChangeRequest};

const COUPONS: i64 = 4;
/// Their user.
const HOLDER: i64 = 8;

/// Indexes of the coupons in the evidence: of the confirmed participation one is used and one is not; the
/// others belong to the cancelled one.
const USED: usize = 0;
const ISSUED: usize = 1;
const REVOKED: usize = 2;

/// Which participations earned them.
const STANDS: u64 = 20;
const CANCELLED: u64 = 21;

fn coupon(nth: u64, participation: u64, status: &str, order: Option<&str>) -> Coupon {
    Coupon {
        id: id(500 + nth),
        participation: id(participation),
        user: HOLDER,
        status: status.to_owned(),
        order: order.map(str::to_owned),
    }
}

fn response(participation: u64, change: Change, outcome: ChangeOutcome) -> ChangeAnswer {
    ChangeAnswer {
        at: Duration::from_secs(5),
        phase: Phase::Traffic,
        replica: 0,
        request: ChangeRequest {
            participation: id(participation),
            user: HOLDER,
            change,
            waited: Duration::from_secs(1),
        },
        age: Duration::from_secs(3),
        outcome,
    }
}

fn using(nth: usize, order: &str) -> Change {
    Change::Use {
        coupon: id(500 + nth as u64),
        order: order.to_owned(),
    }
}

fn no(code: &str) -> ChangeOutcome {
    ChangeOutcome::No {
        code: code.to_owned(),
    }
}

/// A correct run: of two participations, one was cancelled and one has used a coupon.
fn sound_coupons() -> (Evidence, Vec<Answer>, Vec<ChangeAnswer>) {
    let (mut evidence, answers) = sound();
    evidence.campaigns.push(Campaign {
        id: COUPONS,
        committed: 2,
        count: 2,
        returns: 1,
        total: Some(2),
        per_user_limit: 2,
        is_cancellable: true,
        has_coupons: true,
        ..evidence.campaigns[0].clone()
    });
    let stands = participation(STANDS, COUPONS, HOLDER, 2);
    let cancelled = Participation {
        status: "cancelled".to_owned(),
        version: 2,
        ordinal: None,
        ..participation(CANCELLED, COUPONS, HOLDER, 2)
    };
    for (row, statuses) in [
        (stands, &["confirmed"][..]),
        (cancelled, &["confirmed", "cancelled"]),
    ] {
        for (sequence, status) in (1..).zip(statuses) {
            let event = event(&row, 100 + evidence.events.len() as u64, sequence, status);
            evidence.records.push(record(&event, &row));
            evidence.events.push(event);
        }
        evidence.participations.push(row);
    }
    evidence.coupons = vec![
        coupon(0, STANDS, "used", Some("one")),
        coupon(1, STANDS, "issued", None),
        coupon(2, CANCELLED, "revoked", None),
        coupon(3, CANCELLED, "revoked", None),
    ];
    let mut changes = orders::responses();
    changes.extend([
        response(
            STANDS,
            using(USED, "one"),
            ChangeOutcome::Lost(String::new()),
        ),
        response(STANDS, using(USED, "one"), ChangeOutcome::Yes),
        response(STANDS, using(USED, "two"), no("COUPON_USED")),
        response(STANDS, Change::Cancel, no("ALREADY_USED")),
        response(CANCELLED, Change::Cancel, ChangeOutcome::Yes),
        response(CANCELLED, using(REVOKED, "three"), no("COUPON_REVOKED")),
    ]);
    (evidence, answers, changes)
}

fn broken_by(plant: impl FnOnce(&mut Evidence, &mut Vec<ChangeAnswer>)) -> BTreeSet<String> {
    let (mut evidence, answers, mut changes) = sound_coupons();
    plant(&mut evidence, &mut changes);
    number(&mut evidence);
    let breaches = judge(&evidence, &answers, &changes);
    breaches.into_iter().map(|breach| breach.promise).collect()
}

fn broken_by_an_answer(
    participation: u64,
    change: Change,
    outcome: ChangeOutcome,
) -> BTreeSet<String> {
    broken_by(|_, changes| changes.push(response(participation, change, outcome)))
}

/// Cancels the confirmed participation completely: its row, its event, and the count of its campaign.
fn cancel_a_confirmed_participation(evidence: &mut Evidence, changes: &mut Vec<ChangeAnswer>) {
    let row = evidence.participations.iter_mut().rev().nth(1).unwrap();
    (row.status, row.version, row.ordinal) = ("cancelled".to_owned(), 2, None);
    let event = event(row, 900, 2, "cancelled");
    evidence.records.push(record(&event, row));
    evidence.events.push(event);
    let campaign = evidence.campaigns.last_mut().unwrap();
    (campaign.committed, campaign.returns, campaign.total) = (0, 2, Some(0));
    changes.retain(|answer| answer.outcome != no("ALREADY_USED"));
    changes.push(response(
        STANDS,
        Change::Cancel,
        ChangeOutcome::Lost(String::new()),
    ));
    changes.push(response(STANDS, Change::Cancel, ChangeOutcome::Yes));
}

#[test]
fn correct_coupons_have_no_findings() {
    assert_eq!(broken_by(|_, _| {}), BTreeSet::new());
}

#[test]
fn a_cancelled_participation_with_a_used_coupon_is_reported() {
    let answered = broken_by(cancel_a_confirmed_participation);
    assert_eq!(answered, promises(["I1", "I5", "coupon"]));
    // Without a response, the rows show the violation.
    let unanswered = broken_by(|evidence, changes| {
        let coupon = &mut evidence.coupons[REVOKED];
        (coupon.status, coupon.order) = ("used".to_owned(), Some("four".to_owned()));
        changes.retain(|answer| answer.request.participation != id(CANCELLED));
        changes.push(response(
            CANCELLED,
            Change::Cancel,
            ChangeOutcome::Lost(String::new()),
        ));
        changes.push(response(
            CANCELLED,
            using(REVOKED, "four"),
            ChangeOutcome::Lost(String::new()),
        ));
    });
    assert_eq!(unanswered, promises(["answer", "coupon"]));
}

#[test]
fn a_granted_cancellation_with_a_usable_coupon_is_reported() {
    let found = broken_by(|evidence, changes| {
        changes.retain(|answer| answer.outcome != no("COUPON_REVOKED"));
        evidence.coupons[REVOKED].status = "issued".to_owned();
    });
    assert_eq!(found, promises(["I5", "coupon"]));
}

#[test]
fn a_cancellation_refused_for_an_unused_coupon_is_reported() {
    let found = broken_by(|evidence, changes| {
        changes.retain(|answer| answer.request.change != using(USED, "one"));
        changes.retain(|answer| answer.request.change != using(USED, "two"));
        let coupon = &mut evidence.coupons[USED];
        (coupon.status, coupon.order) = ("issued".to_owned(), None);
    });
    assert_eq!(found, promises(["coupon"]));
    // A participation without coupons cannot have used ones.
    let other = broken_by(|_, changes| {
        changes.push(response(4, Change::Cancel, no("ALREADY_USED")));
    });
    assert_eq!(other, promises(["coupon"]));
}

#[test]
fn a_granted_coupon_use_missing_from_the_database_is_reported() {
    let lost = broken_by_an_answer(STANDS, using(ISSUED, "five"), ChangeOutcome::Yes);
    assert_eq!(lost, promises(["I5"]));
    let for_two_orders = broken_by_an_answer(STANDS, using(USED, "five"), ChangeOutcome::Yes);
    assert_eq!(for_two_orders, promises(["I5"]));
    let of_nothing = broken_by_an_answer(STANDS, using(99, "five"), ChangeOutcome::Yes);
    assert_eq!(of_nothing, promises(["I5"]));
}

#[test]
fn an_unfounded_refusal_of_a_coupon_use_is_reported() {
    let used = broken_by_an_answer(STANDS, using(ISSUED, "five"), no("COUPON_USED"));
    assert_eq!(used, promises(["coupon"]));
    // A repeated use for the same order is always accepted.
    let again = broken_by_an_answer(STANDS, using(USED, "one"), no("COUPON_USED"));
    assert_eq!(again, promises(["coupon"]));
    let revoked = broken_by_an_answer(STANDS, using(ISSUED, "five"), no("COUPON_REVOKED"));
    assert_eq!(revoked, promises(["coupon"]));
    // When all faults have ended, only issued coupons are used.
    let late = broken_by(|_, changes| {
        changes.last_mut().unwrap().phase = Phase::Healing;
    });
    assert_eq!(late, promises(["coupon"]));
}

#[test]
fn a_coupon_not_used_for_its_order_is_reported() {
    let found = broken_by(|evidence, _| {
        let coupon = &mut evidence.coupons[ISSUED];
        (coupon.status, coupon.order) = ("used".to_owned(), Some("nobody's".to_owned()));
    });
    assert_eq!(found, promises(["coupon"]));
}

#[test]
fn a_coupon_that_stays_suspended_is_reported() {
    for nth in [ISSUED, REVOKED] {
        let found = broken_by(|evidence, changes| {
            evidence.coupons[nth].status = "suspended".to_owned();
            changes.retain(|answer| answer.request.participation != id(CANCELLED));
            changes.push(response(
                CANCELLED,
                Change::Cancel,
                ChangeOutcome::Lost(String::new()),
            ));
        });
        assert_eq!(found, promises(["answer", "coupon"]));
    }
    let expected = broken_by(|evidence, _| evidence.revocations.push(id(STANDS)));
    assert_eq!(expected, promises(["coupon"]));
}

#[test]
fn a_number_of_coupons_that_differs_from_the_units_is_reported() {
    let missing = broken_by(|evidence, _| {
        evidence.coupons.remove(ISSUED);
    });
    assert_eq!(missing, promises(["I6"]));
    let too_many = broken_by(|evidence, _| {
        evidence.coupons.push(coupon(9, STANDS, "issued", None));
    });
    assert_eq!(too_many, promises(["I6"]));
    let of_nothing = broken_by(|evidence, _| {
        evidence.coupons.push(coupon(9, 99, "issued", None));
    });
    assert_eq!(of_nothing, promises(["I6"]));
}

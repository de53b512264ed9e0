use uuid::Uuid;

use super::*;
use crate::domain::{ParticipationId, Timestamp};

const FIRST: ParticipationId = ParticipationId(Uuid::from_u128(1));

/// A reply of words; the scripts answer large numbers as words, too.
fn words(words: &[&str]) -> Reply {
    let words = words.iter().map(|word| Reply::Text((*word).to_owned()));
    Reply::List(words.collect())
}

fn one(reply: &[&str]) -> Result<Admission, GateError> {
    let mut all = admissions(Reply::List(vec![words(reply)]), 1)?;
    Ok(all.remove(0))
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_timestamp_micros(micros).unwrap()
}

#[test]
fn an_admitted_entrant_gets_a_lease() {
    let mut lease = Lease {
        epoch: 2,
        rank: 3,
        remaining: Some(4),
        lease_until: at(5_000_000),
        left: Duration::from_micros(600),
        not_refused_for: Some(Duration::from_micros(70)),
    };
    let with_key = one(&["ADMITTED", "4", "2:3:5000000:600", "70"]);
    assert_eq!(with_key.unwrap(), Admission::Admitted(lease));
    lease.remaining = None;
    lease.not_refused_for = None;
    let without_key = one(&["ADMITTED", "", "2:3:5000000:600"]);
    assert_eq!(without_key.unwrap(), Admission::Admitted(lease));
}

#[test]
fn a_refused_entrant_is_told_the_reason_and_the_units_left() {
    let first = FIRST.to_string();
    for (reply, refusal) in [
        (vec!["SOLD_OUT", "4"], Refusal::SoldOut),
        (vec!["ENDED", "4"], Refusal::Ended),
        (vec!["PAUSED", "4"], Refusal::Paused),
        (vec!["LIMIT_EXCEEDED", "4"], Refusal::LimitExceeded),
        (vec!["NOT_ALLOWED", "4"], Refusal::NotAllowed),
        (
            vec!["ALREADY_PARTICIPATED", "4", &first],
            Refusal::AlreadyParticipated { first: FIRST },
        ),
        (
            vec!["NOT_OPEN_YET", "4", "5000000"],
            Refusal::NotOpenYet {
                opens_at: Some(at(5_000_000)),
            },
        ),
        (
            vec!["NOT_OPEN_YET", "4", ""],
            Refusal::NotOpenYet { opens_at: None },
        ),
    ] {
        let remaining = Some(4);
        let refused = Admission::Refused { refusal, remaining };
        assert_eq!(one(&reply).unwrap(), refused, "{reply:?}");
    }
}

#[test]
fn an_entrant_is_undecided_while_another_holds_a_lease() {
    let undecided = Admission::Undecided {
        first: FIRST,
        remaining: Some(4),
    };
    let reply = ["UNDECIDED", "4", &FIRST.to_string()];
    assert_eq!(one(&reply).unwrap(), undecided);
    assert_eq!(one(&["MISSING"]).unwrap(), Admission::Missing);
}

#[test]
fn an_answer_outside_the_contract_is_an_error() {
    for reply in [
        vec![],
        vec!["ADMIRED", "4"],
        vec!["ADMITTED", "4", "2:3::600"],
        vec!["ADMITTED", "4", "2:3:5000000"],
        vec!["UNDECIDED", "4", "nobody"],
    ] {
        assert!(one(&reply).is_err(), "{reply:?}");
    }
    for answers in [0, 2] {
        let reply = Reply::List(vec![words(&["MISSING"]); answers]);
        assert!(admissions(reply, 1).is_err(), "{answers} to one entrant");
    }
}

#[test]
fn a_held_lease_has_its_participation_its_epoch_and_its_end() {
    let lease = held_lease(words(&[&FIRST.to_string(), "2", "5000000"]));
    let expected = HeldLease {
        participation: FIRST,
        epoch: 2,
        ends_at: at(5_000_000),
    };
    assert_eq!(lease.unwrap(), expected);
}

mod judging;

use std::collections::BTreeMap;

use uuid::Uuid;

use super::*;
use crate::domain::EventId;
use crate::parts::broker::Consumed;
use crate::parts::store::{EventRow, EventSums, Purged, Segment};

/// Ids in the order of their numbers.
fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// A change of a participation in campaign 1, keyed by the participation.
fn change(event: u128, participation: u128, sequence: u32) -> Seen {
    Seen {
        key: id(participation).to_string(),
        event,
        participation,
        sequence,
        campaign: 1,
        partition: 0,
    }
}

#[derive(Clone)]
struct Seen {
    key: String,
    event: u128,
    participation: u128,
    sequence: u32,
    campaign: i64,
    partition: i32,
}

impl Seen {
    fn keyed(self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self
        }
    }

    fn of_campaign(self, campaign: i64) -> Self {
        Self { campaign, ..self }
    }
}

fn report(records: &[Seen]) -> Report {
    let mut checker = Checker::default();
    for (offset, seen) in (0..).zip(records) {
        checker.add(&ChangeRecord {
            partition: seen.partition,
            offset,
            key: &seen.key,
            event: EventId(id(seen.event)),
            participation: ParticipationId(id(seen.participation)),
            sequence: seen.sequence,
            position: u64::try_from(seen.event).unwrap(),
            rank: u64::try_from(seen.participation).unwrap(),
            campaign: CampaignId(seen.campaign),
        });
    }
    checker.finish()
}

fn tally(records: &[Seen]) -> Tally {
    let report = report(records);
    assert_eq!(report.campaigns.len(), 1);
    report.campaigns[&CampaignId(1)]
}

#[test]
fn changes_in_order_have_no_findings() {
    let records = [
        change(1, 10, 1),
        change(2, 20, 1),
        change(3, 10, 2),
        change(4, 10, 3),
    ];
    let expected = Tally {
        records: 4,
        distinct: 4,
        ..Tally::default()
    };
    assert_eq!(tally(&records), expected);
    assert_eq!(report(&records).late, LateEvents::default());
}

#[test]
fn a_redelivery_is_counted_and_is_no_violation() {
    // The first change is delivered again after the second: at-least-once delivery allows that.
    let again = [
        change(1, 10, 1),
        change(2, 10, 2),
        change(1, 10, 1),
        change(2, 10, 2),
    ];
    let expected = Tally {
        records: 4,
        distinct: 2,
        redelivered: 2,
        ..Tally::default()
    };
    assert_eq!(tally(&again), expected);
    let shared = again.map(|record| record.keyed("7"));
    assert_eq!(tally(&shared), expected);
}

#[test]
fn swapped_changes_are_out_of_order_and_leave_no_gap() {
    let records = [change(1, 10, 1), change(3, 10, 3), change(2, 10, 2)];
    let report = report(&records);
    let tally = report.campaigns[&CampaignId(1)];
    assert_eq!((tally.out_of_order, tally.gaps), (1, 0));
    assert_eq!(report.late.ids(), [EventId(id(2))].into());
}

#[test]
fn another_event_with_a_known_sequence_is_out_of_order() {
    assert_eq!(tally(&[change(1, 10, 1), change(2, 10, 1)]).out_of_order, 1);
    let ahead = [change(1, 10, 1), change(2, 10, 3), change(3, 10, 3)];
    assert_eq!(tally(&ahead).out_of_order, 1);
}

#[test]
fn a_change_without_the_one_before_it_is_a_gap() {
    let gaps = |records: &[Seen]| {
        let tally = tally(records);
        assert_eq!(tally.out_of_order, 0);
        tally.gaps
    };
    assert_eq!(gaps(&[change(1, 10, 2)]), 1);
    assert_eq!(
        gaps(&[change(1, 10, 1), change(2, 10, 3), change(3, 10, 4)]),
        1
    );
    assert_eq!(
        gaps(&[change(1, 10, 1), change(2, 10, 3), change(3, 10, 5)]),
        2
    );
    let named = report(&[change(1, 10, 2)]).examples_of_gaps;
    assert!(named[0].contains("change 2"), "{named:?}");
}

#[test]
fn under_a_shared_key_each_campaign_has_its_own_order() {
    // A user in two campaigns: positions in different streams need not be in order.
    let user = |event, campaign| change(event, event, 1).keyed("7").of_campaign(campaign);
    let good = [user(5, 1), user(2, 2), user(6, 1), user(3, 2)];
    let found = report(&good).campaigns;
    assert!(found.values().all(|tally| tally.out_of_order == 0));

    let bad = [user(5, 1), user(2, 2), user(4, 1), user(3, 2)];
    let found = report(&bad).campaigns;
    assert_eq!(found[&CampaignId(1)].out_of_order, 1);
    assert_eq!(found[&CampaignId(2)].out_of_order, 0);
}

#[test]
fn two_keys_have_no_order_between_them() {
    let records = [
        change(9, 9, 1).keyed("7"),
        change(1, 1, 1).keyed("8"),
        change(2, 2, 1),
    ];
    assert_eq!(tally(&records).out_of_order, 0);
}

#[test]
fn partitions_have_no_order_between_them() {
    let mut records = [change(1, 10, 1), change(2, 10, 2), change(3, 10, 3)];
    records[0].partition = 2;
    records.rotate_left(1);
    let moved = tally(&records);
    assert_eq!((moved.out_of_order, moved.moved, moved.gaps), (0, 1, 0));
    let moved = tally(&records.map(|record| record.keyed("7")));
    assert_eq!((moved.out_of_order, moved.moved), (0, 1));
}

#[test]
fn an_event_takes_the_documented_amount_of_memory() {
    // Each entry of a table has a byte of the table's own.
    let entries = size_of::<(EventId, u32)>() + 1 + size_of::<(ParticipationId, Changes)>() + 1;
    assert_eq!(entries, 46);
}

#[test]
fn a_record_is_parsed_from_its_headers_and_value() {
    let (event, subject) = (id(1).to_string(), id(2).to_string());
    let record = Consumed {
        partition: 3,
        offset: 4,
        key: Some(subject.as_bytes()),
        payload: Some(br#"{"campaignId": 5, "more": null}"#),
        headers: vec![
            ("ce_id", event.as_bytes()),
            ("ce_subject", subject.as_bytes()),
            ("ce_keysequence", b"6"),
            ("ce_sequence", b"8"),
            ("ce_rank", b"7"),
        ],
    };
    let change = ChangeRecord::of(&record).unwrap();
    assert_eq!(change.event, EventId(id(1)));
    assert_eq!(change.participation, ParticipationId(id(2)));
    assert_eq!((change.sequence, change.campaign), (6, CampaignId(5)));
    assert_eq!((change.rank, change.position), (7, 8));
    assert!(change.is_keyed_by_participation());

    let mut checker = Checker::default();
    feed(&mut checker, &record);
    for (missing, _) in &record.headers {
        let mut incomplete = record.clone();
        incomplete.headers.retain(|(header, _)| header != missing);
        feed(&mut checker, &incomplete);
    }
    let mut unreadable = record.clone();
    unreadable.payload = Some(b"null");
    feed(&mut checker, &unreadable);
    let mut without_key = record;
    without_key.key = None;
    feed(&mut checker, &without_key);
    let report = checker.finish();
    assert_eq!(report.unreadable, 7);
    assert_eq!(report.campaigns[&CampaignId(5)].records, 1);
}

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
    assert!(report(&records).examples.is_empty());
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
    assert_eq!(report.examples.len(), 1);
    let key = id(10).to_string();
    assert!(report.examples[0].contains(&key), "{:?}", report.examples);
    assert!(report.examples[0].contains("partition 0 offset 2"));
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
fn examples_have_a_bound() {
    let late = (0..100).flat_map(|n| [change(2 * n + 1, n, 2), change(2 * n, n, 1)]);
    let report = report(&late.collect::<Vec<_>>());
    assert_eq!(report.campaigns[&CampaignId(1)].out_of_order, 100);
    assert_eq!(report.examples.len(), EXAMPLES_MAX);
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

fn expecting(published: u64, parked: u64) -> BTreeMap<CampaignId, Expected> {
    [(CampaignId(1), Expected { published, parked })].into()
}

/// The verdict on a topic that still has its first records.
fn judge_complete(
    report: Report,
    (published, parked): (u64, u64),
    differences: &Differences,
) -> TopicVerdict {
    judge(
        report,
        &expecting(published, parked),
        differences,
        Truncation::None,
    )
}

/// A published event of the database.
fn published(event: u128, rank: u64) -> EventRow {
    EventRow {
        id: EventId(id(event)),
        rank,
        sequence: 1,
        waits: false,
    }
}

fn sums(events: &[EventRow]) -> EventSums {
    let mut sums = EventSums::default();
    for event in events {
        sums.add(event.rank, event.sequence, event.id);
    }
    sums
}

/// The differences in the first segment of campaign 1, of which the `purged` events were deleted.
fn differences(records: &[Seen], events: &[EventRow], purged: &[EventRow]) -> Differences {
    let presence = report(records).presence;
    let segment = Segment::of(CampaignId(1), 1);
    let of_purged = sums(purged);
    let purged = Purged {
        events: of_purged.events,
        digest: of_purged.changes,
    };
    let mut differences = Differences::default();
    let published: Vec<EventRow> = events.iter().filter(|it| !it.waits).copied().collect();
    if !agree(presence.sums()[&segment], sums(&published), purged) {
        differences.compare(segment, &presence, events.to_vec(), purged);
    }
    differences
}

/// Events lost, and phantoms.
fn found(differences: &Differences) -> (u64, u64) {
    let one = differences.campaigns.get(&CampaignId(1));
    one.map_or((0, 0), |one| (one.lost(), one.phantoms))
}

#[test]
fn a_phantom_does_not_hide_a_lost_event_in_its_segment() {
    // The second change came with the id of another event.
    let records = [change(1, 10, 1), change(9, 20, 1)];
    let events = [published(1, 10), published(2, 20)];
    let differences = differences(&records, &events, &[]);
    assert_eq!(found(&differences), (1, 1));
    let verdict = judge_complete(report(&records), (2, 0), &differences);
    assert!(!verdict.is_clean());
    assert_eq!(
        (verdict.campaigns[0].lost, verdict.campaigns[0].phantoms),
        (Some(1), 1)
    );
    let text = table("t", &verdict);
    let (lost, phantom) = (id(2), id(9));
    for line in [
        format!("event {lost} (change 1 of rank 20) is published and not in the topic"),
        format!("event {phantom} is in the topic and not in the database"),
        "I4 1 events lost: 2 published, 2 in the topic".to_owned(),
        "I4 1 phantoms".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} in {text}");
    }
}

#[test]
fn a_pending_event_may_or_may_not_be_in_the_topic() {
    let waits = |event, rank| EventRow {
        waits: true,
        ..published(event, rank)
    };
    let records = [change(1, 10, 1), change(2, 20, 1)];
    let events = [published(1, 10), waits(2, 20), waits(3, 30)];
    assert_eq!(differences(&records, &events, &[]), Differences::default());
}

#[test]
fn events_that_arrive_during_the_check_are_not_lost() {
    let events = [published(1, 10), published(2, 20), published(3, 30)];
    let first = differences(&[change(1, 10, 1)], &events, &[]);
    assert!(first.has_missing());
    let later = [&events[..], &[published(4, 40)]].concat();
    let again = differences(&[change(1, 10, 1), change(3, 30, 1)], &later, &[]);
    assert_eq!((found(&first), found(&again)), ((2, 0), (2, 0)));
    let lost = again.missing_since(&first);
    assert_eq!(lost.campaigns[&CampaignId(1)].missing, [published(2, 20)]);
    assert_eq!(found(&lost), (1, 0));
}

#[test]
fn purged_events_are_distinguished_from_phantoms_by_their_changes() {
    let records = [change(1, 10, 1), change(2, 20, 1), change(3, 30, 1)];
    let of = |purged: &[EventRow]| found(&differences(&records, &[published(3, 30)], purged));
    assert_eq!(of(&[published(1, 10), published(2, 20)]), (0, 0));
    assert_eq!(of(&[published(1, 10), published(8, 80)]), (1, 1));
    assert_eq!(of(&[published(1, 10)]), (0, 1));
    assert_eq!(
        of(&[published(1, 10), published(2, 20), published(8, 80)]),
        (1, 0)
    );
    let all = [published(1, 10), published(2, 20), published(3, 30)];
    assert_eq!(differences(&records, &[], &all), Differences::default());
}

#[test]
fn differences_are_named_up_to_a_bound_and_counted_beyond_it() {
    let records: Vec<_> = (0..100).map(|n| change(1_000 + n, n + 1, 1)).collect();
    let events: Vec<_> = (0..100)
        .map(|n| published(n + 1, u64::try_from(n).unwrap() + 1))
        .collect();
    let differences = differences(&records, &events, &[]);
    assert_eq!(found(&differences), (100, 100));
    let verdict = judge_complete(report(&records), (100, 0), &differences);
    assert_eq!(verdict.examples.len(), 2 * EXAMPLES_MAX);
}

#[test]
fn without_the_beginning_of_the_topic_no_loss_and_no_gap_is_reported() {
    let records = [change(2, 10, 2)];
    let second = EventRow {
        sequence: 2,
        ..published(2, 10)
    };
    let differences = differences(&records, &[published(1, 10), second], &[]);
    let expected = expecting(9, 0);
    let verdict = judge(
        report(&records),
        &expected,
        &differences,
        Truncation::Beginning,
    );
    assert!(verdict.is_clean() && verdict.examples.is_empty());
    assert_eq!(
        (verdict.campaigns[0].lost, verdict.campaigns[0].gaps),
        (None, None)
    );
    assert!(table("t", &verdict).contains("losses and gaps are unknown"));
}

#[test]
fn gaps_up_to_the_number_of_parked_events_are_no_violation() {
    let judged = |parked| {
        let gap = report(&[change(2, 10, 2)]);
        judge_complete(gap, (1, parked), &Differences::default())
    };
    assert!(judged(1).is_clean());
    assert!(!judged(0).is_clean());
}

#[test]
fn a_foreign_record_is_reported_as_unreadable() {
    let mut checker = Checker::default();
    checker.add_unreadable(0, 7, "no ce_id");
    let none = Differences::default();
    let verdict = judge(checker.finish(), &BTreeMap::new(), &none, Truncation::None);
    assert!(!verdict.is_clean());
    assert!(table("t", &verdict).contains("partition 0 offset 7: no ce_id"));
}

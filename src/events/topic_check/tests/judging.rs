//! The verdict on a topic against the events of the database.

use super::*;

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
        &BTreeSet::new(),
        &expecting(published, parked),
        differences,
        Truncation::None,
    )
}

/// The verdict on the order of these records, if these events are replayed dead letters.
fn judge_order(records: &[Seen], replayed: &[u128]) -> TopicVerdict {
    let replayed = replayed.iter().map(|event| EventId(id(*event))).collect();
    let none = Differences::default();
    let report = report(records);
    judge(report, &replayed, &BTreeMap::new(), &none, Truncation::None)
}

/// Events out of order, and replayed ones.
fn late(verdict: &TopicVerdict) -> (u64, u64) {
    let tally = verdict.campaigns[0].tally;
    (tally.out_of_order, tally.replayed)
}

#[test]
fn a_replayed_dead_letter_may_come_late() {
    let by_participation = [change(2, 10, 2), change(3, 10, 3), change(1, 10, 1)];
    let by_campaign = [change(2, 20, 1), change(3, 30, 1), change(1, 10, 1)];
    let by_campaign = by_campaign.map(|record| record.keyed("7"));
    for records in [by_participation, by_campaign] {
        let verdict = judge_order(&records, &[1]);
        assert!(verdict.is_clean() && verdict.examples.is_empty());
        assert_eq!(late(&verdict), (0, 1));
    }
}

#[test]
fn a_late_event_without_a_replay_is_a_violation() {
    // The second one was replayed, and the first one comes even later.
    let records = [change(3, 10, 3), change(2, 10, 2), change(1, 10, 1)];
    let verdict = judge_order(&records, &[2]);
    assert_eq!(late(&verdict), (1, 1));
    assert_eq!(verdict.campaigns[0].breaches, ["I8 1 events out of order"]);
    let [example] = &verdict.examples[..] else {
        panic!("{:?}", verdict.examples);
    };
    let (key, event) = (id(10), id(1));
    for part in [
        format!("key {key}: event {event} (change 1 of {key})"),
        "at partition 0 offset 2".to_owned(),
    ] {
        assert!(example.contains(&part), "{example}");
    }
    assert!(!judge_order(&records, &[]).is_clean());
    assert!(judge_order(&records, &[1, 2]).is_clean());
}

#[test]
fn an_event_that_a_replayed_later_one_overtakes_is_a_violation() {
    let records = [change(2, 20, 1).keyed("7"), change(1, 10, 1).keyed("7")];
    assert_eq!(late(&judge_order(&records, &[2])), (1, 0));
}

#[test]
fn examples_of_late_events_have_a_bound() {
    let records = (0..100).flat_map(|n| [change(2 * n + 1, n, 2), change(2 * n, n, 1)]);
    let verdict = judge_order(&records.collect::<Vec<_>>(), &[]);
    assert_eq!(late(&verdict), (100, 0));
    assert_eq!(verdict.examples.len(), EXAMPLES_MAX);
}

/// A published event of the database.
fn published(event: u128, rank: u64) -> EventRow {
    EventRow {
        id: EventId(id(event)),
        position: u64::try_from(event).unwrap(),
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
    assert_eq!(verdict.campaigns[0].lost_events, [EventId(id(2))]);
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
        &BTreeSet::new(),
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
    let (report, expected) = (checker.finish(), BTreeMap::new());
    let verdict = judge(report, &BTreeSet::new(), &expected, &none, Truncation::None);
    assert!(!verdict.is_clean());
    assert!(table("t", &verdict).contains("partition 0 offset 7: no ce_id"));
}

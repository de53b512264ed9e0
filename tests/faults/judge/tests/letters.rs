//! Replayed dead letters: they may come after later events of their key, and no other event may.

use super::*;

const EVERY_KEY: [Key; 3] = [Key::Participation, Key::User, Key::Campaign];

/// The records of the first two changes of one participation.
const CHANGES: [usize; 2] = [4, 5];

/// The records of two participations in one campaign.
const OF_TWO: [usize; 2] = [2, 3];

/// The violations if the first of the two records comes right after the second, and one of them was replayed.
fn late(key: Key, [first, second]: [usize; 2], replayed: Option<usize>) -> BTreeSet<String> {
    broken(|evidence, _| {
        evidence.key = Some(key);
        let replayed = replayed.map(|nth| evidence.records[nth].event);
        evidence.replayed.extend(replayed);
        evidence.records.swap(first, second);
    })
}

#[test]
fn a_replayed_dead_letter_may_come_after_later_events_of_its_key() {
    for key in EVERY_KEY {
        assert_eq!(late(key, CHANGES, Some(CHANGES[0])), BTreeSet::new());
        assert_eq!(late(key, OF_TWO, Some(OF_TWO[0])), BTreeSet::new());
    }
}

#[test]
fn a_late_event_that_was_not_replayed_is_reported() {
    for key in EVERY_KEY {
        assert_eq!(late(key, CHANGES, None), promises(["I8"]));
        // Another event was replayed, and even the one that came first.
        assert_eq!(late(key, CHANGES, Some(OF_TWO[0])), promises(["I8"]));
        assert_eq!(late(key, CHANGES, Some(CHANGES[1])), promises(["I8"]));
    }
    assert_eq!(late(Key::Campaign, OF_TWO, None), promises(["I8"]));
    let other = late(Key::Campaign, OF_TWO, Some(OF_TWO[1]));
    assert_eq!(other, promises(["I8"]));
}

#[test]
fn events_after_a_late_dead_letter_are_in_the_order_of_the_others() {
    let place = |evidence: &Evidence, nth: usize| evidence.events[nth].place;
    // The events of the campaign with payment: the first one comes third, and then the second one.
    let found = |replayed: bool| {
        broken(|evidence, _| {
            let records: Vec<usize> = (4..8).collect();
            assert_eq!(place(evidence, 4).0, PAID);
            assert_eq!(place(evidence, 7).0, PAID);
            let (first, second) = (evidence.records[4].event, evidence.records[5].event);
            evidence.replayed.insert(first);
            evidence.replayed.extend(replayed.then_some(second));
            let moved: Vec<Seen> = [2, 3, 0, 1]
                .map(|nth: usize| evidence.records[records[nth]].clone())
                .into();
            evidence.records.splice(4..8, moved);
        })
    };
    assert_eq!(found(false), promises(["I8"]));
    assert_eq!(found(true), BTreeSet::new());
}

#[test]
fn a_dead_letter_of_a_moved_key_may_be_in_either_partition() {
    let found = |replayed: bool| {
        broken(|evidence, _| {
            evidence.keys_moved = true;
            let event = evidence.records[OF_TWO[0]].event;
            evidence.replayed.extend(replayed.then_some(event));
            evidence.records.swap(OF_TWO[0], OF_TWO[1]);
        })
    };
    assert_eq!(found(true), BTreeSet::new());
    assert_eq!(found(false), promises(["I8"]));
}

#[test]
fn a_replayed_dead_letter_that_never_came_is_reported() {
    let found = broken(|evidence, _| {
        let gone = evidence.records.remove(CHANGES[0]);
        evidence.replayed.insert(gone.event);
    });
    assert_eq!(found, promises(["I4", "I8"]));
}

//! A relay that has lost a bucket can no longer park its rows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use firstcome::domain::{BUCKETS, OutboxEvent, State, StreamId, key_hash};
use firstcome::parts::store::{
    LogEntry, NewlyParked, ParkedRow, ParkedState, ParkedVerdict, Partitions, Released, Store,
    Targets,
};

use sea_orm::{ConnectionTrait, Database, TransactionTrait};

use crate::store::new_participation;
use crate::support::{TestStore, campaign_of, create, mysql, sell, sqlite};

const LONG: Duration = Duration::from_secs(60);
/// A lease that ends at once.
const NOTHING: Duration = Duration::ZERO;

fn to_be_tried_again() -> ParkedVerdict {
    ParkedVerdict {
        state: ParkedState::Retry,
        attempts: 1,
        error_class: "possibly_delivered",
        error: "no answer".to_owned(),
        next_in: Some(LONG),
    }
}

/// Takes all buckets for this long, and returns the epoch.
async fn take(store: &Store, owner: &str, lease: Duration, bucket: u16) -> Option<u64> {
    let (held, _) = store.hold_buckets(owner, lease).await.unwrap();
    let held = held.into_iter().find(|held| held.bucket == bucket);
    held.map(|held| held.epoch)
}

async fn event(test: &TestStore, nth: u64) -> OutboxEvent {
    let store = &test.store;
    let campaign = create(store, campaign_of(None)).await;
    assert_eq!(campaign.state, State::Open);
    let batch = vec![new_participation(
        &campaign,
        i64::try_from(nth).unwrap(),
        1,
        1,
    )];
    let sold = sell(store, &campaign, batch).await;
    sold[0].event.clone()
}

async fn rows_are_parked_by_their_owner_alone(test: &TestStore) {
    let store = &test.store;
    let event = event(test, 1).await;
    let bucket = event.campaign_id.bucket();
    let first = take(store, "first", NOTHING, bucket).await.unwrap();
    let second = take(store, "second", LONG, bucket).await.unwrap();
    assert!(second > first);
    let park = async |owner, epoch| {
        let row = NewlyParked::of(&event, to_be_tried_again(), epoch);
        let parked = store.park(owner, &[row]).await.unwrap();
        parked.contains(&event.place())
    };
    assert!(!park("first", first).await, "it lost the bucket");
    assert!(!park("second", first).await, "it was another tenure");
    assert_eq!(store.outbox_counts(None).await.unwrap().pending, 1);
    assert!(park("second", second).await);
    assert!(park("second", second).await, "the answer was lost");
    let counts = store.outbox_counts(None).await.unwrap();
    assert_eq!((counts.pending, counts.retry), (0, 1));
    let dead = ParkedVerdict {
        state: ParkedState::Dead,
        ..to_be_tried_again()
    };
    assert!(store.park_again(event.place(), &dead).await.unwrap());
    assert!(
        !store.park_again(event.place(), &dead).await.unwrap(),
        "it is no longer tried"
    );
    let key = (event.stream(), event.key.clone());
    let released = store
        .release_keys(std::slice::from_ref(&key))
        .await
        .unwrap();
    assert_eq!(released[&key], Released::Free);
}

/// A relay that was stopped in an unfinished transaction about a bucket, and locks its lease row forever.
#[tokio::test(flavor = "multi_thread")]
async fn on_mysql_a_locked_bucket_is_skipped_and_the_others_are_acquired() {
    let test = mysql().await;
    let stopped = Database::connect(&test.url).await.unwrap();
    let writing = stopped.begin().await.unwrap();
    let lock = "SELECT 1 FROM outbox_lease WHERE bucket = 7 FOR SHARE";
    writing.execute_unprepared(lock).await.unwrap();
    let (held, _) = test.store.hold_buckets("another", LONG).await.unwrap();
    assert_eq!(held.len(), usize::from(BUCKETS) - 1);
    assert!(held.iter().all(|held| held.bucket != 7));
    writing.rollback().await.unwrap();
    let (held, _) = test.store.hold_buckets("another", LONG).await.unwrap();
    assert_eq!(held.len(), usize::from(BUCKETS));
}

/// Most rows of the table are locked at once, which a scan would do faster than lookups by key.
#[tokio::test(flavor = "multi_thread")]
async fn on_mysql_rows_are_parked_while_another_bucket_is_locked() {
    let test = mysql().await;
    let store = &test.store;
    let mut events = Vec::new();
    for nth in 1..BUCKETS {
        events.push(event(&test, u64::from(nth)).await);
    }
    let (held, _) = store.hold_buckets("it", LONG).await.unwrap();
    let epochs: BTreeMap<u16, u64> = held.iter().map(|held| (held.bucket, held.epoch)).collect();
    let bucket = |event: &OutboxEvent| event.campaign_id.bucket();
    let row =
        |event: &OutboxEvent| NewlyParked::of(event, to_be_tried_again(), epochs[&bucket(event)]);
    let rows: Vec<NewlyParked> = events.iter().map(row).collect();
    let used: BTreeSet<u16> = events.iter().map(bucket).collect();
    let other = (0..BUCKETS).find(|bucket| !used.contains(bucket)).unwrap();
    let elsewhere = Database::connect(&test.url).await.unwrap();
    let stall = elsewhere.begin().await.unwrap();
    let lock = format!("SELECT 1 FROM outbox_lease WHERE bucket = {other} FOR UPDATE");
    stall.execute_unprepared(&lock).await.unwrap();
    let parked = store.park("it", &rows).await.unwrap();
    assert_eq!(parked.len(), rows.len());
    stall.rollback().await.unwrap();
}

/// One relay parks a row while another acquires its bucket and reads it: if the row is parked, the new owner sees it.
/// owner sees that.
async fn a_takeover_and_a_late_verdict_meet(test: &TestStore, rounds: u64) {
    let store = &test.store;
    for nth in 1..=rounds {
        let event = event(test, nth).await;
        let bucket = event.campaign_id.bucket();
        let epoch = take(store, "old", NOTHING, bucket).await.unwrap();
        let row = [NewlyParked::of(&event, to_be_tried_again(), epoch)];
        let late = store.park("old", &row);
        let takeover = async {
            // Not while the other relay writes about it.
            while take(store, "new", LONG, bucket).await.is_none() {}
            let waiting = store.waiting_keys(&[bucket]).await.unwrap();
            let read = store.read_stream(event.stream(), 0, 10).await.unwrap();
            let is_parked = matches!(read[..], [LogEntry::Parked(_, ParkedState::Retry)]);
            let is_blocked = waiting.iter().any(|(_, key)| **key == *event.key);
            (is_blocked, is_parked)
        };
        let (parked, seen) = tokio::join!(late, takeover);
        let is_parked = !parked.unwrap().is_empty();
        assert_eq!(seen, (is_parked, is_parked), "round {nth}");
        store.leave_buckets("new").await.unwrap();
        store.leave_buckets("old").await.unwrap();
    }
}

/// A partition follows from the hash of the key, which stays in the row.
async fn parked_rows_are_read_by_their_partition(test: &TestStore) {
    const COUNT: u32 = 3;
    let store = &test.store;
    let event = event(test, 1).await;
    let buckets = [event.campaign_id.bucket()];
    let its = key_hash(&event.key) % COUNT;
    let of = |number| Partitions {
        topic: event.topic,
        count: COUNT,
        numbers: vec![number],
    };
    let epoch = take(store, "owner", LONG, buckets[0]).await.unwrap();
    let due_now = ParkedVerdict {
        next_in: Some(NOTHING),
        ..to_be_tried_again()
    };
    let row = [NewlyParked::of(&event, due_now, epoch)];
    assert_eq!(store.park("owner", &row).await.unwrap().len(), 1);
    let other = (its + 1) % COUNT;
    for (number, rows) in [(its, (0, 1)), (other, (1, 0))] {
        let all_but = Targets::AllBut(Vec::new(), vec![of(number)]);
        let due = async |targets: &Targets| {
            let due = store.parked_due(ParkedState::Retry, &buckets, targets, (10, LONG));
            due.await.unwrap().parked.len()
        };
        let found = (due(&all_but).await, due(&Targets::Only(of(number))).await);
        assert_eq!(found, rows);
    }
    let no_topic = Targets::AllBut(vec![event.topic], Vec::new());
    let due = store.parked_due(ParkedState::Retry, &buckets, &no_topic, (10, LONG));
    assert_eq!(due.await.unwrap().parked, []);
    assert_eq!(store.unpark(&[event.place()]).await.unwrap(), 1);
}

/// Of the rows of a key one is retried at a time, in order.
async fn blocked_rows_are_released_one_by_one(test: &TestStore) {
    let store = &test.store;
    let campaign = create(store, campaign_of(None)).await;
    let mut batch: Vec<_> = (1..=3)
        .map(|nth| new_participation(&campaign, i64::try_from(nth).unwrap(), nth, 1))
        .collect();
    for new_participation in &mut batch {
        new_participation.event.key = "one".into();
    }
    let sold = sell(store, &campaign, batch).await;
    let bucket = campaign.id.bucket();
    let epoch = take(store, "owner", LONG, bucket).await.unwrap();
    let verdict = |state| ParkedVerdict {
        state,
        next_in: None,
        ..to_be_tried_again()
    };
    let states = [
        ParkedState::Retry,
        ParkedState::Blocked,
        ParkedState::Blocked,
    ];
    let rows: Vec<NewlyParked> = sold
        .iter()
        .zip(states)
        .map(|(new_participation, state)| {
            NewlyParked::of(&new_participation.event, verdict(state), epoch)
        })
        .collect();
    assert_eq!(store.park("owner", &rows).await.unwrap().len(), 3);
    let key = (StreamId::of_participations(campaign.id), "one".into());
    let release = async || {
        store
            .release_keys(std::slice::from_ref(&key))
            .await
            .unwrap()[&key]
    };
    assert_eq!(release().await, Released::Waits);
    assert_eq!(store.orphan_keys(&[bucket]).await.unwrap(), []);
    for new_participation in &sold[..2] {
        assert_eq!(
            store
                .unpark(&[new_participation.event.place()])
                .await
                .unwrap(),
            1
        );
        assert_eq!(
            store.orphan_keys(&[bucket]).await.unwrap(),
            std::slice::from_ref(&key)
        );
        assert_eq!(release().await, Released::Due);
        let due = store
            .parked_due(ParkedState::Retry, &[bucket], &Targets::ALL, (10, LONG))
            .await;
        let due = due.unwrap().parked;
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].event.sequence, new_participation.event.sequence + 1);
    }
    let last = ParkedRow {
        place: sold[2].event.place(),
        key: "one".into(),
    };
    store.unpark(&[last.place]).await.unwrap();
    assert_eq!(release().await, Released::Free);
}

#[tokio::test]
async fn in_mysql_blocked_rows_are_released_one_by_one() {
    blocked_rows_are_released_one_by_one(&mysql().await).await;
}

#[tokio::test]
async fn in_sqlite_blocked_rows_are_released_one_by_one() {
    blocked_rows_are_released_one_by_one(&sqlite().await).await;
}

#[tokio::test]
async fn in_mysql_parked_rows_are_read_by_their_partition() {
    parked_rows_are_read_by_their_partition(&mysql().await).await;
}

#[tokio::test]
async fn in_sqlite_parked_rows_are_read_by_their_partition() {
    parked_rows_are_read_by_their_partition(&sqlite().await).await;
}

#[tokio::test]
async fn in_mysql_rows_are_parked_by_their_owner_alone() {
    rows_are_parked_by_their_owner_alone(&mysql().await).await;
}

#[tokio::test]
async fn in_sqlite_rows_are_parked_by_their_owner_alone() {
    rows_are_parked_by_their_owner_alone(&sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_mysql_a_takeover_and_a_late_verdict_meet() {
    a_takeover_and_a_late_verdict_meet(&mysql().await, 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_sqlite_a_takeover_and_a_late_verdict_meet() {
    a_takeover_and_a_late_verdict_meet(&sqlite().await, 20).await;
}

//! Whoever has lost a bucket no longer moves its rows.

use std::time::Duration;

use firstcome::domain::{OutboxEvent, State, key_hash};
use firstcome::parts::store::{
    BatchOutcome, ParkedKey, ParkedState, Partitions, Reparked, Store, Under, Verdict, Without,
};

use firstcome::domain::event::BUCKETS;
use sea_orm::{ConnectionTrait, Database, TransactionTrait};

use crate::store::intake;
use crate::support::{TestStore, campaign_of, create, mysql, sqlite};

const LONG: Duration = Duration::from_secs(60);
/// Over at once.
const NOTHING: Duration = Duration::ZERO;

fn to_be_tried_again() -> Verdict {
    Verdict {
        state: ParkedState::Retry,
        attempts: 1,
        error_class: "possibly_delivered",
        error: "no answer".to_owned(),
        next_in: Some(LONG),
    }
}

/// Takes all buckets for so long: the epoch of this one.
async fn take(store: &Store, owner: &str, lease: Duration, bucket: u16) -> Option<u64> {
    let (held, _) = store.hold_buckets(owner, lease).await.unwrap();
    let held = held.into_iter().find(|held| held.bucket == bucket);
    held.map(|held| held.epoch)
}

async fn event(test: &TestStore, nth: u64) -> OutboxEvent {
    let store = &test.store;
    let campaign = create(store, campaign_of(None)).await;
    assert_eq!(campaign.state, State::Open);
    let intake = intake(&campaign, i64::try_from(nth).unwrap(), 1, 1);
    let event = intake.event.clone();
    let batch = [intake];
    let committed = store.commit_participations(&campaign, campaign.gate_epoch, &batch);
    assert_eq!(
        committed.await.unwrap(),
        BatchOutcome::Committed { held_from: None }
    );
    event
}

async fn only_their_owner_moves_rows(test: &TestStore) {
    let store = &test.store;
    let event = event(test, 1).await;
    let first = take(store, "first", NOTHING, event.bucket).await.unwrap();
    let second = take(store, "second", LONG, event.bucket).await.unwrap();
    assert!(second > first);
    let park = async |owner, epoch| {
        let under = Under { owner, epoch };
        store
            .park(&event, &to_be_tried_again(), under)
            .await
            .unwrap()
    };
    assert!(!park("first", first).await, "it lost the bucket");
    assert!(!park("second", first).await, "it was another tenure");
    assert_eq!(store.outbox_counts(None).await.unwrap().pending, 1);
    assert!(park("second", second).await);
    assert!(park("second", second).await, "the answer was lost");
    let counts = store.outbox_counts(None).await.unwrap();
    assert_eq!((counts.pending, counts.retry), (0, 1));
    let dead = Verdict {
        state: ParkedState::Dead,
        ..to_be_tried_again()
    };
    let under = |owner, epoch| Under { owner, epoch };
    let row = ParkedKey::of(&event);
    let again = store.park_again(&row, &dead, under("first", first));
    assert_eq!(again.await.unwrap(), Reparked::Not);
    let again = store.park_again(&row, &dead, under("second", second));
    assert_eq!(again.await.unwrap(), Reparked::LetGo);
}

/// A relay that was stopped in the middle of writing about a bucket, and holds its lease row for good.
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

/// One relay parks a row while another takes its bucket over and reads it: the row is seen in one place
/// or the other, and where it is seen it stays.
async fn a_takeover_and_a_late_acknowledgement_meet(test: &TestStore, rounds: u64) {
    let store = &test.store;
    for nth in 1..=rounds {
        let event = event(test, nth).await;
        let bucket = event.bucket;
        let epoch = take(store, "old", NOTHING, bucket).await.unwrap();
        let under = Under {
            owner: "old",
            epoch,
        };
        let verdict = to_be_tried_again();
        let late = store.park(&event, &verdict, under);
        let takeover = async {
            // Not while the other writes about it.
            while take(store, "new", LONG, bucket).await.is_none() {}
            let blocked = store
                .parked_keys(&[ParkedState::Retry], &[bucket])
                .await
                .unwrap();
            let pending = store
                .pending(&[bucket], &Without::default(), 1_000)
                .await
                .unwrap();
            (
                blocked.iter().any(|(_, key)| **key == *event.key),
                pending.iter().any(|row| row.key.event_id == event.id),
            )
        };
        let (moved, (is_blocked, is_pending)) = tokio::join!(late, takeover);
        assert_eq!(moved.unwrap(), is_blocked, "round {nth}");
        assert_eq!(is_pending, !is_blocked, "round {nth}");
        store.leave_buckets("new").await.unwrap();
        store.leave_buckets("old").await.unwrap();
    }
}

/// A partition follows from the hash of the key, which stays in the row wherever it is.
async fn rows_are_read_by_their_partition(test: &TestStore) {
    const COUNT: u32 = 3;
    let store = &test.store;
    let event = event(test, 1).await;
    let (buckets, its) = ([event.bucket], key_hash(&event.key) % COUNT);
    let of = |number| Partitions {
        stream: event.stream,
        count: COUNT,
        numbers: vec![number],
    };
    let without = |number| Without {
        partitions: vec![of(number)],
        ..Without::default()
    };
    let other = (its + 1) % COUNT;
    let pending = async || {
        let mut found = Vec::new();
        for number in [its, other] {
            let left = store.pending(&buckets, &without(number), 10).await;
            let alone = store.pending_for(&buckets, &of(number), 10).await;
            found.push((left.unwrap().len(), alone.unwrap().len()));
        }
        found
    };
    assert_eq!(pending().await, [(0, 1), (1, 0)]);
    let epoch = take(store, "owner", LONG, event.bucket).await.unwrap();
    let under = Under {
        owner: "owner",
        epoch,
    };
    let mut verdict = Verdict {
        next_in: Some(NOTHING),
        ..to_be_tried_again()
    };
    assert!(store.park(&event, &verdict, under).await.unwrap());
    for (number, rows) in [(its, 0), (other, 1)] {
        let (state, without) = (ParkedState::Retry, without(number));
        let due = store.parked_due(state, &buckets, &without, 10).await;
        assert_eq!(due.unwrap().parked.len(), rows);
        let next = store.next_due(state, &buckets, &without).await.unwrap();
        assert_eq!(next.is_some(), rows == 1);
    }
    assert!(store.delete_parked(&ParkedKey::of(&event)).await.unwrap());
    assert_eq!(pending().await, [(0, 0), (0, 0)]);
    // One that waited behind another is pending again.
    let event = self::event(test, 2).await;
    let (buckets, its) = ([event.bucket], key_hash(&event.key) % COUNT);
    let epoch = take(store, "owner", LONG, event.bucket).await.unwrap();
    verdict.state = ParkedState::Blocked;
    let under = Under {
        owner: "owner",
        epoch,
    };
    assert!(store.park(&event, &verdict, under).await.unwrap());
    assert_eq!(store.free_orphans(&buckets).await.unwrap(), 1);
    let left = store.pending(&buckets, &without(its), 10).await.unwrap();
    assert_eq!(left, []);
    let alone = store.pending_for(&buckets, &of(its), 10).await.unwrap();
    assert_eq!(alone.len(), 1);
}

#[tokio::test]
async fn in_mysql_rows_are_read_by_their_partition() {
    rows_are_read_by_their_partition(&mysql().await).await;
}

#[tokio::test]
async fn in_sqlite_rows_are_read_by_their_partition() {
    rows_are_read_by_their_partition(&sqlite().await).await;
}

#[tokio::test]
async fn in_mysql_only_their_owner_moves_rows() {
    only_their_owner_moves_rows(&mysql().await).await;
}

#[tokio::test]
async fn in_sqlite_only_their_owner_moves_rows() {
    only_their_owner_moves_rows(&sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_mysql_a_takeover_and_a_late_acknowledgement_meet() {
    a_takeover_and_a_late_acknowledgement_meet(&mysql().await, 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_sqlite_a_takeover_and_a_late_acknowledgement_meet() {
    a_takeover_and_a_late_acknowledgement_meet(&sqlite().await, 20).await;
}

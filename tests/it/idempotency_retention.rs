//! Old idempotency keys are deleted, on both databases; newer ones are not.

use std::time::Duration;

use chrono::TimeDelta;
use firstcome::domain::{Timestamp, UserId};
use firstcome::events::relay::Retention;
use firstcome::operate::idempotency_retention::KeyPurger;
use firstcome::operate::table_retention::Step;
use firstcome::parts::store::{Store, UserKey};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement, TransactionTrait, Value};

use crate::store::new_participation;
use crate::support::{TestStore, campaign_of, create, mysql, sell, stores};

const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

fn key(user: i64, key: &str) -> UserKey {
    UserKey {
        user: UserId(user),
        key: key.to_owned(),
    }
}

fn purger(store: &Store, rows_max: u32) -> KeyPurger {
    let retention = Retention {
        interval: Duration::from_secs(60),
        rows_max,
        busy_percent_max: 10,
        ..Retention::default()
    };
    KeyPurger::new(store.clone(), MONTH, retention)
}

/// Commits a participation for each of these keys, each in a separate campaign.
async fn use_keys(store: &Store, keys: &[UserKey]) {
    for one in keys {
        let campaign = create(store, campaign_of(None)).await;
        let mut new_participation = new_participation(&campaign, one.user.0, 1, 1);
        new_participation.idempotency_key = Some(one.key.clone());
        sell(store, &campaign, vec![new_participation]).await;
    }
}

async fn run(db: &DatabaseConnection, sql: &str, values: impl IntoIterator<Item = Value>) {
    let backend = db.get_database_backend();
    let statement = Statement::from_sql_and_values(backend, sql, values);
    db.execute_raw(statement).await.unwrap();
}

/// Sets the time of the keys of this user.
async fn date(test: &TestStore, user: i64, at: Timestamp) {
    let db = Database::connect(&test.url).await.unwrap();
    let sql = "UPDATE idempotency SET created_at = ? WHERE user_id = ?";
    run(&db, sql, [at.into(), user.into()]).await;
}

async fn known(store: &Store, keys: &[UserKey]) -> usize {
    store.participations_by_keys(keys).await.unwrap().len()
}

#[tokio::test]
async fn expired_keys_are_deleted_in_bounded_batches() {
    for test in stores().await {
        let store = &test.store;
        // Pages end in the middle of a user's keys.
        let keys: Vec<UserKey> = [
            (1, "a"),
            (2, "a"),
            (2, "b"),
            (2, "c"),
            (2, "d"),
            (2, "e"),
            (3, "a"),
        ]
        .map(|(user, name)| key(user, name))
        .to_vec();
        use_keys(store, &keys).await;
        let now = store.time().await.unwrap();
        for user in 1..=3 {
            date(
                &test,
                user,
                now - TimeDelta::days(30) + TimeDelta::minutes(1),
            )
            .await;
        }
        let purger = purger(store, 3);
        for step in [Step::Page(0), Step::Page(0), Step::Last(0)] {
            assert_eq!(purger.sweep_page("one").await.unwrap(), step, "not yet");
        }
        assert_eq!(known(store, &keys).await, 7);
        for user in 1..=3 {
            date(&test, user, now - TimeDelta::days(30)).await;
        }
        for step in [Step::Page(3), Step::Page(3), Step::Last(1)] {
            assert_eq!(purger.sweep_page("one").await.unwrap(), step);
        }
        assert_eq!(known(store, &keys).await, 0);
        assert_eq!(purger.sweep_page("one").await.unwrap(), Step::Last(0));
    }
}

#[tokio::test]
async fn young_keys_stay_among_expired_ones() {
    for test in stores().await {
        let store = &test.store;
        let keys: Vec<UserKey> = (1..=9).map(|user| key(user, "a")).collect();
        use_keys(store, &keys).await;
        let old = store.time().await.unwrap() - TimeDelta::days(31);
        for user in [1, 4, 5, 9] {
            date(&test, user, old).await;
        }
        let purger = purger(store, 4);
        for step in [Step::Page(2), Step::Page(1), Step::Last(1)] {
            assert_eq!(purger.sweep_page("one").await.unwrap(), step);
        }
        let left = store.participations_by_keys(&keys).await.unwrap();
        let mut left: Vec<i64> = left.keys().map(|key| key.user.0).collect();
        left.sort_unstable();
        assert_eq!(left, [2, 3, 6, 7, 8]);
    }
}

#[tokio::test]
async fn one_replica_sweeps_and_none_again_before_the_pause_is_over() {
    for test in stores().await {
        let store = &test.store;
        let keys: Vec<UserKey> = (1..=5).map(|user| key(user, "a")).collect();
        use_keys(store, &keys).await;
        let (one, two) = (purger(store, 3), purger(store, 3));
        assert_eq!(one.sweep_page("one").await.unwrap(), Step::Page(0));
        assert_eq!(two.sweep_page("two").await.unwrap(), Step::NotOwner);
        assert_eq!(one.sweep_page("one").await.unwrap(), Step::Last(0));
        assert_eq!(two.sweep_page("two").await.unwrap(), Step::NotOwner);

        let db = Database::connect(&test.url).await.unwrap();
        let sql = "SELECT expires_at FROM duty WHERE name = 'idempotency_keys'";
        let statement = Statement::from_string(db.get_database_backend(), sql);
        let row = db.query_one_raw(statement).await.unwrap().unwrap();
        let until: Timestamp = row.try_get("", "expires_at").unwrap();
        let left = until - store.time().await.unwrap();
        assert!(
            left > TimeDelta::hours(23) && left <= TimeDelta::days(1),
            "{left}"
        );

        // The replica is dead; another one starts a new sweep when it is due.
        run(
            &db,
            "UPDATE duty SET expires_at = ?",
            [(until - TimeDelta::days(8)).into()],
        )
        .await;
        assert_eq!(two.sweep_page("two").await.unwrap(), Step::Page(0));
        assert_eq!(two.sweep_page("two").await.unwrap(), Step::Last(0));
    }
}

#[tokio::test]
async fn a_sweep_does_not_wait_for_keys_that_are_being_committed() {
    let test = mysql().await;
    let store = &test.store;
    let keys: Vec<UserKey> = [1, 5, 9].map(|user| key(user, "a")).to_vec();
    use_keys(store, &keys).await;
    let old = store.time().await.unwrap() - TimeDelta::days(31);
    for user in [1, 9] {
        date(&test, user, old).await;
    }
    let writer = Database::connect(&test.url).await.unwrap();
    let writing = writer.begin().await.unwrap();
    let insert = "INSERT INTO idempotency (user_id, idempotency_key, participation_id, created_at) \
                  VALUES (1, 'b', x'00000000000000000000000000000001', UTC_TIMESTAMP(6)), \
                  (7, 'b', x'00000000000000000000000000000002', UTC_TIMESTAMP(6))";
    writing.execute_unprepared(insert).await.unwrap();
    let step = purger(store, 100).sweep_page("one").await.unwrap();
    assert_eq!(step, Step::Last(2));
    writing.commit().await.unwrap();
    assert_eq!(known(store, &keys).await, 1);
}

//! Keys in an open transaction are distinguished from keys without a participation, without waiting.

use std::time::{Duration, Instant};

use firstcome::domain::UserId;
use firstcome::parts::store::UserKey;
use sea_orm::{ConnectionTrait, Database, TransactionTrait};

use crate::support::{mysql, stores};

fn key(user: i64, key: &str) -> UserKey {
    UserKey {
        user: UserId(user),
        key: key.to_owned(),
    }
}

#[tokio::test]
async fn a_written_uncommitted_key_is_under_way() {
    let test = mysql().await;
    let writer = Database::connect(&test.url).await.unwrap();
    let writing = writer.begin().await.unwrap();
    let insert = "INSERT INTO idempotency (user_id, idempotency_key, participation_id, created_at) \
                  VALUES (1, 'written', x'00000000000000000000000000000001', NOW()), \
                  (5, 'written', x'00000000000000000000000000000002', NOW())";
    writing.execute_unprepared(insert).await.unwrap();
    let keys: Vec<UserKey> = (1..=9)
        .flat_map(|user| [key(user, "written"), key(user, "unknown")])
        .collect();
    let began = Instant::now();
    let mut found = test.store.keys_under_way(&keys).await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "it waited for nobody"
    );
    found.sort_by_key(|key| key.user.0);
    assert_eq!(found, [key(1, "written"), key(5, "written")]);
    let committed = test.store.participations_by_keys(&keys).await.unwrap();
    assert!(committed.is_empty());
    writing.rollback().await.unwrap();
    assert_eq!(test.store.keys_under_way(&keys).await.unwrap(), []);
}

#[tokio::test]
async fn a_rolled_back_key_is_not_under_way() {
    for test in stores().await {
        let keys = [key(1, "a"), key(2, "b")];
        assert_eq!(test.store.keys_under_way(&keys).await.unwrap(), []);
    }
}

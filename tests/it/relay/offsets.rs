//! If configured, the published position of an event is stored before the stream's position passes it.

use std::sync::Arc;

use firstcome::events::relay::Config;
use firstcome::parts::broker::PublishError;
use sea_orm::{ConnectionTrait, Statement};

use super::bench::{Bench, Double, Reaction, Running, config, events};
use crate::support::real;

fn keeping() -> Config {
    Config {
        keep_offsets: true,
        ..config()
    }
}

/// The sequences with an offset.
async fn kept(bench: &Bench) -> Vec<i64> {
    let text = "SELECT sequence FROM outbox_published ORDER BY campaign_id, sequence";
    let statement = Statement::from_string(bench.db.get_database_backend(), text);
    let rows = bench.db.query_all_raw(statement).await.unwrap();
    let sequences = rows.iter().map(|row| row.try_get_by_index(0).unwrap());
    sequences.collect()
}

async fn offsets_are_stored(bench: &Bench) {
    // The first record is parked and published later: it has an offset, too.
    let lost = PublishError::PossiblyDelivered("no answer".to_owned());
    let double = Double::reacting([Reaction::Fail(lost)]);
    let all = events(30, 1);
    bench.commit_together(&all).await;
    let running = Running::start(bench, double.clone(), keeping());
    bench.settled().await;
    assert!(running.stop().await.is_clean());
    assert_eq!(double.ids().len(), 30);
    assert_eq!(kept(bench).await, (1..=30).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_stored_on_sqlite() {
    offsets_are_stored(&Bench::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_stored_on_mysql() {
    let bench = Bench::mysql(&real("FIRSTCOME_DATABASE_URL")).await;
    offsets_are_stored(&bench).await;
    bench.drop_schema().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_offset_is_stored_by_default() {
    let bench = Bench::sqlite().await;
    let double = Arc::new(Double::default());
    bench.commit_together(&events(10, 1)).await;
    let running = Running::start(&bench, double.clone(), config());
    bench.settled().await;
    assert!(running.stop().await.is_clean());
    assert_eq!(double.ids().len(), 10);
    assert_eq!(kept(&bench).await, [0_i64; 0]);
}

//! A key is unblocked at the moment when its next event is read: because a row of unknown result is delivered,
//! or because the hold of a writer ends without a publication.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use firstcome::domain::{OutboxEvent, key_hash};
use firstcome::events::relay::Config;
use firstcome::parts::broker::{Acknowledged, PublishError, Publisher, Record};
use firstcome::runtime::clock::Clock;
use firstcome::runtime::retry::Policy;
use futures_util::StreamExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sea_orm::{ConnectionTrait, Statement};
use tokio::sync::Notify;

use super::bench::{Bench, Double, Running, config, events};
use crate::support::real;

const KEYS: u32 = 400;
const KEYS_AT_ONCE: usize = 10;
/// Longest time that the broker takes; other events are committed meanwhile.
const SPREAD: Duration = Duration::from_millis(8);
/// The first event of a key is retried after this time at most: by then the second one waits behind it.
const RETRY: Duration = Duration::from_millis(60);
/// The time in which a request must publish its event.
const HOLD: Duration = Duration::from_millis(30);

/// Reports an unknown result for the first event of each key at its first attempt, and signals when it gets it
/// again.
struct Doubtful {
    double: Double,
    doubted: Mutex<HashSet<String>>,
    again: Mutex<HashMap<String, Arc<Notify>>>,
    random: Mutex<StdRng>,
}

impl Doubtful {
    fn a_while(&self) -> Duration {
        let mut random = self.random.lock().unwrap();
        random.random_range(Duration::ZERO..SPREAD)
    }

    /// Woken when the first event of a key is sent again.
    fn again(&self, key: &str) -> Arc<Notify> {
        let mut again = self.again.lock().unwrap();
        Arc::clone(again.entry(key.to_owned()).or_default())
    }
}

#[async_trait]
impl Publisher for Doubtful {
    async fn publish(&self, record: &Record) -> Result<Acknowledged, PublishError> {
        let is_new = self.doubted.lock().unwrap().insert(record.key.clone());
        if is_new {
            return Err(PublishError::PossiblyDelivered("no answer".to_owned()));
        }
        self.again(&record.key).notify_one();
        tokio::time::sleep(self.a_while()).await;
        self.double.publish(record).await
    }

    async fn partitions(&self, topic: &str) -> Result<u32, PublishError> {
        self.double.partitions(topic).await
    }

    async fn create_topics(&self, _: &[String], _: u32) -> Result<(), PublishError> {
        Ok(())
    }

    async fn flush(&self, _deadline: Duration) {}
}

/// Polls almost without a pause.
fn hasty() -> Config {
    Config {
        poll_min: Duration::from_millis(1),
        poll_max: Duration::from_millis(1),
        retry: Policy {
            initial: RETRY,
            max: RETRY,
            ..config().retry
        },
        ..config()
    }
}

async fn no_event_passes_one_unblocked(bench: Bench) {
    let seed = rand::random();
    eprintln!("seed {seed}");
    let publisher = Arc::new(Doubtful {
        double: Double::default(),
        doubted: Mutex::default(),
        again: Mutex::default(),
        random: Mutex::new(StdRng::seed_from_u64(seed)),
    });
    let events = events(KEYS, 3);
    let running = Running::start(&bench, publisher.clone(), hasty());
    running.owns(64).await;
    futures_util::stream::iter(events.chunks(3))
        .for_each_concurrent(KEYS_AT_ONCE, async |of_key: &[OutboxEvent]| {
            bench.commit_together(&of_key[..2]).await;
            publisher.again(&of_key[0].key).notified().await;
            tokio::time::sleep(publisher.a_while()).await;
            bench.commit(&of_key[2]).await;
        })
        .await;
    bench.settled().await;
    for of_key in events.chunks(3) {
        assert_eq!(publisher.double.sequences(&of_key[0].key), [1, 2, 3]);
    }
    assert_eq!(running.handle.metrics().order_violations.get(), 0);
    assert!(running.stop().await.is_clean());
}

/// The request does not publish the first event of a key within its hold.
async fn no_event_passes_one_whose_hold_ends(bench: Bench) {
    let double = Arc::new(Double::default());
    let events = events(KEYS, 2);
    let running = Running::start(&bench, double.clone(), hasty());
    running.owns(64).await;
    futures_util::stream::iter(events.chunks(2))
        .for_each_concurrent(KEYS_AT_ONCE, async |of_key: &[OutboxEvent]| {
            let first = &of_key[0];
            let written = bench.written(of_key).await;
            let place = bench.placed(first).place();
            let hold = Statement::from_sql_and_values(
                bench.db.get_database_backend(),
                "INSERT INTO outbox_parked (campaign_id, sequence, event_id, topic, message_key, key_hash, state, \
                 attempts, error_class, error, next_at, parked_at) VALUES (?,?,?,?,?,?,'held',0,'held','',?,?)",
                [
                    place.stream.campaign.0.into(),
                    i64::try_from(place.sequence).unwrap().into(),
                    first.id.0.into(),
                    first.topic.as_str().into(),
                    first.key.to_string().into(),
                    key_hash(&first.key).into(),
                    (Clock::System.now() + HOLD).into(),
                    Clock::System.now().into(),
                ],
            );
            written.execute_raw(hold).await.unwrap();
            written.commit().await.unwrap();
        })
        .await;
    bench.settled().await;
    for of_key in events.chunks(2) {
        assert_eq!(double.sequences(&of_key[0].key), [1, 2]);
    }
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn on_mysql_no_event_passes_one_whose_hold_ends_during_the_read() {
    let bench = Bench::mysql(&real("FIRSTCOME_DATABASE_URL")).await;
    no_event_passes_one_whose_hold_ends(bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_no_event_passes_one_whose_hold_ends_during_the_read() {
    no_event_passes_one_whose_hold_ends(Bench::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_mysql_no_event_passes_one_unblocked_during_the_read() {
    let bench = Bench::mysql(&real("FIRSTCOME_DATABASE_URL")).await;
    no_event_passes_one_unblocked(bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_no_event_passes_one_unblocked_during_the_read() {
    no_event_passes_one_unblocked(Bench::sqlite().await).await;
}

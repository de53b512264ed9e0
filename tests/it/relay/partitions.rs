//! Silent partitions, new partitions, and batches that fail in part.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use firstcome::domain::{OutboxEvent, key_hash};
use firstcome::events::relay::Config;
use firstcome::parts::broker::{Acknowledged, PublishError, Publisher, Record};
use tokio::sync::Semaphore;

use super::bench::{Bench, Running, config, events, events_from, until};

/// A topic with partitions, of which one can be silent.
struct Partitioned {
    count: AtomicU32,
    /// This partition accepts nothing, and queries about it wait for a permit.
    silent: Mutex<Option<u32>>,
    answers: Semaphore,
    asked: AtomicU32,
    /// How often the number of partitions was read, and how many batches were begun.
    looked: AtomicU32,
    begun: AtomicU32,
    /// Batches take a permit each.
    batches: Semaphore,
    /// The results of the next batches of at least two records; all other batches are acknowledged.
    scripted: Mutex<Vec<Vec<PublishError>>>,
    records: Mutex<Vec<Record>>,
}

impl Partitioned {
    fn new(count: u32) -> Self {
        Self {
            count: AtomicU32::new(count),
            silent: Mutex::default(),
            answers: Semaphore::new(0),
            asked: AtomicU32::new(0),
            looked: AtomicU32::new(0),
            begun: AtomicU32::new(0),
            batches: Semaphore::new(Semaphore::MAX_PERMITS),
            scripted: Mutex::default(),
            records: Mutex::default(),
        }
    }

    fn is_silent(&self, record: &Record) -> bool {
        let partition = key_hash(&record.key) % self.count.load(Ordering::SeqCst);
        *self.silent.lock().unwrap() == Some(partition)
    }

    /// The numbers of the records of a key, in order.
    fn sequences(&self, key: &str) -> Vec<u32> {
        let records = self.records.lock().unwrap();
        let of_key = records.iter().filter(|record| record.key == key);
        let number = |record: &Record| {
            let mut headers = record.headers.iter();
            let (_, value) = headers.find(|(name, _)| *name == "ce_keysequence").unwrap();
            value.parse().unwrap()
        };
        of_key.map(number).collect()
    }
}

#[async_trait]
impl Publisher for Partitioned {
    fn known_partitions(&self, _: &str) -> Option<u32> {
        self.looked.fetch_add(1, Ordering::SeqCst);
        Some(self.count.load(Ordering::SeqCst))
    }

    async fn ask_partition(&self, record: &Record) -> Result<(), PublishError> {
        if self.is_silent(record) {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.answers.acquire().await.unwrap().forget();
        }
        Ok(())
    }

    async fn publish(&self, record: &Record) -> Result<Acknowledged, PublishError> {
        let mut results = self.publish_all(std::slice::from_ref(record)).await;
        results.remove(0)
    }

    async fn publish_all(&self, records: &[Record]) -> Vec<Result<Acknowledged, PublishError>> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.batches.acquire().await.unwrap().forget();
        if records.iter().any(|record| self.is_silent(record)) {
            let silent = || Err(PublishError::Partition("silent".to_owned()));
            return records.iter().map(|_| silent()).collect();
        }
        if records.len() > 1
            && let Some(failures) = self.scripted.lock().unwrap().pop()
        {
            return failures.into_iter().map(Err).collect();
        }
        let mut kept = self.records.lock().unwrap();
        kept.extend(records.iter().cloned());
        let acknowledged = Acknowledged {
            partition: 0,
            offset: 0,
        };
        records.iter().map(|_| Ok(acknowledged)).collect()
    }

    async fn partitions(&self, _: &str) -> Result<u32, PublishError> {
        Ok(self.count.load(Ordering::SeqCst))
    }

    async fn create_topics(&self, _: &[String], _: u32) -> Result<(), PublishError> {
        Ok(())
    }

    async fn flush(&self, _: Duration) {}
}

/// Events of keys of one partition out of three, selected from random keys.
fn events_of(partition: u32, count: usize) -> Vec<OutboxEvent> {
    let all = events_from(partition * 10_000, 2_000, 1);
    let of_partition = all.into_iter();
    let of_partition = of_partition.filter(|event| key_hash(&event.key) % 3 == partition);
    let events: Vec<OutboxEvent> = of_partition.take(count).collect();
    assert_eq!(events.len(), count);
    events
}

/// More events than may be in flight, and a probe without an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_without_an_answer_holds_no_other_partition_back() {
    let bench = Bench::sqlite().await;
    let publisher = Arc::new(Partitioned::new(3));
    *publisher.silent.lock().unwrap() = Some(0);
    let config = Config {
        in_flight_max: 64,
        ..config()
    };
    let running = Running::start(&bench, publisher.clone(), config);
    running.owns(64).await;
    bench.commit_together(&events_of(0, 20)).await;
    until("the silent partition is probed", async || {
        publisher.asked.load(Ordering::SeqCst) > 0
    })
    .await;
    let (of_silent, of_other) = (events_of(0, 120).split_off(20), events_of(1, 20));
    bench.commit_together(&of_silent).await;
    bench.commit_together(&of_other).await;
    until("the other partition is written to", async || {
        publisher.records.lock().unwrap().len() == of_other.len()
    })
    .await;
    *publisher.silent.lock().unwrap() = None;
    publisher.answers.add_permits(1_000);
    bench.settled().await;
    assert_eq!(publisher.records.lock().unwrap().len(), 140);
    assert_eq!(running.handle.metrics().order_violations.get(), 0);
    assert!(running.stop().await.is_clean());
}

/// A later event of a key must not go to its new partition while an earlier one is in flight.
#[tokio::test(flavor = "multi_thread")]
async fn new_partitions_do_not_change_the_order_of_a_key() {
    let bench = Bench::sqlite().await;
    let mut publisher = Partitioned::new(3);
    publisher.batches = Semaphore::new(0);
    let publisher = Arc::new(publisher);
    let moves = |event: &OutboxEvent| key_hash(&event.key) % 6 != key_hash(&event.key) % 3;
    let events = events(60, 5);
    let (first, later): (Vec<_>, Vec<_>) =
        events.into_iter().partition(|event| event.key_sequence < 3);
    assert!(first.iter().any(moves));
    let running = Running::start(&bench, publisher.clone(), config());
    running.owns(64).await;
    bench.commit_together(&first).await;
    until("a batch of each partition is on its way", async || {
        publisher.begun.load(Ordering::SeqCst) == 3
    })
    .await;
    publisher.count.store(6, Ordering::SeqCst);
    bench.commit_together(&later).await;
    let polls = &running.handle.metrics().polls;
    let (polled, looked) = (polls.get(), publisher.looked.load(Ordering::SeqCst));
    until("the later ones are read and queued", async || {
        polls.get() > polled + 3 && publisher.looked.load(Ordering::SeqCst) > looked + 1
    })
    .await;
    publisher.batches.add_permits(1_000);
    bench.settled().await;
    for event in &first {
        assert_eq!(publisher.sequences(&event.key), [1, 2, 3, 4, 5]);
    }
    assert_eq!(running.handle.metrics().order_violations.get(), 0);
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_unknown_result_is_not_parked_in_front_of_an_earlier_one_of_its_key() {
    let bench = Bench::sqlite().await;
    let publisher = Arc::new(Partitioned::new(1));
    let refused = PublishError::Record("too large for its batch".to_owned());
    let unsure = PublishError::PossiblyDelivered("no answer".to_owned());
    publisher
        .scripted
        .lock()
        .unwrap()
        .push(vec![refused, unsure]);
    let events = events(1, 2);
    bench.commit_together(&events).await;
    let running = Running::start(&bench, publisher.clone(), config());
    bench.settled().await;
    assert_eq!(publisher.sequences(&events[0].key), [1, 2]);
    assert!(publisher.scripted.lock().unwrap().is_empty());
    assert_eq!(running.handle.metrics().order_violations.get(), 0);
    assert!(running.stop().await.is_clean());
}

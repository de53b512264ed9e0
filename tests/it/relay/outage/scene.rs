//! The relay between MySQL and a spare broker, and the checks that hold under any fault of the broker.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use firstcome::domain::{OutboxEvent, Topic};
use firstcome::events::relay::{Config, Published};
use firstcome::parts::broker::kafka::{Durability, Kafka, KafkaConfig, TopicError};
use firstcome::parts::broker::{Acknowledged, PublishError, Publisher, Record};
use firstcome::runtime::retry::Policy;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use sea_orm::{ConnectionTrait, Statement};

use crate::relay::bench::{Bench, Consumed, Running, config, consume_until, events, kafka, until};
use crate::support::real;

const PARTITIONS: i32 = 3;

/// Classes of failures, as in the metrics, except a full queue, after which all waiting events are retried at once.
const CLASSES: [&str; 6] = [
    "away",
    "partition_away",
    "destination",
    "record",
    "possibly_delivered",
    "fatal",
];

/// Everything a relay needs, before it starts.
pub struct Scene {
    pub bench: Bench,
    pub topic: String,
    pub copies: String,
    /// The topic of the other stream.
    pub other: String,
    kafka: Arc<Watched>,
    config: Config,
    brokers: String,
    began: Instant,
}

impl Scene {
    /// No topics yet.
    pub async fn on(brokers: &str) -> Self {
        Self::with(brokers, kafka()).await
    }

    pub async fn with(brokers: &str, settings: KafkaConfig) -> Self {
        let config = Config {
            // If attempts are charged by mistake, dead letters appear soon.
            retry: Policy {
                attempts_max: 3,
                ..config().retry
            },
            publish_timeout: settings.message_timeout + Duration::from_secs(1),
            lease: settings.message_timeout * 2 + Duration::from_secs(6),
            ..config()
        };
        let brokers = brokers.to_owned();
        let settings = KafkaConfig {
            brokers: Some(brokers.clone()),
            ..settings
        };
        Self {
            bench: Bench::mysql(&real("FIRSTCOME_DATABASE_URL")).await,
            topic: Topic::Participation.name(&config.topic_prefix),
            copies: Topic::Participation.dead_letter_name(&config.topic_prefix),
            other: Topic::Campaign.name(&config.topic_prefix),
            kafka: Arc::new(Watched {
                kafka: Kafka::connect(settings).await.unwrap(),
                tried: Mutex::default(),
            }),
            config,
            brokers,
            began: Instant::now(),
        }
    }

    /// Only hints find rows.
    pub fn without_polls(mut self) -> Self {
        let long = Duration::from_secs(60);
        (self.config.poll_min, self.config.poll_max) = (long, long);
        self
    }

    /// Polls that read this number of rows.
    pub fn reading(mut self, rows: u32) -> Self {
        self.config.poll_rows_max = rows;
        self
    }

    pub async fn create_topics(&self) {
        let topics = [self.topic.clone(), self.copies.clone()];
        let partitions = u32::try_from(PARTITIONS).unwrap();
        until("the topics are there", async || {
            self.kafka.create_topics(&topics, partitions).await.is_ok()
        })
        .await;
    }

    pub async fn create(&self, topic: &str, settings: &[(&str, &str)]) {
        let anywhere = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
        self.create_as(anywhere, settings).await;
    }

    /// Creates a topic with a copy of each partition on these brokers; the first is the leader.
    pub async fn create_on(&self, brokers: &[i32], topic: &str, settings: &[(&str, &str)]) {
        let copies = vec![brokers; usize::try_from(PARTITIONS).unwrap()];
        self.create_spread(&copies, topic, settings).await;
    }

    /// Creates a topic whose partitions have their copies on different brokers; the first is the leader.
    pub async fn create_spread(&self, copies: &[&[i32]], topic: &str, settings: &[(&str, &str)]) {
        let placed = NewTopic::new(topic, PARTITIONS, TopicReplication::Variable(copies));
        self.create_as(placed, settings).await;
    }

    async fn create_as<'a>(&self, mut new: NewTopic<'a>, settings: &[(&'a str, &'a str)]) {
        for (name, value) in settings {
            new = new.set(name, value);
        }
        let created = self
            .admin()
            .create_topics([&new], &AdminOptions::new())
            .await;
        created.unwrap().remove(0).unwrap();
    }

    /// What the doctor reads about the topic.
    pub async fn durability(&self) -> Result<Durability, TopicError> {
        self.kafka.kafka.durability(&self.topic).await
    }

    pub async fn delete(&self, topic: &str) {
        let deleted = self
            .admin()
            .delete_topics(&[topic], &AdminOptions::new())
            .await;
        deleted.unwrap().remove(0).unwrap();
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .create()
            .unwrap()
    }

    pub async fn commit(&self, events: &[OutboxEvent]) {
        for event in events {
            self.bench.commit(event).await;
        }
    }

    pub async fn start(&self) -> Running {
        let running = Running::start(&self.bench, self.kafka.clone(), self.config.clone());
        running.owns(64).await;
        running
    }

    /// A relay that has begun to publish `first`.
    pub async fn at_work(&self, first: &[OutboxEvent]) -> Running {
        self.create_topics().await;
        self.commit(first).await;
        let running = self.start().await;
        publishing(&running).await;
        running
    }

    /// A relay whose topic rejects `first` and `second`, and is probed.
    pub async fn refused(&self, first: &[OutboxEvent], second: &[OutboxEvent]) -> Running {
        self.commit(first).await;
        let running = self.start().await;
        self.held_back(&running).await;
        self.commit(second).await;
        let before = failures(&running, "destination");
        until("it is probed", async || {
            failures(&running, "destination") > before + 3
        })
        .await;
        running
    }

    /// Waiting rows, which the metrics must show as well, without a charged attempt and without dead letters.
    pub async fn waiting(&self, running: &Running) -> u64 {
        let pending = &running.handle.metrics().pending;
        until("the metrics count what waits", async || {
            u64::try_from(pending.get()) == Ok(self.bench.counts().await.pending)
        })
        .await;
        self.unsettled().await
    }

    /// Waiting events, pending or parked, without a charged attempt and without dead letters.
    pub async fn unsettled(&self) -> u64 {
        let counts = self.bench.counts().await;
        assert_eq!(counts.dead, 0, "dead rows");
        let sql = "SELECT COUNT(*) FROM outbox_parked WHERE attempts > 0";
        let row = Statement::from_string(self.bench.db.get_database_backend(), sql);
        let row = self.bench.db.query_one_raw(row).await.unwrap().unwrap();
        assert_eq!(
            row.try_get_by_index::<i64>(0).unwrap(),
            0,
            "attempts charged"
        );
        counts.pending + counts.retry + counts.blocked
    }

    /// Waits until a breaker of the broker or a topic is open, also in the metrics.
    pub async fn held_back(&self, running: &Running) {
        let metrics = running.handle.metrics();
        until("a breaker is open, and counted as such", async || {
            !running.handle.is_publishing() && metrics.breaker_open.get() == 1
        })
        .await;
    }

    /// Everything is published, the events of each key in order, without dead letters and without endless
    /// retries.
    pub async fn ends_well(self, running: Running, events: &[OutboxEvent]) {
        self.bench.settled().await;
        self.published(events).await;
        let metrics = running.handle.metrics();
        assert_eq!(metrics.order_violations.get(), 0);
        until("the metrics say that all is well", async || {
            running.handle.is_publishing()
                && metrics.breaker_open.get() == 0
                && metrics.pending.get() == 0
        })
        .await;
        self.did_not_spin(&running, events.len());
        assert!(running.stop().await.is_clean());
        self.bench.drop_schema().await;
    }

    /// Every row in flight may fail once before a breaker opens; then there is one probe at a time, with a mean
    /// pause of 50 ms after each. A copy is retried after 100 ms.
    pub fn did_not_spin(&self, running: &Running, rows: usize) {
        let elapsed_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap();
        let most = elapsed_ms / 25 + 2 * u64::try_from(rows).unwrap();
        let failed: u64 = CLASSES.iter().map(|class| failures(running, class)).sum();
        assert!(failed <= most, "{failed} failures, at most {most}");
        let copies = self.copies_tried();
        assert!(copies <= elapsed_ms / 100 + 1, "{copies} copies");
    }

    /// All events are in the topic, and for each key their first records are in order.
    pub async fn published(&self, events: &[OutboxEvent]) -> Vec<Consumed> {
        let expected: HashSet<String> = events.iter().map(|event| event.id.to_string()).collect();
        let wanted = expected.clone();
        let read = consume_until(&self.brokers, &self.topic, move |read| {
            let seen: HashSet<&str> = read.iter().filter_map(|one| one.header("ce_id")).collect();
            wanted.iter().all(|id| seen.contains(id.as_str()))
        })
        .await;
        let mut seen = HashSet::new();
        let mut last: HashMap<&str, u32> = HashMap::new();
        for record in &read {
            let id = record.header("ce_id").unwrap();
            if !seen.insert(id.to_owned()) {
                continue;
            }
            let sequence = record.header("ce_keysequence").unwrap().parse().unwrap();
            let before = last.insert(&record.key, sequence).unwrap_or(0);
            assert!(before < sequence, "{sequence} came after {before}");
        }
        assert_eq!(expected.difference(&seen).count(), 0, "lost events");
        read
    }

    /// Hands over newly committed events, and waits until the sender has them.
    pub async fn hint(&self, running: &Running, events: &[OutboxEvent]) {
        self.commit(events).await;
        let dispatched = &running.handle.metrics().wake_hits;
        let expected = dispatched.get() + u64::try_from(events.len()).unwrap();
        running
            .handle
            .hints()
            .send(self.bench.committed(events))
            .await
            .unwrap();
        until("they are dispatched", async || dispatched.get() >= expected).await;
    }

    /// The cause that the cluster reports for the partition of an event.
    pub async fn lacks(&self, event: &OutboxEvent) -> String {
        let record = Record::of(event, &self.config.topic_prefix);
        let asked = self.kafka.ask_partition(&record).await;
        asked.unwrap_err().to_string()
    }

    /// The number of sends to the topic.
    pub fn tried(&self) -> u64 {
        let tried = self.kafka.tried.lock().unwrap();
        tried.get(&self.topic).copied().unwrap_or_default()
    }

    /// Reads the number of partitions, as a service does at its start.
    pub async fn know_partitions(&self) {
        self.kafka.partitions(&self.topic).await.unwrap();
    }

    /// The number of copies sent to the dead letter topic.
    pub fn copies_tried(&self) -> u64 {
        let tried = self.kafka.tried.lock().unwrap();
        tried.get(&self.copies).copied().unwrap_or_default()
    }

    /// Records in a topic.
    pub async fn records_in(&self, topic: &str) -> i64 {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .create()
            .unwrap();
        let topic = topic.to_owned();
        let counting = tokio::task::spawn_blocking(move || {
            (0..PARTITIONS)
                .map(|partition| {
                    let marks =
                        consumer.fetch_watermarks(&topic, partition, Duration::from_secs(5));
                    let (first, next) = marks.unwrap();
                    next - first
                })
                .sum()
        });
        counting.await.unwrap()
    }
}

/// Kafka, and the number of sends to each of its topics.
struct Watched {
    kafka: Arc<Kafka>,
    tried: Mutex<HashMap<String, u64>>,
}

impl Watched {
    fn count(&self, record: &Record) {
        let topic = record.topic.clone();
        *self.tried.lock().unwrap().entry(topic).or_default() += 1;
    }
}

#[async_trait]
impl Publisher for Watched {
    fn known_partitions(&self, topic: &str) -> Option<u32> {
        self.kafka.known_partitions(topic)
    }

    async fn ask_partition(&self, record: &Record) -> Result<(), PublishError> {
        self.kafka.ask_partition(record).await
    }

    async fn publish(&self, record: &Record) -> Result<Acknowledged, PublishError> {
        self.count(record);
        self.kafka.publish(record).await
    }

    async fn publish_all(&self, records: &[Record]) -> Vec<Result<Acknowledged, PublishError>> {
        for record in records {
            self.count(record);
        }
        self.kafka.publish_all(records).await
    }

    async fn partitions(&self, topic: &str) -> Result<u32, PublishError> {
        self.kafka.partitions(topic).await
    }

    async fn create_topics(&self, topics: &[String], partitions: u32) -> Result<(), PublishError> {
        self.kafka.create_topics(topics, partitions).await
    }

    async fn flush(&self, deadline: Duration) {
        self.kafka.flush(deadline).await;
    }
}

/// Events of this number of participations, several each, in waves: all events of a wave follow those of the
/// wave before.
pub fn waves(participations: u32, changes: u32) -> Vec<Vec<OutboxEvent>> {
    let all = events(participations, changes);
    let wave = |nth| {
        let of_wave = all.iter().filter(|event| event.key_sequence == nth);
        of_wave.cloned().collect()
    };
    (1..=changes).map(wave).collect()
}

pub fn failures(running: &Running, class: &'static str) -> u64 {
    let labels = Published {
        result: "failed",
        class,
    };
    let published = &running.handle.metrics().published;
    published.get_or_create(&labels).get()
}

/// Waits until something of this run was acknowledged.
async fn publishing(running: &Running) {
    let labels = Published {
        result: "ok",
        class: "none",
    };
    let published = &running.handle.metrics().published;
    until("something is published", async || {
        published.get_or_create(&labels).get() > 0
    })
    .await;
}

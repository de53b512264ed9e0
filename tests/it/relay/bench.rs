//! The environment of a relay test: a database, a broker or a test double, a supervisor, and waits for
//! conditions.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use firstcome::domain::{
    CampaignId, CommittedEvents, EventId, KeyChoice, OutboxEvent, Participation, ParticipationId,
    Status, StreamId, Topic, UserId,
};
use firstcome::events::relay::{Config, Metrics, Relay, RelayHandle};
use firstcome::parts::broker::kafka::KafkaConfig;
use firstcome::parts::broker::{Acknowledged, PublishError, Publisher, Record};
use firstcome::parts::store::{DeadLetter, DeadLetterFilter, OutboxCounts, Store, StoreConfig};
use firstcome::runtime::clock::Clock;
use firstcome::runtime::retry::Policy;
use firstcome::runtime::supervisor::{Outcome, Supervisor};
use migration::{Migrator, MigratorTrait};
use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, Statement,
    TransactionTrait, Value,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use super::consumed::{Consumed, consume, consume_all, consume_until};
pub use crate::support::until;
use crate::support::until_nothing_left;

/// A database of one test.
pub struct Bench {
    pub store: Store,
    pub db: DatabaseConnection,
    pub url: String,
    _file: Option<tempfile::TempDir>,
    /// The store with the committed events.
    placed: Mutex<HashMap<EventId, u64>>,
    campaigns: Mutex<HashSet<CampaignId>>,
}

impl Bench {
    pub async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.db");
        let url = format!("sqlite://{}?mode=rwc", path.display());
        Self::migrated(&url, Some(directory)).await
    }

    /// A separate schema in the real database.
    pub async fn mysql(url: &str) -> Self {
        let schema = format!("relay_{}", ParticipationId::generate().0.simple());
        let admin = Database::connect(url).await.unwrap();
        admin
            .execute_unprepared(&format!("CREATE DATABASE {schema}"))
            .await
            .unwrap();
        let (server, _) = url.rsplit_once('/').unwrap();
        Self::migrated(&format!("{server}/{schema}"), None).await
    }

    /// Drops the schema of a successful test from the real database.
    pub async fn drop_schema(self) {
        Migrator::down(&self.db, None).await.unwrap();
        let schema = "SELECT CONCAT('DROP DATABASE ', DATABASE()) AS gone";
        let backend = self.db.get_database_backend();
        let row = self
            .db
            .query_one_raw(Statement::from_string(backend, schema));
        let gone: String = row.await.unwrap().unwrap().try_get("", "gone").unwrap();
        self.db.execute_unprepared(&gone).await.unwrap();
    }

    /// All leases of relays end an hour later: as if the database's clock had been set back.
    pub async fn set_leases_forward(&self) {
        let backend = self.db.get_database_backend();
        let ends_at = if backend == sea_orm::DbBackend::Sqlite {
            "strftime('%Y-%m-%dT%H:%M:%f000+00:00', expires_at, '+1 hour')"
        } else {
            "expires_at + INTERVAL 1 HOUR"
        };
        let set = format!("UPDATE outbox_lease SET expires_at = {ends_at} WHERE owner IS NOT NULL");
        self.db.execute_unprepared(&set).await.unwrap();
    }

    async fn migrated(url: &str, file: Option<tempfile::TempDir>) -> Self {
        let db = Database::connect(url).await.unwrap();
        Migrator::up(&db, None).await.unwrap();
        Self {
            store: Store::connect(&StoreConfig::new(url), Clock::System)
                .await
                .unwrap(),
            db,
            url: url.to_owned(),
            _file: file,
            placed: Mutex::default(),
            campaigns: Mutex::default(),
        }
    }

    /// Commits like the writer: the event is appended to its stream.
    pub async fn commit(&self, event: &OutboxEvent) {
        self.commit_together(std::slice::from_ref(event)).await;
    }

    /// The same for several in one transaction.
    pub async fn commit_together(&self, events: &[OutboxEvent]) {
        self.written(events).await.commit().await.unwrap();
    }

    /// A transaction that has written everything, and may commit it.
    pub async fn written(&self, events: &[OutboxEvent]) -> DatabaseTransaction {
        let known = self.campaigns.lock().unwrap().clone();
        for event in events {
            if !known.contains(&event.campaign_id) {
                self.make_campaign(event.campaign_id).await;
                self.campaigns.lock().unwrap().insert(event.campaign_id);
            }
        }
        let transaction = self.db.begin().await.unwrap();
        let run = async |sql: &str, values: Vec<Value>| {
            let backend = self.db.get_database_backend();
            let statement = Statement::from_sql_and_values(backend, sql, values);
            transaction.execute_raw(statement).await.unwrap();
        };
        let mut events: Vec<OutboxEvent> = events.to_vec();
        // Always in this order, so that two writers cannot deadlock.
        events.sort_by_key(|event| event.campaign_id);
        for event in events {
            let sequence = self.next_sequence(&transaction, event.stream()).await;
            self.placed.lock().unwrap().insert(event.id, sequence);
            run(
                "INSERT INTO outbox_event (campaign_id, sequence, id, aggregatetype, aggregateid, type, \
                 message_key, key_sequence, `rank`, traceparent, payload, created_at) \
                 VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                vec![
                    event.campaign_id.0.into(),
                    i64::try_from(sequence).unwrap().into(),
                    event.id.0.into(),
                    event.topic.as_str().into(),
                    event.aggregate_id.clone().into(),
                    event.event_type.clone().into(),
                    event.key.to_string().into(),
                    event.key_sequence.into(),
                    event.rank.map(|rank| i64::try_from(rank).unwrap()).into(),
                    event.traceparent.clone().into(),
                    event.payload.clone().into(),
                    event.created_at.into(),
                ],
            )
            .await;
        }
        transaction
    }

    /// Creates a campaign if it does not exist.
    async fn make_campaign(&self, id: CampaignId) {
        let ignore = if self.store.is_embedded() {
            "OR IGNORE"
        } else {
            "IGNORE"
        };
        self.run(&format!(
            "INSERT {ignore} INTO campaign (id, name, description, kind, state, per_user_limit, max_quantity, \
             hold_seconds, created_at, updated_at) VALUES ({id}, 'it', '', 'coupon', 'open', 1, 1, 60, \
             '2026-01-01 00:00:00', '2026-01-01 00:00:00')"
        ))
        .await;
    }

    /// The next sequence of a stream.
    async fn next_sequence(&self, transaction: &DatabaseTransaction, stream: StreamId) -> u64 {
        let id = stream.campaign.0;
        let end = match stream.topic {
            Topic::Participation => "event_sequence",
            Topic::Campaign => "campaign_events",
            Topic::Order => "order_events",
        };
        let sql = format!("UPDATE campaign SET {end} = {end} + 1 WHERE id = {id}");
        transaction.execute_unprepared(&sql).await.unwrap();
        let backend = self.db.get_database_backend();
        let sql = format!("SELECT {end} FROM campaign WHERE id = {id}");
        let row = transaction.query_one_raw(Statement::from_string(backend, sql));
        let sequence: i64 = row.await.unwrap().unwrap().try_get_by_index(0).unwrap();
        sequence.unsigned_abs()
    }

    /// A committed event with its place in the stream.
    pub fn placed(&self, event: &OutboxEvent) -> OutboxEvent {
        let sequence = self.placed.lock().unwrap()[&event.id];
        OutboxEvent {
            sequence,
            ..event.clone()
        }
    }

    /// Committed events of one campaign, without a gap, in the form in which the writer hands them over.
    pub fn committed(&self, events: &[OutboxEvent]) -> CommittedEvents {
        let events: Vec<OutboxEvent> = events.iter().map(|event| self.placed(event)).collect();
        CommittedEvents {
            stream: events[0].stream(),
            events,
            is_held: false,
            committed_at: std::time::Instant::now(),
        }
    }

    pub async fn run(&self, sql: &str) {
        self.db.execute_unprepared(sql).await.unwrap();
    }

    pub async fn dead_letters(&self) -> Vec<DeadLetter> {
        let all = DeadLetterFilter::default();
        self.store.dead_letters(&all, 100).await.unwrap()
    }

    pub async fn counts(&self) -> OutboxCounts {
        self.store.outbox_counts(None).await.unwrap()
    }

    pub async fn settled(&self) {
        until_nothing_left(async || {
            let counts = self.counts().await;
            (counts != OutboxCounts::default()).then_some(counts)
        })
        .await;
    }
}

/// The `nth` participation of a campaign.
pub fn participation(nth: u32) -> Participation {
    Participation {
        id: ParticipationId::generate(),
        campaign_id: CampaignId(7),
        user_id: UserId(i64::from(nth) + 1),
        quantity: 1,
        rank: u64::from(nth) + 1,
        status: Status::Reserved,
        remaining: None,
        amount: None,
        payment_reference: None,
        expires_at: None,
        created_at: Clock::System.now(),
    }
}

/// Events of `participations`: each is reserved, and then changed this number of times.
pub fn events(participations: u32, changes: u32) -> Vec<OutboxEvent> {
    events_from(0, participations, changes)
}

/// The same, with ranks from another one on: an outbox has each change of a rank once.
pub fn events_from(first: u32, participations: u32, changes: u32) -> Vec<OutboxEvent> {
    let mut events = Vec::new();
    for participation in (first..first + participations).map(participation) {
        for sequence in 1..=changes {
            events.push(OutboxEvent::about(
                &participation,
                sequence,
                KeyChoice::Participation,
                participation.created_at,
            ));
        }
    }
    events
}

/// Short waits, and separate topics.
pub fn config() -> Config {
    let quick = Policy {
        initial: Duration::from_millis(20),
        max: Duration::from_millis(100),
        ..Policy::default()
    };
    Config {
        lease: Duration::from_secs(12),
        publish_timeout: Duration::from_secs(4),
        poll_max: Duration::from_millis(100),
        retry: quick,
        probe: quick,
        copy_delay: Duration::from_millis(100),
        sample_interval: Duration::from_millis(500),
        topic_prefix: format!("t{}", ParticipationId::generate().0.simple()),
        ..Config::default()
    }
}

/// The broker's settings for a test, with short timeouts.
pub fn kafka() -> KafkaConfig {
    KafkaConfig {
        message_timeout: Duration::from_millis(1_500),
        metadata_timeout: Duration::from_secs(3),
        ..KafkaConfig::default()
    }
}

/// A relay that runs until it is stopped.
pub struct Running {
    pub handle: RelayHandle,
    stop: mpsc::Sender<()>,
    ended: JoinHandle<Outcome>,
}

impl Running {
    pub fn start(bench: &Bench, publisher: Arc<dyn Publisher>, config: Config) -> Self {
        let supervisor = Supervisor::new(Duration::from_secs(20));
        let mistakes = config.mistakes();
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let handle = Relay::start(
            &supervisor.spawner(),
            bench.store.clone(),
            publisher,
            Clock::System,
            config,
            Metrics::default(),
        );
        let (stop, signals) = mpsc::channel(2);
        Self {
            handle,
            stop,
            ended: tokio::spawn(supervisor.run(signals)),
        }
    }

    /// Waits until it owns this number of buckets.
    pub async fn owns(&self, buckets: usize) {
        until("buckets are owned", async || {
            self.handle.buckets().len() == buckets
        })
        .await;
    }

    /// Waits until it has stopped by itself.
    pub async fn ended(self) -> Outcome {
        self.ended.await.unwrap()
    }

    pub async fn stop(self) -> Outcome {
        self.stop.send(()).await.unwrap();
        self.ended.await.unwrap()
    }
}

/// The reaction of the double instead of an acknowledgement.
pub enum Reaction {
    Fail(PublishError),
    Panic,
}

/// A publisher that stores records and reacts as configured.
#[derive(Default)]
pub struct Double {
    pub records: Mutex<Vec<Record>>,
    pub reactions: Mutex<VecDeque<Reaction>>,
    /// Part of the name of topics without write access.
    pub refused: Mutex<Option<&'static str>>,
}

impl Double {
    pub fn reacting(reactions: impl IntoIterator<Item = Reaction>) -> Arc<Self> {
        let double = Self::default();
        double.reactions.lock().unwrap().extend(reactions);
        Arc::new(double)
    }

    /// A double that denies write access to topics whose name contains this word.
    pub fn refusing(topic: &'static str) -> Arc<Self> {
        let double = Self::default();
        double.refuse(topic);
        Arc::new(double)
    }

    /// From now on denies write access to such topics.
    pub fn refuse(&self, topic: &'static str) {
        *self.refused.lock().unwrap() = Some(topic);
    }

    /// Allows writes again.
    pub fn relent(&self) {
        *self.refused.lock().unwrap() = None;
    }

    /// `ce_id`s of the acknowledged records, in order.
    pub fn ids(&self) -> Vec<String> {
        let records = self.records.lock().unwrap();
        records
            .iter()
            .map(|record| header(record, "ce_id"))
            .collect()
    }

    /// `ce_id`s of the acknowledged records of the topics whose name contains this word, in order.
    pub fn ids_of(&self, topic: &str) -> Vec<String> {
        let records = self.records.lock().unwrap();
        let of_topic = records.iter().filter(|record| record.topic.contains(topic));
        of_topic.map(|record| header(record, "ce_id")).collect()
    }

    /// Sequences of the acknowledged records of one key, in order.
    pub fn sequences(&self, key: &str) -> Vec<u32> {
        let records = self.records.lock().unwrap();
        let of_key = records.iter().filter(|record| record.key == key);
        of_key
            .map(|record| header(record, "ce_keysequence").parse().unwrap())
            .collect()
    }
}

impl Double {
    /// The same without re-deliveries.
    pub fn first_sequences(&self, key: &str) -> Vec<u32> {
        let mut seen = HashSet::new();
        let mut sequences = self.sequences(key);
        sequences.retain(|sequence| seen.insert(*sequence));
        sequences
    }
}

fn header(record: &Record, name: &str) -> String {
    let found = record.headers.iter().find(|(key, _)| *key == name);
    found.unwrap().1.clone()
}

#[async_trait]
impl Publisher for Double {
    async fn publish(&self, record: &Record) -> Result<Acknowledged, PublishError> {
        tokio::task::yield_now().await;
        let refused = *self.refused.lock().unwrap();
        if refused.is_some_and(|word| record.topic.contains(word)) {
            return Err(PublishError::Destination("refused".to_owned()));
        }
        let reaction = self.reactions.lock().unwrap().pop_front();
        match reaction {
            Some(Reaction::Fail(failure)) => Err(failure),
            Some(Reaction::Panic) => panic!("the publisher panics"),
            None => {
                let mut records = self.records.lock().unwrap();
                records.push(record.clone());
                Ok(Acknowledged {
                    partition: 0,
                    offset: i64::try_from(records.len()).unwrap(),
                })
            }
        }
    }

    async fn partitions(&self, _topic: &str) -> Result<u32, PublishError> {
        Ok(1)
    }

    async fn create_topics(&self, _: &[String], _: u32) -> Result<(), PublishError> {
        Ok(())
    }

    async fn flush(&self, _deadline: Duration) {}
}

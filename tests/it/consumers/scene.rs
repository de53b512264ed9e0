//! The databases, topics and consumer groups of one test, and queries of them.

use std::sync::Arc;
use std::time::Duration;

use firstcome::domain::campaign::CouponTerms;
use firstcome::domain::{
    CampaignId, Consumer, KeyChoice, OutboxEvent, Participation, ParticipationId, Reward, Status,
    Topic, UserId,
};
use firstcome::events::consumers::{self, ConsumerConfig, Metrics, Parts};
use firstcome::parts::broker::kafka::{Kafka, KafkaConfig};
use firstcome::parts::broker::{Publisher, Record};
use firstcome::parts::store::{NewCampaign, Rewards, Store, StoreConfig};
use firstcome::runtime::clock::Clock;
use firstcome::runtime::supervisor::{Outcome, Supervisor};
use firstcome::sale::catalogue::{Catalogue, CatalogueConfig};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::support::{TestStore, campaign_of, create, mysql, real, unique, until};

pub const PARTITIONS: i32 = 3;

pub struct Scene {
    pub events: TestStore,
    pub rewards: Rewards,
    pub rewards_url: String,
    pub prefix: String,
    pub kafka: Arc<Kafka>,
    db: DatabaseConnection,
    events_db: DatabaseConnection,
}

pub fn coupon_terms() -> CouponTerms {
    CouponTerms {
        discount_amount: 500,
        minimum_order_amount: 1_000,
        valid_from: None,
        valid_until: None,
    }
}

/// The event of a change of a participation.
pub fn change(participation: &Participation, status: Status, sequence: u32) -> OutboxEvent {
    let changed = Participation {
        status,
        ..participation.clone()
    };
    OutboxEvent::about(
        &changed,
        sequence,
        KeyChoice::Participation,
        participation.created_at,
    )
}

impl Scene {
    pub async fn new() -> Self {
        let events = mysql().await;
        let rewards_url = format!("{}_rewards", events.url);
        let (_, schema) = rewards_url.rsplit_once('/').unwrap();
        events.store.create_schema(schema).await.unwrap();
        let config = StoreConfig::new(rewards_url.as_str());
        let rewards = Rewards::connect(&config, Clock::System).await.unwrap();
        rewards.migrate().await.unwrap();
        rewards.migrate().await.unwrap();
        let prefix = unique("consume");
        let kafka = Kafka::connect(KafkaConfig {
            brokers: Some(real("FIRSTCOME_KAFKA_BROKERS")),
            ..KafkaConfig::default()
        });
        let kafka = kafka.await.unwrap();
        let topics = Topic::names(&prefix);
        kafka
            .create_topics(&topics, PARTITIONS.unsigned_abs())
            .await
            .unwrap();
        until("the topic is there", async || {
            let there = topics.iter().map(|topic| kafka.partitions(topic));
            let there = futures_util::future::join_all(there).await;
            there.iter().all(Result::is_ok)
        })
        .await;
        Self {
            db: Database::connect(&rewards_url).await.unwrap(),
            events_db: Database::connect(&events.url).await.unwrap(),
            events,
            rewards,
            rewards_url,
            prefix,
            kafka,
        }
    }

    pub fn store(&self) -> &Store {
        &self.events.store
    }

    pub fn topic(&self) -> String {
        Topic::Participation.name(&self.prefix)
    }

    pub async fn campaign(&self, reward: Option<Reward>) -> CampaignId {
        let new = NewCampaign {
            reward,
            ..campaign_of(None)
        };
        create(self.store(), new).await.id
    }

    /// Participations as stored in the database; number `nth` is of user `nth % users + 1`.
    pub async fn participations(
        &self,
        campaign: CampaignId,
        count: u64,
        users: u64,
    ) -> Vec<Participation> {
        let at = firstcome::domain::to_stored_precision(Clock::System.now());
        let made: Vec<Participation> = (0..count)
            .map(|nth| Participation {
                id: ParticipationId::generate(),
                campaign_id: campaign,
                user_id: UserId(i64::try_from(nth % users).unwrap() + 1),
                quantity: u32::try_from(nth % 2).unwrap() + 1,
                rank: nth + 1,
                status: Status::Confirmed,
                remaining: None,
                amount: None,
                payment_reference: None,
                expires_at: None,
                created_at: at,
            })
            .collect();
        for chunk in made.chunks(1_000) {
            let rows: Vec<String> = chunk
                .iter()
                .map(|one| {
                    let id = one.id.0.simple();
                    let (user, quantity, rank) = (one.user_id, one.quantity, one.rank);
                    format!(
                        "(x'{id}', {campaign}, {user}, {quantity}, {rank}, {rank}, 'confirmed', NOW(6), NOW(6))"
                    )
                })
                .collect();
            let sql = format!(
                "INSERT INTO participation (id, campaign_id, user_id, quantity, `rank`, ordinal, status, \
                 created_at, updated_at) VALUES {}",
                rows.join(", ")
            );
            self.events_db.execute_unprepared(&sql).await.unwrap();
        }
        made
    }

    /// Their published confirmations.
    pub async fn confirm(&self, participations: &[Participation]) -> Vec<OutboxEvent> {
        let confirmations: Vec<OutboxEvent> = participations
            .iter()
            .map(|participation| change(participation, Status::Confirmed, 1))
            .collect();
        self.publish(&confirmations).await;
        confirmations
    }

    pub async fn publish(&self, events: &[OutboxEvent]) {
        for chunk in events.chunks(2_000) {
            let records: Vec<Record> = chunk
                .iter()
                .map(|event| Record::of(event, &self.prefix))
                .collect();
            for result in self.kafka.publish_all(&records).await {
                result.unwrap();
            }
        }
    }

    pub fn parts(&self) -> Parts {
        Parts {
            store: self.store().clone(),
            catalogue: Catalogue::new(self.store().clone(), CatalogueConfig::default()),
            rewards: self.rewards.clone(),
            kafka: Arc::clone(&self.kafka),
            metrics: Metrics::default(),
        }
    }

    pub fn start(&self, consumer: Consumer) -> Running {
        Running::start(consumer, &self.parts(), &self.prefix)
    }

    /// The settings of a service on these parts.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("FIRSTCOME_DATABASE_URL", self.events.url.clone()),
            ("FIRSTCOME_REWARDS_DATABASE_URL", self.rewards_url.clone()),
            ("FIRSTCOME_REDIS_URL", real("FIRSTCOME_REDIS_URL")),
            ("FIRSTCOME_REDIS_PREFIX", self.prefix.clone()),
            ("FIRSTCOME_KAFKA_BROKERS", real("FIRSTCOME_KAFKA_BROKERS")),
            ("FIRSTCOME_KAFKA_TOPIC_PREFIX", self.prefix.clone()),
            ("FIRSTCOME_KAFKA_CREATE_TOPICS", "true".to_owned()),
            ("FIRSTCOME_CONSUMERS_SESSION_TIMEOUT", "6s".to_owned()),
        ]
    }

    /// A number from the rewards database.
    pub async fn number(&self, sql: &str) -> i64 {
        number(&self.db, sql).await
    }

    /// A number from the events' database.
    pub async fn events_number(&self, sql: &str) -> i64 {
        number(&self.events_db, sql).await
    }

    /// Waits until a number in the rewards database is reached.
    pub async fn reaches(&self, sql: &str, wanted: i64) {
        until(&format!("{sql} gives {wanted}"), async || {
            self.number(sql).await == wanted
        })
        .await;
    }

    /// Each of these got its points once, the balances agree, and each is marked.
    pub async fn granted_exactly(&self, participations: &[Participation], points: u32) {
        let count = i64::try_from(participations.len()).unwrap();
        let owed: i64 = participations
            .iter()
            .map(|one| i64::from(one.quantity) * i64::from(points))
            .sum();
        let sql = "SELECT CAST(COUNT(*) AS SIGNED) FROM ledger WHERE kind = 'granted'";
        assert_eq!(self.number(sql).await, count);
        let sql = "SELECT CAST(COALESCE(SUM(amount), 0) AS SIGNED) FROM ledger";
        assert_eq!(self.number(sql).await, owed);
        let sql = "SELECT CAST(COALESCE(SUM(points), 0) AS SIGNED) FROM balance";
        assert_eq!(self.number(sql).await, owed);
        let sql = "SELECT CAST(COUNT(*) AS SIGNED) FROM balance b JOIN
            (SELECT user_id, SUM(amount) AS sum FROM ledger GROUP BY user_id) l
            ON l.user_id = b.user_id WHERE l.sum <> b.points";
        assert_eq!(self.number(sql).await, 0, "balances that disagree");
        self.marked(count).await;
    }

    /// This number of participations is marked and counted.
    pub async fn marked(&self, count: i64) {
        let sql =
            "SELECT CAST(COUNT(*) AS SIGNED) FROM participation WHERE rewarded_at IS NOT NULL";
        until("all are marked", async || {
            self.events_number(sql).await == count
        })
        .await;
        let sql = "SELECT CAST(COALESCE(SUM(count), 0) AS SIGNED) FROM rewarded_tally";
        assert_eq!(self.events_number(sql).await, count);
    }

    /// The sum of a group's committed offsets over all partitions.
    pub async fn committed(&self, consumer: Consumer) -> i64 {
        let (group, topic) = (self.outsider(consumer), self.topic());
        let asked = tokio::task::spawn_blocking(move || {
            let committed = group.committed_offsets(all(&topic, None), Duration::from_secs(5));
            let sum = committed.map(|offsets| {
                offsets
                    .elements()
                    .iter()
                    .filter_map(|element| element.offset().to_raw())
                    .filter(|offset| *offset >= 0)
                    .sum()
            });
            forget(group);
            sum.unwrap_or(-1)
        });
        asked.await.unwrap()
    }

    /// Sets the offsets of a group, which must have no members, back to the beginning.
    pub async fn rewind(&self, consumer: Consumer) {
        until("the group is without members", async || {
            let (group, topic) = (self.outsider(consumer), self.topic());
            let reset = tokio::task::spawn_blocking(move || {
                let reset = group.commit(&all(&topic, Some(0)), CommitMode::Sync);
                forget(group);
                reset.is_ok()
            });
            reset.await.unwrap()
        })
        .await;
        assert_eq!(self.committed(consumer).await, 0);
    }

    fn outsider(&self, consumer: Consumer) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", real("FIRSTCOME_KAFKA_BROKERS"))
            .set("group.id", consumers::group_name(consumer, &self.prefix))
            .set("enable.auto.commit", "false")
            .create()
            .unwrap()
    }
}

/// The drop may take a while, so nothing waits for it.
fn forget(group: BaseConsumer) {
    std::thread::spawn(move || drop(group));
}

fn all(topic: &str, offset: Option<i64>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let mut element = list.add_partition(topic, partition);
        if let Some(offset) = offset {
            element.set_offset(Offset::Offset(offset)).unwrap();
        }
    }
    list
}

async fn number(db: &DatabaseConnection, sql: &str) -> i64 {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let row = db.query_one_raw(statement).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

/// A consumer of this process.
pub struct Running {
    signals: mpsc::Sender<()>,
    ended: JoinHandle<Outcome>,
    pub metrics: Metrics,
}

impl Running {
    pub fn start(consumer: Consumer, parts: &Parts, prefix: &str) -> Self {
        let supervisor = Supervisor::new(Duration::from_secs(20));
        let config = ConsumerConfig {
            topic_prefix: prefix.to_owned(),
            session_timeout: Duration::from_secs(6),
            retry_initial: Duration::from_millis(10),
            retry_max: Duration::from_millis(200),
            ..ConsumerConfig::default()
        };
        consumers::start(&supervisor.spawner(), consumer, parts, &config);
        let (signals, received) = mpsc::channel(1);
        Self {
            signals,
            ended: tokio::spawn(supervisor.run(received)),
            metrics: parts.metrics.clone(),
        }
    }

    pub async fn stop(self) {
        self.signals.send(()).await.unwrap();
        let outcome = self.ended.await.unwrap();
        assert!(outcome.is_clean(), "{outcome:?}");
    }

    /// The value of a metric with these labels, as it is scraped.
    pub fn metric(&self, name: &str) -> u64 {
        let mut registry = prometheus_client::registry::Registry::default();
        self.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let value = text.lines().find_map(|line| {
            line.strip_prefix("firstcome_")?
                .strip_prefix(name)?
                .strip_prefix(' ')
        });
        value.map_or(0, |value| value.parse().unwrap())
    }
}

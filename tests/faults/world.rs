//! The environment of one run: its own schema, key prefix and topics, two replicas behind their proxies, and
//! the campaigns. It is deleted at the end of the run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use firstcome::domain::Topic;
use firstcome::runtime::clock::Clock;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sea_orm::sqlx::{self, Connection, MySqlConnection};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::ledger::Ledger;
use crate::lines::OrderLedger;
use crate::parts::{Part, Parts};
use crate::proxy::{Mode, Proxy};
use crate::replica::{ADMIN_TOKEN, Replica};
use crate::replicas::wait_ready;
use crate::schedule::Schedule;
use crate::support::unique;

/// The gate's lease: how long the units of a crashed process stay taken.
pub const GATE_LEASE: Duration = Duration::from_secs(3);
const GATE_SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// MySQL's bound on connections, as `scripts/parts` and `docker-compose.yml` start it.
const CONNECTIONS_MAX: u32 = 500;
const KAFKA_MESSAGE_TIMEOUT: Duration = Duration::from_secs(1);
const RELAY_LEASE: Duration = Duration::from_secs(4);
/// How long a cancellation that does not commit keeps coupons suspended.
const SUSPEND_MAX: Duration = Duration::from_secs(3);
/// How long a dead consumer keeps its partitions: the shortest time that the broker accepts.
const CONSUMER_SESSION: Duration = Duration::from_secs(6);
/// How long the service waits for a response of the database.
const DATABASE_RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a reservation waits for its payment.
pub const HOLD: Duration = Duration::from_secs(2);
const EXPIRY_INTERVAL: Duration = Duration::from_millis(300);

/// A campaign of the run.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    pub id: i64,
    pub total: Option<u64>,
    pub max_quantity: u32,
    /// Whether its units are held until paid for.
    pub is_paid: bool,
    /// Whether its units earn coupons.
    pub has_coupons: bool,
    /// Its window.
    pub window: Window,
}

/// The first and the last moment of a campaign's window, if it has one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    pub opens_at: Option<DateTime<Utc>>,
    pub closes_at: Option<DateTime<Utc>>,
}

/// When the campaign opens and closes under traffic, since its creation.
const OPENS: TimeDelta = TimeDelta::milliseconds(2_000);
const CLOSES: TimeDelta = TimeDelta::milliseconds(6_000);

pub struct World {
    pub parts: Parts,
    pub schedule: Schedule,
    /// When the traffic began.
    pub began: Instant,
    /// The same time by the clock of this machine, which the parts use.
    pub began_at: DateTime<Utc>,
    pub schema: String,
    /// The prefix of Redis's keys and of the topics.
    pub prefix: String,
    pub replicas: Vec<Arc<Replica>>,
    pub offers: Vec<Offer>,
    pub ledger: Ledger,
    pub order_ledger: OrderLedger,
    keepers: Vec<JoinHandle<()>>,
    _folder: TempDir,
}

/// MySQL without a proxy.
pub async fn mysql(parts: &Parts, schema: Option<&str>) -> sqlx::Result<MySqlConnection> {
    let options: MySqlConnectOptions = parts.mysql_url.parse()?;
    let mut options = options.ssl_mode(MySqlSslMode::Disabled);
    if let Some(schema) = schema {
        options = options.database(schema);
    }
    MySqlConnection::connect_with(&options).await
}

/// Resets MySQL's limit of connections to its initial value. An aborted round may have left a low limit.
pub async fn restore_connections(admin: &mut MySqlConnection) -> sqlx::Result<()> {
    let restore = format!("SET GLOBAL max_connections = {CONNECTIONS_MAX}");
    let restored = sqlx::raw_sql(sqlx::AssertSqlSafe(restore));
    restored.execute(admin).await?;
    Ok(())
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    value.as_str().map(|text| text.parse().unwrap())
}

fn millis(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

impl World {
    /// Prepares the run: the parts respond, both replicas serve, the campaigns are open.
    pub async fn open(parts: Parts, schedule: Schedule) -> Self {
        parts.heal().await;
        let prefix = unique("faults");
        let mut admin = mysql(&parts, None).await.unwrap();
        restore_connections(&mut admin).await.unwrap();
        let create = format!("CREATE DATABASE {prefix}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(create))
            .execute(&mut admin)
            .await
            .unwrap();
        let folder = TempDir::new().unwrap();
        let mut replicas = Vec::new();
        for nth in 0..2 {
            let mysql = Proxy::start(parts.address(Part::Mysql)).await;
            let redis = Proxy::start(parts.address(Part::Redis)).await;
            let user = parts
                .mysql_url
                .rsplit_once('@')
                .map_or(String::new(), |(user, _)| format!("{user}@"));
            let settings = settings(
                &parts,
                &prefix,
                &schedule,
                &format!("{user}{}/{prefix}", mysql.address),
                &format!("redis://{}", redis.address),
            );
            let folder = folder.path().to_owned();
            replicas.push(Arc::new(Replica::new(
                nth,
                (mysql, redis),
                folder,
                settings,
            )));
        }
        let keepers = replicas
            .iter()
            .map(|replica| Arc::clone(replica).keep())
            .collect();
        let mut world = Self {
            parts,
            schedule,
            began: Instant::now(),
            began_at: Clock::System.now(),
            schema: prefix.clone(),
            prefix,
            replicas,
            offers: Vec::new(),
            ledger: Ledger::new(Instant::now()),
            order_ledger: OrderLedger::default(),
            keepers,
            _folder: folder,
        };
        wait_ready(&world.replicas).await;
        world.create_campaigns().await;
        world.began = Instant::now();
        world.began_at = Clock::System.now();
        world.ledger = Ledger::new(world.began);
        world
    }

    /// Campaigns: with limited stock; with several units per user; with a price and cancellable, with some
    /// seeds also after payment; without end; sold out early; opening and closing under traffic; with
    /// coupons and cancellable; and two that are ordered together, with odd seeds at a price. Two are open for hours
    /// before and after, but not for as long as a clock may be off.
    async fn create_campaigns(&mut self) {
        let is_cancellable = self.is_cancellable();
        let now = Clock::System.now();
        let (an_hour_ago, in_an_hour) = (now - TimeDelta::hours(1), now + TimeDelta::hours(1));
        let mut wanted = [
            json!({ "name": "limited", "kind": "general", "totalStock": 160,
                    "opensAt": an_hour_ago, "closesAt": in_an_hour }),
            json!({ "name": "several", "kind": "general", "totalStock": 130, "perUserLimit": 3, "maxQuantity": 2 }),
            json!({ "name": "paid", "kind": "time_deal", "totalStock": 70, "perUserLimit": 4, "maxQuantity": 3,
                    "price": 500, "holdSeconds": HOLD.as_secs(), "cancellable": is_cancellable,
                    "opensAt": an_hour_ago, "closesAt": in_an_hour }),
            json!({ "name": "endless", "kind": "general" }),
            json!({ "name": "small", "kind": "general", "totalStock": 20 }),
            json!({ "name": "windowed", "kind": "general", "opensAt": now + OPENS, "closesAt": now + CLOSES }),
            json!({ "name": "coupons", "kind": "coupon", "totalStock": 70, "perUserLimit": 2, "maxQuantity": 2,
                    "cancellable": true, "reward": { "coupon": { "discountAmount": 500 } } }),
            json!({ "name": "one line", "kind": "general", "totalStock": 40, "perUserLimit": 3 }),
            json!({ "name": "other line", "kind": "general", "totalStock": 50, "perUserLimit": 3 }),
        ];
        if self.has_paid_orders() {
            for line in wanted.last_chunk_mut::<2>().unwrap() {
                line["price"] = json!(300);
                line["holdSeconds"] = json!(HOLD.as_secs());
                line["cancellable"] = json!(is_cancellable);
            }
        }
        let base = self.replicas[0].base().unwrap();
        let client = reqwest::Client::new();
        for campaign in wanted {
            let made = client
                .post(format!("{base}/api/admin/campaigns"))
                .bearer_auth(ADMIN_TOKEN)
                .json(&campaign)
                .send()
                .await
                .unwrap();
            assert_eq!(made.status(), 201);
            let made: Value = made.json().await.unwrap();
            self.offers.push(Offer {
                id: made["id"].as_i64().unwrap(),
                total: made["totalStock"].as_u64(),
                max_quantity: made["maxQuantity"].as_u64().unwrap().try_into().unwrap(),
                is_paid: made["price"].is_u64(),
                has_coupons: made["reward"]["coupon"].is_object(),
                window: Window {
                    opens_at: time(&made["opensAt"]),
                    closes_at: time(&made["closesAt"]),
                },
            });
        }
    }

    /// Whether orders of two lines are to be paid for.
    pub const fn has_paid_orders(&self) -> bool {
        !self.schedule.seed.is_multiple_of(2)
    }

    /// Whether what was paid for can be cancelled.
    pub const fn is_cancellable(&self) -> bool {
        !self.schedule.seed.is_multiple_of(3)
    }

    /// The campaign that cannot be sold out.
    pub fn endless(&self) -> Offer {
        *self
            .offers
            .iter()
            .find(|offer| offer.total.is_none() && offer.window.closes_at.is_none())
            .unwrap()
    }

    /// The two campaigns that are ordered together, if others leave units of them.
    pub fn ordered(&self) -> &[Offer] {
        self.offers.last_chunk::<2>().unwrap()
    }

    /// The campaign whose units earn coupons.
    pub fn couponing(&self) -> Offer {
        *self.offers.iter().find(|offer| offer.has_coupons).unwrap()
    }

    /// The rewards database of the service.
    pub fn rewards_schema(&self) -> String {
        format!("{}_rewards", self.schema)
    }

    pub fn offer(&self, campaign: i64) -> Offer {
        *self.offers.iter().find(|one| one.id == campaign).unwrap()
    }

    pub async fn mysql(&self) -> sqlx::Result<MySqlConnection> {
        mysql(&self.parts, Some(&self.schema)).await
    }

    pub async fn redis(&self) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        let client = redis::Client::open(self.parts.redis_url.as_str())?;
        let patience = Duration::from_secs(2);
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(patience))
            .set_response_timeout(Some(patience));
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// The service as started by hand, without a proxy.
    pub fn command(&self) -> std::process::Command {
        let mut command = self.replicas[0].command();
        let database = format!("{}/{}", self.parts.mysql_url, self.schema);
        command
            .env("FIRSTCOME_DATABASE_URL", database)
            .env("FIRSTCOME_REDIS_URL", &self.parts.redis_url);
        command
    }

    /// Ends every fault: the parts run, the proxies forward, the replicas run normally.
    pub async fn heal(&self) {
        self.parts.heal().await;
        let mut admin = mysql(&self.parts, None).await.unwrap();
        restore_connections(&mut admin).await.unwrap();
        for replica in &self.replicas {
            replica.mysql.set(Mode::Pass);
            replica.redis.set(Mode::Pass);
            replica.signal("CONT");
            if !replica.is_wanted() {
                replica.start(Vec::new());
            }
        }
    }

    /// Removes the data of the run from the parts.
    pub async fn close(&self) {
        for keeper in &self.keepers {
            keeper.abort();
        }
        for replica in &self.replicas {
            replica.kill();
        }
        let mut admin = mysql(&self.parts, None).await.unwrap();
        for schema in [&self.schema, &self.rewards_schema()] {
            let drop = format!("DROP DATABASE {schema}");
            let drop = sqlx::raw_sql(sqlx::AssertSqlSafe(drop));
            drop.execute(&mut admin).await.unwrap();
        }
        self.remove_keys().await.unwrap();
        self.remove_topics().await;
    }

    /// The run's keys in Redis.
    pub async fn keys(&self, pattern: &str) -> redis::RedisResult<Vec<String>> {
        let mut redis = self.redis().await?;
        redis::cmd("KEYS")
            .arg(format!("{}:{pattern}", self.prefix))
            .query_async(&mut redis)
            .await
    }

    async fn remove_keys(&self) -> redis::RedisResult<()> {
        let keys = self.keys("*").await?;
        if keys.is_empty() {
            return Ok(());
        }
        let mut redis = self.redis().await?;
        redis::cmd("DEL").arg(&keys).exec_async(&mut redis).await
    }

    async fn remove_topics(&self) {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.parts.brokers)
            .create()
            .unwrap();
        let topics = Topic::names(&self.prefix);
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        for deleted in admin.delete_topics(&names, &options).await.unwrap() {
            deleted.unwrap();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for keeper in &self.keepers {
            keeper.abort();
        }
        if std::thread::panicking() {
            // The next run, and an analysis, find the parts running.
            self.parts.heal_now();
        }
    }
}

fn settings(
    parts: &Parts,
    prefix: &str,
    schedule: &Schedule,
    database: &str,
    redis: &str,
) -> Vec<(String, String)> {
    [
        ("HTTP_LISTEN", "127.0.0.1:0".to_owned()),
        ("ADMIN_TOKEN", ADMIN_TOKEN.to_owned()),
        ("DATABASE_URL", database.to_owned()),
        ("REDIS_URL", redis.to_owned()),
        ("REDIS_PREFIX", prefix.to_owned()),
        ("KAFKA_BROKERS", parts.brokers.clone()),
        ("KAFKA_TOPIC_PREFIX", prefix.to_owned()),
        ("KAFKA_CREATE_TOPICS", "true".to_owned()),
        ("KAFKA_KEY", schedule.key.name().to_owned()),
        ("KAFKA_MESSAGE_TIMEOUT", millis(KAFKA_MESSAGE_TIMEOUT)),
        ("GATE_LEASE", millis(GATE_LEASE)),
        ("GATE_SWEEP_INTERVAL", millis(GATE_SWEEP_INTERVAL)),
        ("RELAY_LEASE", millis(RELAY_LEASE)),
        (
            "DATABASE_RESPONSE_TIMEOUT",
            millis(DATABASE_RESPONSE_TIMEOUT),
        ),
        ("CONSUMERS_ENABLED", "coupons".to_owned()),
        ("CONSUMERS_SESSION_TIMEOUT", millis(CONSUMER_SESSION)),
        ("REWARDS_SUSPEND_MAX", millis(SUSPEND_MAX)),
        ("PAYMENT_EXPIRY_INTERVAL", millis(EXPIRY_INTERVAL)),
        ("PAYMENT_ALLOW_SIMULATED", "true".to_owned()),
        ("RELAY_RETRY_MAX", "1s".to_owned()),
        ("SHUTDOWN_DEADLINE", "5s".to_owned()),
    ]
    .map(|(name, value)| (format!("FIRSTCOME_{name}"), value))
    .into()
}

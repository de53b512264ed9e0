//! The environment of one run: its own schema, key prefix and topics, two replicas behind their proxies, and
//! the campaigns. It is deleted at the end of the run.

mod campaigns;
mod site;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use firstcome::domain::Topic;
use firstcome::runtime::clock::Clock;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sea_orm::sqlx::{self, Connection, MySqlConnection};
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub use self::campaigns::Offer;
use crate::ledger::Ledger;
use crate::lines::OrderLedger;
use crate::parts::{Part, Parts};
use crate::proxy::{Mode, Proxy};
use crate::replica::{ADMIN_TOKEN, Replica};
use crate::replicas::wait_ready;
use crate::schedule::Schedule;
use crate::site::Managed;
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
    /// Dead letters that were replayed.
    pub replayed: AtomicU64,
    keepers: Vec<JoinHandle<()>>,
    _folder: TempDir,
}

/// MySQL without a proxy.
pub async fn mysql(parts: &Parts, schema: Option<&str>) -> sqlx::Result<MySqlConnection> {
    MySqlConnection::connect_with(&mysql_options(parts, schema)?).await
}

fn mysql_options(parts: &Parts, schema: Option<&str>) -> sqlx::Result<MySqlConnectOptions> {
    let options: MySqlConnectOptions = parts.mysql_url.parse()?;
    let options = options.ssl_mode(MySqlSslMode::Disabled);
    Ok(match schema {
        Some(schema) => options.database(schema),
        None => options,
    })
}

/// Resets MySQL's limit of connections to its initial value. An aborted round may have left a low limit.
pub async fn restore_connections(admin: &mut MySqlConnection) -> sqlx::Result<()> {
    let restore = format!("SET GLOBAL max_connections = {CONNECTIONS_MAX}");
    let restored = sqlx::raw_sql(sqlx::AssertSqlSafe(restore));
    restored.execute(admin).await?;
    Ok(())
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
            replayed: AtomicU64::new(0),
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

    /// The campaign with this administrator.
    pub fn managed(&self, managed: Managed) -> Offer {
        let mut offers = self.offers.iter();
        *offers.find(|offer| offer.managed == Some(managed)).unwrap()
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
        ("CONSUMERS_ENABLED", "points,coupons".to_owned()),
        ("CONSUMERS_SESSION_TIMEOUT", millis(CONSUMER_SESSION)),
        ("REWARDS_SUSPEND_MAX", millis(SUSPEND_MAX)),
        ("PAYMENT_EXPIRY_INTERVAL", millis(EXPIRY_INTERVAL)),
        ("PAYMENT_ALLOW_SIMULATED", "true".to_owned()),
        ("RELAY_RETRY_MAX", "1s".to_owned()),
        // Events of the campaign that its administrator closes are aged, and deleted.
        ("RETENTION_PUBLISHED_EVENTS", "1h".to_owned()),
        ("RETENTION_INTERVAL", "1s".to_owned()),
        ("RETENTION_SWEEP_INTERVAL", "1s".to_owned()),
        ("SHUTDOWN_DEADLINE", "5s".to_owned()),
    ]
    .map(|(name, value)| (format!("FIRSTCOME_{name}"), value))
    .into()
}

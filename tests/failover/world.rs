//! The environment of one run: its own schema, key prefix and topics, two replicas of the service behind their
//! proxies, and the campaigns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use firstcome::domain::Topic;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use sea_orm::sqlx::{self, AssertSqlSafe, MySqlConnection};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::evidence::Evidence;
use crate::fault::Plan;
use crate::ledger::Ledger;
use crate::pair::Pair;
use crate::proxy::Proxy;
use crate::replica::{ADMIN_TOKEN, Replica};
use crate::replicas::wait_ready;
use crate::server::Server;

/// The gate's lease: how long the units of a lost commit stay taken.
pub const GATE_LEASE: Duration = Duration::from_secs(3);

/// A campaign of the run.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    pub id: i64,
    pub total: Option<u64>,
    pub max_quantity: u32,
}

pub struct World {
    pub plan: Plan,
    pub pair: Pair,
    /// The schema, and the prefix of Redis's keys and of the topics.
    pub prefix: String,
    pub replicas: Vec<Arc<Replica>>,
    pub offers: Vec<Offer>,
    pub ledger: Ledger,
    redis_url: String,
    brokers: String,
    keepers: Vec<JoinHandle<()>>,
    _folder: TempDir,
}

/// A variable that `scripts/parts env` prints. The test fails without it.
fn real(variable: &str) -> String {
    std::env::vars()
        .find_map(|(name, value)| (name == variable).then_some(value))
        .unwrap_or_else(|| panic!("{variable} is not set: run `make test` or `make failover`"))
}

impl World {
    /// Prepares the run: both replicas serve from the old primary, and the campaigns are open.
    pub async fn open(pair: Pair, plan: Plan) -> Self {
        pair.begin(plan.fault.replication()).await;
        let prefix = format!("failover_{}", uuid::Uuid::now_v7().simple());
        let (redis_url, brokers) = (real("FIRSTCOME_REDIS_URL"), real("FIRSTCOME_KAFKA_BROKERS"));
        pair.old()
            .run(&[&format!("CREATE DATABASE {prefix}")])
            .await;
        let folder = TempDir::new().unwrap();
        let redis = redis_url.trim_start_matches("redis://").parse().unwrap();
        let mut replicas = Vec::new();
        for nth in 0..2 {
            let mysql = Proxy::start(pair.old().address).await;
            let redis = Proxy::start(redis).await;
            let database = format!("mysql://root@{}/{prefix}", mysql.address);
            let parts = (
                &*database,
                &*format!("redis://{}", redis.address),
                &*brokers,
            );
            let settings = settings(&plan, &prefix, parts);
            let folder = folder.path().to_owned();
            replicas.push(Arc::new(Replica::new(
                nth,
                (mysql, redis),
                folder,
                settings,
            )));
        }
        let keepers = replicas.iter().map(|one| Arc::clone(one).keep()).collect();
        let mut world = Self {
            plan,
            pair,
            prefix,
            replicas,
            offers: Vec::new(),
            ledger: Ledger::new(Instant::now()),
            redis_url,
            brokers,
            keepers,
            _folder: folder,
        };
        wait_ready(&world.replicas).await;
        world.create_campaigns().await;
        world.ledger = Ledger::new(Instant::now());
        world
    }

    /// Campaigns with limited stock, with several units for a user, sold out early, and without end.
    async fn create_campaigns(&mut self) {
        let wanted = [
            json!({ "name": "limited", "kind": "general", "totalStock": 170 }),
            json!({ "name": "several", "kind": "general", "totalStock": 150, "perUserLimit": 3, "maxQuantity": 2 }),
            json!({ "name": "small", "kind": "general", "totalStock": 25 }),
            json!({ "name": "endless", "kind": "general" }),
        ];
        let base = self.replicas[0].base().unwrap();
        let client = reqwest::Client::new();
        for campaign in wanted {
            let made = client
                .post(format!("{base}/api/admin/campaigns"))
                .bearer_auth(ADMIN_TOKEN)
                .json(&campaign);
            let made = made.send().await.unwrap();
            assert_eq!(made.status(), 201);
            let made: Value = made.json().await.unwrap();
            self.offers.push(Offer {
                id: made["id"].as_i64().unwrap(),
                total: made["totalStock"].as_u64(),
                max_quantity: made["maxQuantity"].as_u64().unwrap().try_into().unwrap(),
            });
        }
    }

    /// The campaign that cannot be sold out.
    pub fn endless(&self) -> Offer {
        let mut offers = self.offers.iter();
        *offers.find(|offer| offer.total.is_none()).unwrap()
    }

    /// The server that is the primary after the fault.
    pub const fn primary(&self) -> &Server {
        if self.plan.fault.fails_over() {
            self.pair.successor()
        } else {
            self.pair.old()
        }
    }

    /// A session at the schema on the primary after the fault.
    pub async fn session(&self) -> MySqlConnection {
        let mut session = self.primary().session().await;
        let used = sqlx::raw_sql(AssertSqlSafe(format!("USE {}", self.prefix)));
        used.execute(&mut session).await.unwrap();
        session
    }

    fn database_url(&self) -> String {
        format!("mysql://root@{}/{}", self.primary().address, self.prefix)
    }

    /// The service as started by hand, at the primary after the fault.
    pub fn command(&self) -> std::process::Command {
        let mut command = self.replicas[0].command();
        command
            .env("FIRSTCOME_DATABASE_URL", self.database_url())
            .env("FIRSTCOME_REDIS_URL", &self.redis_url);
        command
    }

    /// Reads the primary after the fault, and the topic.
    pub async fn evidence(&self) -> Evidence {
        let url = format!("{}?ssl-mode=disabled", self.database_url());
        let mut evidence = Evidence::of_database(&url).await.unwrap();
        evidence.key = Some(self.plan.key);
        evidence.with_topic(&self.brokers, &self.prefix).await
    }

    /// Removes the data of the run from Redis and Kafka. The pair is cleaned before its next run.
    pub async fn close(self) -> Pair {
        for keeper in &self.keepers {
            keeper.abort();
        }
        for replica in &self.replicas {
            replica.kill();
        }
        self.remove_keys().await.unwrap();
        self.remove_topics().await;
        self.pair
    }

    async fn remove_keys(&self) -> redis::RedisResult<()> {
        let client = redis::Client::open(self.redis_url.as_str())?;
        let mut redis = client.get_multiplexed_async_connection().await?;
        let pattern = format!("{}:*", self.prefix);
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg(pattern)
            .query_async(&mut redis)
            .await?;
        if keys.is_empty() {
            return Ok(());
        }
        redis::cmd("DEL").arg(&keys).exec_async(&mut redis).await
    }

    async fn remove_topics(&self) {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
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

fn settings(
    plan: &Plan,
    prefix: &str,
    (database, redis, brokers): (&str, &str, &str),
) -> Vec<(String, String)> {
    let lease = format!("{}ms", GATE_LEASE.as_millis());
    [
        ("HTTP_LISTEN", "127.0.0.1:0"),
        ("ADMIN_TOKEN", ADMIN_TOKEN),
        ("DATABASE_URL", database),
        ("DATABASE_RESPONSE_TIMEOUT", "2s"),
        ("REDIS_URL", redis),
        ("REDIS_PREFIX", prefix),
        ("KAFKA_BROKERS", brokers),
        ("KAFKA_TOPIC_PREFIX", prefix),
        ("KAFKA_CREATE_TOPICS", "true"),
        ("KAFKA_KEY", plan.key.name()),
        ("KAFKA_MESSAGE_TIMEOUT", "1s"),
        ("GATE_LEASE", &lease),
        ("GATE_SWEEP_INTERVAL", "1s"),
        ("RELAY_LEASE", "4s"),
        ("RELAY_RETRY_MAX", "1s"),
        ("SHUTDOWN_DEADLINE", "5s"),
    ]
    .map(|(name, value)| (format!("FIRSTCOME_{name}"), value.to_owned()))
    .into()
}

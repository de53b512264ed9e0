//! The environment of one run: its own schema, key prefix and topics, two replicas of the service behind their
//! proxies, and the campaigns.

use std::sync::Arc;

use sea_orm::sqlx::{self, AssertSqlSafe, MySqlConnection};
use tempfile::TempDir;

use crate::evidence::Evidence;
use crate::fault::Plan;
use crate::pair::Pair;
use crate::proxy::Proxy;
use crate::replica::Replica;
use crate::sale::campaigns::Sale;
use crate::sale::parts::{real, remove_keys, remove_topics, settings};
use crate::server::Server;

pub struct World {
    pub plan: Plan,
    pub pair: Pair,
    /// The schema, and the prefix of Redis's keys and of the topics.
    pub prefix: String,
    pub sale: Arc<Sale>,
    redis_url: String,
    brokers: String,
    _folder: TempDir,
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
            let settings = settings(plan.key, &prefix, parts);
            let folder = folder.path().to_owned();
            replicas.push(Replica::new(nth, (mysql, redis), folder, settings));
        }
        let sale = Arc::new(Sale::open(plan.seed, replicas).await);
        Self {
            plan,
            pair,
            prefix,
            sale,
            redis_url,
            brokers,
            _folder: folder,
        }
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
        let mut command = self.sale.replicas[0].command();
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
        self.sale.close();
        remove_keys(&self.redis_url, &self.prefix).await.unwrap();
        remove_topics(&self.brokers, &self.prefix).await;
        self.pair
    }
}

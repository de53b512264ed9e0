//! The environment of one run: its own schema and topics, and two replicas of the service, which reach MySQL and Kafka as
//! always and the pair through their proxies.

use std::process::Command;
use std::sync::Arc;

use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sea_orm::sqlx::{self, AssertSqlSafe, Connection, MySqlConnection};
use tempfile::TempDir;

use crate::evidence::Evidence;
use crate::fault::Plan;
use crate::pair::Pair;
use crate::proxy::Proxy;
use crate::replica::Replica;
use crate::sale::campaigns::Sale;
use crate::sale::parts::{real, remove_topics, settings};
use crate::server::Server;

pub struct World {
    pub plan: Plan,
    pub pair: Pair,
    /// The schema, and the prefix of Redis's keys and of the topics.
    prefix: String,
    pub sale: Arc<Sale>,
    mysql: MySqlConnectOptions,
    brokers: String,
    _folder: TempDir,
}

impl World {
    /// Prepares the run: both replicas use the first server, and the campaigns are open.
    pub async fn open(pair: Pair, plan: Plan) -> Self {
        pair.begin().await;
        let prefix = format!("redis_{}", uuid::Uuid::now_v7().simple());
        let mysql: MySqlConnectOptions = real("FIRSTCOME_DATABASE_URL").parse().unwrap();
        let mysql = mysql.ssl_mode(MySqlSslMode::Disabled);
        let brokers = real("FIRSTCOME_KAFKA_BROKERS");
        let mut admin = MySqlConnection::connect_with(&mysql).await.unwrap();
        execute(&mut admin, format!("CREATE DATABASE {prefix}")).await;
        let folder = TempDir::new().unwrap();
        let mut replicas = Vec::new();
        for nth in 0..2 {
            let to_mysql = Proxy::start(([127, 0, 0, 1], mysql.get_port()).into()).await;
            let to_redis = Proxy::start(pair.old().address).await;
            let database = format!("mysql://root@{}/{prefix}", to_mysql.address);
            let redis = format!("redis://{}", to_redis.address);
            let settings = settings(plan.key, &prefix, (&database, &redis, &brokers));
            let folder = folder.path().to_owned();
            replicas.push(Replica::new(nth, (to_mysql, to_redis), folder, settings));
        }
        let sale = Arc::new(Sale::open(plan.seed, replicas).await);
        Self {
            plan,
            pair,
            mysql: mysql.database(&prefix),
            prefix,
            sale,
            brokers,
            _folder: folder,
        }
    }

    /// The address of a replica leads to this server from now on.
    pub fn redirect(&self, nth: usize, to: &Server) {
        let proxy = &self.sale.replicas[nth].redis;
        proxy.redirect(to.address);
        if self.plan.cuts {
            proxy.cut();
        }
    }

    /// Units that a server counts as taken, of all campaigns.
    pub async fn units(&self, server: &Server) -> u64 {
        let mut units = 0;
        for offer in &self.sale.offers {
            let key = format!("{}:{{campaign:{}}}:state", self.prefix, offer.id);
            units += server
                .ask::<Option<u64>>(&["HGET", &key, "units"])
                .await
                .unwrap_or(0);
        }
        units
    }

    /// Rebuilds of gates by both replicas.
    pub async fn rebuilds(&self) -> u64 {
        let mut rebuilds = 0;
        for replica in &self.sale.replicas {
            let metrics = reqwest::get(format!("{}/metrics", replica.base().unwrap())).await;
            let metrics = metrics.unwrap().text().await.unwrap();
            let value = metrics
                .lines()
                .find_map(|line| line.strip_prefix("firstcome_gate_rebuilds_total "));
            rebuilds += value.unwrap().parse::<u64>().unwrap();
        }
        rebuilds
    }

    /// A session at the schema, without a proxy.
    pub async fn session(&self) -> MySqlConnection {
        MySqlConnection::connect_with(&self.mysql).await.unwrap()
    }

    /// The service as started by hand.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sale.replicas[0].command();
        command.args(arguments);
        command
    }

    /// Reads MySQL and the topic.
    pub async fn evidence(&self) -> Evidence {
        let (port, prefix) = (self.mysql.get_port(), &self.prefix);
        let url = format!("mysql://root@127.0.0.1:{port}/{prefix}?ssl-mode=disabled");
        let mut evidence = Evidence::of_database(&url).await.unwrap();
        evidence.key = Some(self.plan.key);
        evidence.with_topic(&self.brokers, prefix).await
    }

    /// Removes the data of the run. The pair is emptied before its next run.
    pub async fn close(self) -> Pair {
        self.sale.close();
        remove_topics(&self.brokers, &self.prefix).await;
        let mut mysql = self.session().await;
        execute(&mut mysql, format!("DROP DATABASE {}", self.prefix)).await;
        self.pair
    }
}

async fn execute(mysql: &mut MySqlConnection, statement: String) {
    let executed = sqlx::raw_sql(AssertSqlSafe(statement));
    executed.execute(mysql).await.unwrap();
}

//! The environment of one run: its own schema, key prefix and topics, and two replicas of the service, which reach
//! MySQL and Redis as always and the brokers through the proxies of the cluster.

use std::process::Command;
use std::sync::Arc;

use firstcome::domain::Topic;
use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sea_orm::sqlx::{self, AssertSqlSafe, Connection, MySqlConnection};
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::evidence::Evidence;
use crate::fault::{Fault, Plan};
use crate::proxy::Proxy;
use crate::replica::Replica;
use crate::sale::campaigns::Sale;
use crate::sale::parts::{real, remove_keys, remove_topics, settings};

pub struct World {
    pub plan: Plan,
    pub cluster: Cluster,
    /// The schema, and the prefix of Redis's keys and of the topics.
    pub prefix: String,
    pub sale: Arc<Sale>,
    mysql: MySqlConnectOptions,
    redis_url: String,
    _folder: TempDir,
}

impl World {
    /// Prepares the run: all brokers and both replicas run, and the campaigns are open.
    pub async fn open(cluster: Cluster, plan: Plan) -> Self {
        cluster.begin().await;
        let prefix = format!("brokers_{}", uuid::Uuid::now_v7().simple());
        let mysql: MySqlConnectOptions = real("FIRSTCOME_DATABASE_URL").parse().unwrap();
        let mysql = mysql.ssl_mode(MySqlSslMode::Disabled);
        let redis_url = real("FIRSTCOME_REDIS_URL");
        let mut admin = MySqlConnection::connect_with(&mysql).await.unwrap();
        execute(&mut admin, format!("CREATE DATABASE {prefix}")).await;
        let redis = redis_url.trim_start_matches("redis://").parse().unwrap();
        let folder = TempDir::new().unwrap();
        let mut replicas = Vec::new();
        for nth in 0..2 {
            let target = ([127, 0, 0, 1], mysql.get_port()).into();
            let to_mysql = Proxy::start(target).await;
            let to_redis = Proxy::start(redis).await;
            let settings = settings(
                plan.key,
                &prefix,
                (
                    &format!("mysql://root@{}/{prefix}", to_mysql.address),
                    &format!("redis://{}", to_redis.address),
                    &cluster.addresses(),
                ),
            );
            let folder = folder.path().to_owned();
            replicas.push(Replica::new(nth, (to_mysql, to_redis), folder, settings));
        }
        let sale = Arc::new(Sale::open(plan.seed, replicas).await);
        Self {
            plan,
            cluster,
            mysql: mysql.database(&prefix),
            prefix,
            sale,
            redis_url,
            _folder: folder,
        }
    }

    /// The topic of participations.
    pub fn topic(&self) -> String {
        Topic::Participation.name(&self.prefix)
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
        let port = self.mysql.get_port();
        let url = format!(
            "mysql://root@127.0.0.1:{port}/{}?ssl-mode=disabled",
            self.prefix
        );
        let mut evidence = Evidence::of_database(&url).await.unwrap();
        evidence.key = Some(self.plan.key);
        evidence.keys_moved = self.plan.fault == Fault::PartitionsAdded;
        let brokers = self.cluster.addresses();
        evidence.with_topic(&brokers, &self.prefix).await
    }

    /// Removes the data of the run.
    pub async fn close(self) -> Cluster {
        self.sale.close();
        remove_keys(&self.redis_url, &self.prefix).await.unwrap();
        remove_topics(&self.cluster.addresses(), &self.prefix).await;
        let mut mysql = self.session().await;
        execute(&mut mysql, format!("DROP DATABASE {}", self.prefix)).await;
        self.cluster
    }
}

async fn execute(mysql: &mut MySqlConnection, statement: String) {
    let executed = sqlx::raw_sql(AssertSqlSafe(statement));
    executed.execute(mysql).await.unwrap();
}

//! The environment of one run: its own schema and topics, and two replicas of the service, which reach MySQL and Kafka as
//! always and the pair through their proxies.

use std::process::Command;
use std::sync::Arc;

use sea_orm::sqlx::MySqlConnection;
use tempfile::TempDir;

use crate::evidence::Evidence;
use crate::fault::Plan;
use crate::pair::Pair;
use crate::proxy::Proxy;
use crate::replica::Replica;
use crate::sale::campaigns::Sale;
use crate::sale::parts::{real, remove_topics, settings};
use crate::sale::schema::Schema;
use crate::server::Server;

pub struct World {
    pub plan: Plan,
    pub pair: Pair,
    /// The schema, and the prefix of Redis's keys and of the topics.
    prefix: String,
    pub sale: Arc<Sale>,
    schema: Schema,
    brokers: String,
    _folder: TempDir,
}

impl World {
    /// Prepares the run: both replicas use the first server, and the campaigns are open.
    pub async fn open(pair: Pair, plan: Plan) -> Self {
        pair.begin().await;
        let prefix = format!("redis_{}", uuid::Uuid::now_v7().simple());
        let schema = Schema::create(&prefix).await;
        let brokers = real("FIRSTCOME_KAFKA_BROKERS");
        let folder = TempDir::new().unwrap();
        let mut replicas = Vec::new();
        for nth in 0..2 {
            let to_mysql = Proxy::start(schema.address()).await;
            let to_redis = Proxy::start(pair.old().address).await;
            let database = schema.url_at(to_mysql.address);
            let redis = format!("redis://{}", to_redis.address);
            let settings = settings(plan.key, &prefix, (&database, &redis, &brokers));
            let folder = folder.path().to_owned();
            replicas.push(Replica::new(nth, (to_mysql, to_redis), folder, settings));
        }
        let sale = Arc::new(Sale::open(plan.seed, replicas).await);
        Self {
            plan,
            pair,
            schema,
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
        for page in self.sale.metrics().await {
            let value = page
                .lines()
                .find_map(|line| line.strip_prefix("firstcome_gate_rebuilds_total "));
            rebuilds += value.unwrap().parse::<u64>().unwrap();
        }
        rebuilds
    }

    /// A session at the schema, without a proxy.
    pub async fn session(&self) -> MySqlConnection {
        self.schema.session().await
    }

    /// The service as started by hand.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sale.replicas[0].command();
        command.args(arguments);
        command
    }

    /// Reads MySQL and the topic.
    pub async fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::of_database(&self.schema.url()).await.unwrap();
        evidence.key = Some(self.plan.key);
        evidence.with_topic(&self.brokers, &self.prefix).await
    }

    /// Removes the data of the run. The pair is emptied before its next run.
    pub async fn close(self) -> Pair {
        self.sale.close();
        remove_topics(&self.brokers, &self.prefix).await;
        self.schema.remove().await;
        self.pair
    }
}

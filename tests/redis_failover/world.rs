//! The environment of one run: its own schema and topics, and two replicas of the service, which reach MySQL and Kafka as
//! always, and Redis through their proxies, a cluster directly.

use std::process::Command;
use std::sync::Arc;

use redis::cluster::ClusterClient;
use redis::{Client, Cmd, FromRedisValue};
use sea_orm::sqlx::{self, MySqlConnection};
use tempfile::TempDir;

use crate::evidence::Evidence;
use crate::fault::Plan;
use crate::proxy::Proxy;
use crate::replica::Replica;
use crate::sale::campaigns::{Conditions, Offer, Sale};
use crate::sale::parts::{POINTS, real, remove_topics, rewards_of, settings};
use crate::sale::schema::Schema;
use crate::server::Server;
use crate::servers::Servers;

pub struct World {
    pub plan: Plan,
    pub servers: Arc<Servers>,
    /// The schema, and the prefix of Redis's keys and of the topics.
    prefix: String,
    pub sale: Arc<Sale>,
    schema: Schema,
    brokers: String,
    _folder: TempDir,
}

impl World {
    /// Prepares the run: both replicas use the first server, and the campaigns are open.
    pub async fn open(servers: Arc<Servers>, plan: Plan) -> Self {
        servers.begin(plan.fault).await;
        let address = servers.first_address(plan.fault);
        let prefix = format!("redis_{}", uuid::Uuid::now_v7().simple());
        let schema = Schema::create(&prefix).await;
        let brokers = real("FIRSTCOME_KAFKA_BROKERS");
        let folder = TempDir::new().unwrap();
        let mut replicas = Vec::new();
        for nth in 0..2 {
            let to_mysql = Proxy::start(schema.address()).await;
            let to_redis = Proxy::start(address).await;
            let database = schema.url_at(to_mysql.address);
            let redis = if plan.fault.has_cluster() {
                servers.cluster().url()
            } else {
                format!("redis://{}", to_redis.address)
            };
            let settings = settings(plan.key, &prefix, (&database, &redis, &brokers), POINTS);
            let folder = folder.path().to_owned();
            replicas.push(Replica::new(nth, (to_mysql, to_redis), folder, settings));
        }
        let conditions = Conditions {
            database: Some(schema.options()),
            gate_fails_over: true,
            has_true_clocks: !plan.fault.has_clock(),
            has_staff: true,
        };
        let sale = Arc::new(Sale::open(plan.seed, replicas, conditions).await);
        Self {
            plan,
            servers,
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

    /// A key of a campaign in the gate.
    pub fn key(&self, campaign: i64, name: &str) -> String {
        format!("{}:{{campaign:{campaign}}}:{name}", self.prefix)
    }

    /// Units that a server counts as taken, of all campaigns.
    pub async fn units(&self, server: &Server) -> u64 {
        self.units_of(server, &self.sale.offers).await
    }

    /// Units that a server counts as taken, of these campaigns.
    pub async fn units_of(&self, server: &Server, offers: &[Offer]) -> u64 {
        let mut units = 0;
        for offer in offers {
            let key = self.key(offer.id, "state");
            let known: Option<u64> = server.ask(&["HGET", &key, "units"]).await;
            units += known.unwrap_or(0);
        }
        units
    }

    /// Leases in the gate, wherever the replicas of the service find it.
    pub async fn leases(&self) -> u64 {
        let mut leases = 0;
        // The gate of an ended campaign keeps what it has, and expires.
        let living = "SELECT id FROM campaign WHERE state <> 'closed'";
        let living = sqlx::query_scalar(living);
        let living: Vec<i64> = living.fetch_all(&mut self.session().await).await.unwrap();
        for campaign in living {
            let mut count = redis::cmd("HLEN");
            count.arg(self.key(campaign, "leases"));
            leases += self.ask_gate::<u64>(&count).await;
        }
        leases
    }

    async fn ask_gate<T: FromRedisValue>(&self, command: &Cmd) -> T {
        if self.plan.fault.has_cluster() {
            let nodes = self.servers.cluster().url();
            let client = ClusterClient::new(nodes.split(',').collect::<Vec<_>>()).unwrap();
            let mut connection = client.get_async_connection().await.unwrap();
            command.query_async(&mut connection).await.unwrap()
        } else {
            let address = self.sale.replicas[0].redis.address;
            let client = Client::open(format!("redis://{address}")).unwrap();
            let connection = client.get_multiplexed_async_connection();
            command
                .query_async(&mut connection.await.unwrap())
                .await
                .unwrap()
        }
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

    /// The rewards database.
    pub fn rewards_schema(&self) -> String {
        rewards_of(&self.prefix)
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
        let rewards = self.schema.rewards_url();
        evidence.read_rewards(&rewards).await.unwrap();
        evidence.with_topic(&self.brokers, &self.prefix).await
    }

    /// Removes the data of the run. The servers are emptied before their next run.
    pub async fn close(self) {
        self.sale.close();
        self.servers.end(self.plan.fault).await;
        remove_topics(&self.brokers, &self.prefix).await;
        self.schema.remove().await;
    }
}

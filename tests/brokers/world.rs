//! The environment of one run: its own schema, key prefix and topics, and two replicas of the service, which reach
//! MySQL and Redis as always and the brokers through the proxies of the cluster.

use std::process::Command;
use std::sync::Arc;

use firstcome::domain::Topic;
use sea_orm::sqlx::MySqlConnection;
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::evidence::Evidence;
use crate::fault::{Fault, Plan};
use crate::proxy::Proxy;
use crate::replica::Replica;
use crate::sale::campaigns::{Conditions, Sale};
use crate::sale::parts::{POINTS, real, remove_keys, remove_topics, rewards_of, settings};
use crate::sale::schema::Schema;

pub struct World {
    pub plan: Plan,
    pub cluster: Cluster,
    /// The schema, and the prefix of Redis's keys and of the topics.
    pub prefix: String,
    pub sale: Arc<Sale>,
    schema: Schema,
    redis_url: String,
    _folder: TempDir,
}

impl World {
    /// Prepares the run: all brokers and both replicas run, and the campaigns are open.
    pub async fn open(cluster: Cluster, plan: Plan) -> Self {
        cluster.begin().await;
        let prefix = format!("brokers_{}", uuid::Uuid::now_v7().simple());
        let schema = Schema::create(&prefix).await;
        let redis_url = real("FIRSTCOME_REDIS_URL");
        let redis = redis_url.trim_start_matches("redis://").parse().unwrap();
        let folder = TempDir::new().unwrap();
        let mut replicas = Vec::new();
        // The control loses events. Those that are deleted are lost for good, a repaired second change of a participation
        // comes before its first one, and a consumer passes over what is written in the place of a lost event.
        let has_staff = plan.fault != Fault::UncleanElection;
        let consumers = if has_staff { POINTS } else { "" };
        for nth in 0..2 {
            let to_mysql = Proxy::start(schema.address()).await;
            let to_redis = Proxy::start(redis).await;
            let settings = settings(
                plan.key,
                &prefix,
                (
                    &schema.url_at(to_mysql.address),
                    &format!("redis://{}", to_redis.address),
                    &cluster.addresses(),
                ),
                consumers,
            );
            let folder = folder.path().to_owned();
            replicas.push(Replica::new(nth, (to_mysql, to_redis), folder, settings));
        }
        let conditions = Conditions {
            database: Some(schema.options()),
            gate_fails_over: false,
            has_true_clocks: true,
            has_staff,
        };
        let sale = Arc::new(Sale::open(plan.seed, replicas, conditions).await);
        Self {
            plan,
            cluster,
            schema,
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
        evidence.keys_moved = self.plan.fault == Fault::PartitionsAdded;
        if !self.sale.managed.is_empty() {
            let rewards = self.schema.rewards_url();
            evidence.read_rewards(&rewards).await.unwrap();
        }
        let brokers = self.cluster.addresses();
        evidence.with_topic(&brokers, &self.prefix).await
    }

    /// Removes the data of the run.
    pub async fn close(self) -> Cluster {
        self.sale.close();
        remove_keys(&self.redis_url, &self.prefix).await.unwrap();
        remove_topics(&self.cluster.addresses(), &self.prefix).await;
        self.schema.remove().await;
        self.cluster
    }
}

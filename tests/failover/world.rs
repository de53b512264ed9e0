//! The environment of one run: its own schema, key prefix and topics, two replicas of the service behind their
//! proxies, and the campaigns.

use std::sync::Arc;

use sea_orm::sqlx::{self, AssertSqlSafe, MySqlConnection};
use tempfile::TempDir;

use crate::evidence::Evidence;
use crate::fault::{Fault, Plan};
use crate::group::Group;
use crate::judge::Breach;
use crate::pair::Pair;
use crate::proxy::Proxy;
use crate::replica::Replica;
use crate::router::Router;
use crate::sale::campaigns::{Conditions, Sale};
use crate::sale::parts::{POINTS, real, remove_keys, remove_topics, rewards_of, settings};
use crate::server::Server;

/// The servers of a run.
pub enum Servers {
    Pair(Pair),
    Group(Group),
}

impl Servers {
    /// The primary at the begin of a run.
    pub fn old(&self) -> &Server {
        match self {
            Self::Pair(pair) => pair.old(),
            Self::Group(group) => group.old(),
        }
    }

    async fn begin(&self, plan: &Plan) {
        match self {
            Self::Pair(pair) => pair.begin(plan.fault.replication()).await,
            Self::Group(group) => group.begin(plan).await,
        }
    }
}

pub struct World {
    pub plan: Plan,
    pub servers: Servers,
    /// They lead the addresses of the replicas to the primary of a group.
    pub routers: Vec<Router>,
    /// The schema, and the prefix of Redis's keys and of the topics.
    pub prefix: String,
    pub sale: Arc<Sale>,
    redis_url: String,
    brokers: String,
    _folder: TempDir,
}

impl World {
    /// Prepares the run: both replicas serve from the old primary, and the campaigns are open.
    pub async fn open(servers: Servers, plan: Plan) -> Self {
        servers.begin(&plan).await;
        let prefix = format!("failover_{}", uuid::Uuid::now_v7().simple());
        let (redis_url, brokers) = (real("FIRSTCOME_REDIS_URL"), real("FIRSTCOME_KAFKA_BROKERS"));
        let old = servers.old();
        old.run(&[&format!("CREATE DATABASE {prefix}")]).await;
        let folder = TempDir::new().unwrap();
        let redis = redis_url.trim_start_matches("redis://").parse().unwrap();
        let mut replicas = Vec::new();
        // The control loses transactions: then also those of consumers, whose events are not sent again.
        let has_staff = plan.fault != Fault::TailCut;
        let consumers = if has_staff { POINTS } else { "" };
        for nth in 0..2 {
            let mysql = Proxy::start(old.address).await;
            let redis = Proxy::start(redis).await;
            let database = format!("mysql://root@{}/{prefix}", mysql.address);
            let parts = (
                &*database,
                &*format!("redis://{}", redis.address),
                &*brokers,
            );
            let mut settings = settings(plan.key, &prefix, parts, consumers);
            settings.push((
                "FIRSTCOME_PAYMENT_ALLOW_SIMULATED".to_owned(),
                "true".to_owned(),
            ));
            let folder = folder.path().to_owned();
            replicas.push(Replica::new(nth, (mysql, redis), folder, settings));
        }
        let conditions = Conditions {
            database: None,
            gate_fails_over: false,
            has_true_clocks: !plan.fault.has_clock(),
            has_staff,
        };
        let sale = Arc::new(Sale::open(plan.seed, replicas, conditions).await);
        let routers = match &servers {
            Servers::Pair(_) => Vec::new(),
            Servers::Group(group) => {
                let replicas = sale.replicas.iter().map(Arc::clone);
                replicas
                    .map(|one| Router::start(one, group.ports()))
                    .collect()
            }
        };
        Self {
            plan,
            servers,
            routers,
            prefix,
            sale,
            redis_url,
            brokers,
            _folder: folder,
        }
    }

    /// The server that is the primary after the fault.
    pub fn primary(&self) -> &Server {
        match &self.servers {
            Servers::Group(group) => group.primary(),
            Servers::Pair(pair) if self.plan.fault.keeps_primary() => pair.old(),
            Servers::Pair(pair) => pair.successor(),
        }
    }

    /// Lets a killed member return while the traffic continues.
    pub async fn reunite_meanwhile(&self) -> Vec<Breach> {
        match &self.servers {
            Servers::Group(group)
                if matches!(self.plan.fault, Fault::GroupKilled | Fault::GroupClocks) =>
            {
                group.reunite(self.plan.exit).await
            }
            _ => Vec::new(),
        }
    }

    /// After the traffic: all members of a group have the same transactions. Returns what differs.
    pub async fn agree(&self) -> Vec<Breach> {
        match &self.servers {
            Servers::Group(group) => group.agree(self.plan.exit).await,
            Servers::Pair(_) => Vec::new(),
        }
    }

    /// A session at the schema on the primary after the fault.
    pub async fn session(&self) -> MySqlConnection {
        self.session_on(self.primary()).await
    }

    /// A session at the schema on the primary at the begin.
    pub async fn session_before(&self) -> MySqlConnection {
        self.session_on(self.servers.old()).await
    }

    async fn session_on(&self, server: &Server) -> MySqlConnection {
        let mut session = server.session().await;
        let used = sqlx::raw_sql(AssertSqlSafe(format!("USE {}", self.prefix)));
        used.execute(&mut session).await.unwrap();
        session
    }

    /// The rewards database.
    pub fn rewards_schema(&self) -> String {
        rewards_of(&self.prefix)
    }

    fn database_url(&self, schema: &str) -> String {
        format!("mysql://root@{}/{schema}", self.primary().address)
    }

    /// The service as started by hand, at the primary after the fault.
    pub fn command(&self) -> std::process::Command {
        let mut command = self.sale.replicas[0].command();
        command
            .env("FIRSTCOME_DATABASE_URL", self.database_url(&self.prefix))
            .env("FIRSTCOME_REDIS_URL", &self.redis_url);
        command
    }

    /// Reads the primary after the fault, and the topic.
    pub async fn evidence(&self) -> Evidence {
        let url = |schema: &str| format!("{}?ssl-mode=disabled", self.database_url(schema));
        let mut evidence = Evidence::of_database(&url(&self.prefix)).await.unwrap();
        if !self.sale.managed.is_empty() {
            let rewards = url(&self.rewards_schema());
            evidence.read_rewards(&rewards).await.unwrap();
        }
        evidence.key = Some(self.plan.key);
        evidence.with_topic(&self.brokers, &self.prefix).await
    }

    /// Removes the data of the run from Redis and Kafka. The servers are cleaned before their next run.
    pub async fn close(self) -> Servers {
        self.sale.close();
        remove_keys(&self.redis_url, &self.prefix).await.unwrap();
        remove_topics(&self.brokers, &self.prefix).await;
        self.servers
    }
}

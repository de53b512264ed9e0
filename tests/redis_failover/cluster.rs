//! A Redis Cluster of three primaries and a replica of each, whose slots move and whose primaries fail.

use std::time::{Duration, Instant};

use redis::RedisResult;

use crate::server::Server;

/// Slots of a cluster.
const SLOTS: usize = 16_384;
const PRIMARIES: usize = 3;
/// Longest wait for what the nodes tell each other.
const PATIENCE: Duration = Duration::from_secs(40);
/// Keys moved at a time, so that requests meet half of a campaign.
const KEYS_AT_A_TIME: &str = "1";

pub struct Cluster {
    /// The primaries at the begin of a run, and then the replica of each.
    pub nodes: Vec<Server>,
}

impl Cluster {
    pub async fn up() -> Self {
        let settings = [
            "maxmemory-policy=noeviction",
            "cluster-enabled=yes",
            "cluster-port=@next",
            "cluster-config-file=nodes.conf",
            // The campaigns of available nodes are not affected by an unavailable one.
            "cluster-require-full-coverage=no",
            "cluster-node-timeout=2000",
        ];
        let mut nodes = Vec::new();
        for nth in 0..2 * PRIMARIES {
            nodes.push(Server::up("redis", &format!("cluster-{nth}"), &settings).await);
        }
        Self { nodes }
    }

    /// All nodes forget everything, and form the cluster anew.
    pub async fn begin(&self) {
        for node in &self.nodes {
            node.start().await;
        }
        for (node, epoch) in self.nodes.iter().zip(1..) {
            until("a node forgets the cluster", async || {
                // A replica refuses the first, and empties itself by the second.
                node.try_ask::<()>(&["FLUSHALL"]).await.ok();
                let allow = ["ACL", "SETUSER", "default", "+@all"];
                node.try_ask::<()>(&allow).await.ok();
                let reset: RedisResult<()> = node.try_ask(&["CLUSTER", "RESET", "HARD"]).await;
                let epoch = i32::to_string(&epoch);
                let set = ["CLUSTER", "SET-CONFIG-EPOCH", &epoch];
                reset.is_ok() && node.try_ask::<()>(&set).await.is_ok()
            })
            .await;
            node.run(&["CONFIG", "RESETSTAT"]).await;
        }
        for (nth, primary) in self.nodes[..PRIMARIES].iter().enumerate() {
            let from = (SLOTS * nth / PRIMARIES).to_string();
            let until = (SLOTS * (nth + 1) / PRIMARIES - 1).to_string();
            primary
                .run(&["CLUSTER", "ADDSLOTSRANGE", &from, &until])
                .await;
        }
        self.meet().await;
        for nth in 0..PRIMARIES {
            let id = self.nodes[nth].id().await;
            let replica = &self.nodes[nth + PRIMARIES];
            replica.run(&["CLUSTER", "REPLICATE", &id]).await;
            replica
                .wait_for("replication", "master_link_status", "up")
                .await;
        }
        for node in &self.nodes {
            until("each node knows the roles of all", async || {
                let known: String = node.ask(&["CLUSTER", "NODES"]).await;
                known.matches("slave").count() == PRIMARIES
            })
            .await;
        }
    }

    /// Introduces the other nodes to the first, until all know all and all slots are served.
    async fn meet(&self) {
        until("all have met", async || {
            let mut are_known = true;
            for node in &self.nodes {
                let info: String = node.ask(&["CLUSTER", "INFO"]).await;
                let wanted = [
                    "cluster_state:ok".to_owned(),
                    format!("cluster_known_nodes:{}", self.nodes.len()),
                ];
                are_known &= wanted.iter().all(|line| info.contains(line));
            }
            if !are_known {
                for node in &self.nodes[1..] {
                    let (port, bus) = (node.address.port(), node.address.port() + 1);
                    let (port, bus) = (port.to_string(), bus.to_string());
                    let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, &bus];
                    self.nodes[0].run(&meet).await;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            are_known
        })
        .await;
    }

    /// The addresses in the form of the configuration.
    pub fn url(&self) -> String {
        let urls = self.nodes.iter();
        urls.map(|node| format!("redis://{}", node.address))
            .collect::<Vec<_>>()
            .join(",")
    }

    /// The slot of a key.
    pub async fn slot_of(&self, key: &str) -> usize {
        self.nodes[0].ask(&["CLUSTER", "KEYSLOT", key]).await
    }

    /// The number of the primary that has a slot at the begin of a run.
    pub const fn owner_of(slot: usize) -> usize {
        let mut nth = 0;
        while SLOTS * (nth + 1) / PRIMARIES <= slot {
            nth += 1;
        }
        nth
    }

    /// The number of the primary after this one.
    pub const fn next(nth: usize) -> usize {
        (nth + 1) % PRIMARIES
    }

    /// Moves a slot as `redis-cli --cluster reshard` does, key by key, with this pause before the first and the last step.
    pub async fn move_slot(&self, slot: usize, (from, to): (usize, usize), pause: Duration) -> u64 {
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let (source_id, target_id) = (source.id().await, target.id().await);
        let slot = slot.to_string();
        let set = ["CLUSTER", "SETSLOT", &slot];
        target
            .run(&[&set[..], &["IMPORTING", &source_id]].concat())
            .await;
        source
            .run(&[&set[..], &["MIGRATING", &target_id]].concat())
            .await;
        tokio::time::sleep(pause).await;
        let mut moved = 0;
        let port = target.address.port().to_string();
        loop {
            let page = ["CLUSTER", "GETKEYSINSLOT", &slot, KEYS_AT_A_TIME];
            let keys: Vec<String> = source.ask(&page).await;
            let Some(key) = keys.first() else { break };
            // A key may expire or be deleted meanwhile: NOKEY.
            source
                .run(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"])
                .await;
            moved += 1;
        }
        tokio::time::sleep(pause).await;
        for node in [target, source].into_iter().chain(&self.nodes) {
            // Replicas refuse; they learn it from their primaries.
            let assign = [&set[..], &["NODE", &target_id]].concat();
            let assigned: RedisResult<()> = node.try_ask(&assign).await;
            if node.address == target.address || node.address == source.address {
                assigned.unwrap();
            }
        }
        moved
    }

    /// The replica of a primary gets nothing more from it.
    pub async fn cut_off_replica(&self, primary: usize) {
        let primary = &self.nodes[primary];
        primary
            .run(&["ACL", "SETUSER", "default", "-psync", "-sync"])
            .await;
        primary.run(&["CLIENT", "KILL", "TYPE", "replica"]).await;
    }

    /// The replica of a primary takes its place without asking the others, unless they have agreed already.
    pub async fn take_over(&self, primary: usize) {
        let replica = &self.nodes[primary + PRIMARIES];
        let take_over = ["CLUSTER", "FAILOVER", "TAKEOVER"];
        replica.try_ask::<()>(&take_over).await.ok();
        replica.wait_for("replication", "role", "master").await;
    }

    /// How often nodes sent a client elsewhere, or told it to wait.
    pub async fn redirections(&self) -> u64 {
        let mut count = 0;
        for node in &self.nodes {
            for word in ["ASK", "MOVED", "TRYAGAIN", "CLUSTERDOWN"] {
                let found = node.info("errorstats", &format!("errorstat_{word}")).await;
                let found = found.strip_prefix("count=");
                count += found
                    .and_then(|count| count.parse::<u64>().ok())
                    .unwrap_or(0);
            }
        }
        count
    }
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

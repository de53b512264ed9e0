//! A Redis Cluster of three masters that tests may break. It ends with this process.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redis::{Client, Cmd};
use tokio::sync::OnceCell;

use crate::spare::Spare;
use crate::support::until;

/// Slots of a cluster.
const SLOTS: u32 = 16_384;

pub struct Cluster {
    pub masters: Vec<Spare>,
}

impl Cluster {
    /// Starts three servers and distributes the slots among them.
    pub async fn up(stem: &str) -> Self {
        // A cluster that failed to start does not disturb the next one.
        static NTH: AtomicU32 = AtomicU32::new(0);
        let stem = format!("{stem}{}", NTH.fetch_add(1, Ordering::Relaxed));
        let settings = [
            "cluster-enabled=yes",
            // Not the default port of the cluster bus: the system may have given that to a connection.
            "cluster-port=@next",
            "cluster-config-file=nodes.conf",
            // The campaigns of available masters are not affected by an unavailable one.
            "cluster-require-full-coverage=no",
            "cluster-node-timeout=5000",
            "appendonly=yes",
            "appendfsync=always",
        ];
        let mut masters = Vec::new();
        for nth in 1..=3 {
            let stem = format!("{stem}-{nth}");
            masters.push(Spare::up("redis", &stem, &settings).await);
        }
        let mut from = 0;
        for (master, nth) in masters.iter().zip(1..) {
            let until = SLOTS * nth / 3;
            let mut slots = redis::cmd("CLUSTER");
            slots.arg("ADDSLOTSRANGE").arg(from).arg(until - 1);
            ask::<()>(&master.address, &slots).await;
            from = until;
            let mut epoch = redis::cmd("CLUSTER");
            epoch.arg("SET-CONFIG-EPOCH").arg(nth);
            ask::<()>(&master.address, &epoch).await;
        }
        let cluster = Self { masters };
        // A server whose introduction timed out forgets it.
        until("all have met", async || {
            cluster.meet().await;
            let met = tokio::time::timeout(Duration::from_secs(5), cluster.until_whole());
            met.await.is_ok()
        })
        .await;
        cluster
    }

    /// Introduces the other servers to the first.
    async fn meet(&self) {
        let (host, port) = self.masters[0].address.split_once(':').unwrap();
        let port: u16 = port.parse().unwrap();
        for master in &self.masters[1..] {
            let mut meet = redis::cmd("CLUSTER");
            meet.arg("MEET").arg(host).arg(port).arg(port + 1);
            ask::<()>(&master.address, &meet).await;
        }
    }

    /// The addresses in the form of the configuration.
    pub fn url(&self) -> String {
        let urls = self.masters.iter();
        urls.map(|master| format!("redis://{}", master.address))
            .collect::<Vec<_>>()
            .join(",")
    }

    /// Waits until each server knows all others and all slots are served.
    pub async fn until_whole(&self) {
        for master in &self.masters {
            until("the cluster is whole", async || {
                let mut info = redis::cmd("CLUSTER");
                info.arg("INFO");
                let told: String = ask(&master.address, &info).await;
                [
                    "cluster_state:ok",
                    "cluster_known_nodes:3",
                    "cluster_slots_ok:16384",
                ]
                .into_iter()
                .all(|part| told.contains(part))
            })
            .await;
        }
    }

    /// The number of the master that serves a key.
    pub async fn master_of(&self, key: &str) -> usize {
        let mut slot = redis::cmd("CLUSTER");
        slot.arg("KEYSLOT").arg(key);
        let slot: u32 = ask(&self.masters[0].address, &slot).await;
        let mut served = 1..=3;
        let nth = served.find(|nth| slot < SLOTS * nth / 3).unwrap();
        usize::try_from(nth).unwrap() - 1
    }
}

/// A shared cluster, for tests that leave it unchanged.
pub async fn shared() -> &'static Cluster {
    static SHARED: OnceCell<Cluster> = OnceCell::const_new();
    SHARED.get_or_init(|| Cluster::up("cluster")).await
}

async fn ask<T: redis::FromRedisValue>(address: &str, command: &Cmd) -> T {
    let client = Client::open(format!("redis://{address}")).unwrap();
    let connecting = client.get_multiplexed_async_connection();
    let connected = tokio::time::timeout(Duration::from_secs(10), connecting).await;
    let mut connection = connected.unwrap().unwrap();
    command.query_async(&mut connection).await.unwrap()
}

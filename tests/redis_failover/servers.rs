//! The servers of the runs. Each kind starts when a run needs it first, and later runs use it again.

use std::net::SocketAddr;

use tokio::sync::OnceCell;

use crate::clock::ClockServer;
use crate::cluster::Cluster;
use crate::fault::Fault;
use crate::pair::Pair;
use crate::watch::Watch;

#[derive(Default)]
pub struct Servers {
    pair: OnceCell<Pair>,
    watch: OnceCell<Watch>,
    cluster: OnceCell<Cluster>,
    clock: OnceCell<ClockServer>,
}

impl Servers {
    /// Starts the servers of this fault, and removes everything of the previous run.
    pub async fn begin(&self, fault: Fault) {
        if fault.has_cluster() {
            self.cluster.get_or_init(Cluster::up).await.begin().await;
        } else if fault.has_clock() {
            let up = || ClockServer::up("redis-clock");
            self.clock.get_or_init(up).await.begin().await;
        } else {
            self.pair.get_or_init(Pair::up).await.begin().await;
        }
        if fault.has_sentinels() {
            let watch = self.watch.get_or_init(Watch::up).await;
            watch.begin(self.pair()).await;
        }
    }

    /// Ends what would continue beyond a run.
    pub async fn end(&self, fault: Fault) {
        if fault.has_sentinels() {
            self.watch().end().await;
        }
    }

    /// Where the replicas of the service find the server at the begin of a run; in a cluster, one of its nodes.
    pub fn first_address(&self, fault: Fault) -> SocketAddr {
        if fault.has_cluster() {
            self.cluster().nodes[0].address
        } else if fault.has_clock() {
            self.clock().server.address
        } else {
            self.pair().old().address
        }
    }

    pub fn pair(&self) -> &Pair {
        self.pair.get().unwrap()
    }

    pub fn watch(&self) -> &Watch {
        self.watch.get().unwrap()
    }

    pub fn cluster(&self) -> &Cluster {
        self.cluster.get().unwrap()
    }

    pub fn clock(&self) -> &ClockServer {
        self.clock.get().unwrap()
    }
}

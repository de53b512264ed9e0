//! Two servers, one of them the primary. Each run begins with an empty pair, and may end with a dead or a former primary.

use crate::server::Server;

pub struct Pair {
    servers: [Server; 2],
}

impl Pair {
    pub async fn up() -> Self {
        let (first, second) = tokio::join!(server("redis-a"), server("redis-b"));
        Self {
            servers: [first, second],
        }
    }

    /// The primary at the begin of a run.
    pub const fn old(&self) -> &Server {
        &self.servers[0]
    }

    /// Its replica.
    pub const fn successor(&self) -> &Server {
        &self.servers[1]
    }

    /// Removes everything of the previous run, and starts the replication.
    pub async fn begin(&self) {
        for server in &self.servers {
            server.start().await;
            server.run(&["REPLICAOF", "NO", "ONE"]).await;
            server.run(&["CONFIG", "SET", "maxmemory", "0"]).await;
            server.run(&["FLUSHALL"]).await;
            server.run(&["CONFIG", "RESETSTAT"]).await;
        }
        let port = self.old().address.port().to_string();
        self.replicate(&port).await;
    }

    /// The second server replicates what answers at this port.
    pub async fn replicate(&self, port: &str) {
        let new = self.successor();
        new.run(&["REPLICAOF", "127.0.0.1", port]).await;
        new.wait_for("replication", "master_link_status", "up")
            .await;
    }

    /// The replica receives nothing more, and keeps what it has.
    pub async fn cut_off(&self) {
        // Nothing listens on this port.
        self.successor().run(&["REPLICAOF", "127.0.0.1", "1"]).await;
    }

    /// The replica accepts writes.
    pub async fn promote(&self) {
        self.successor().run(&["REPLICAOF", "NO", "ONE"]).await;
    }
}

async fn server(stem: &str) -> Server {
    Server::up("redis", stem, &["maxmemory-policy=noeviction"]).await
}

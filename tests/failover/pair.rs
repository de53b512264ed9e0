//! Two servers, one of them the primary. Each run begins with an empty pair, and may end with a dead, a diverged or a
//! read-only server.

use crate::server::Server;

/// When the primary answers a COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// After the replica has it; without a replica it waits forever.
    SemiSynchronous,
    /// At once: the replica may never get it.
    Asynchronous,
    /// After most members of a group of three have it.
    Group,
}

pub struct Pair {
    servers: [Server; 2],
}

impl Pair {
    pub async fn up() -> Self {
        let (first, second) = tokio::join!(server("failover-a", 1), server("failover-b", 2));
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
    pub async fn begin(&self, replication: Replication) {
        let empty = self.servers.iter().map(clean);
        futures_util::future::join_all(empty).await;
        let (old, new) = (self.old(), self.successor());
        // The source first: a replica is counted when it connects.
        if replication == Replication::SemiSynchronous {
            let lossless = [
                "SET GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_SYNC'",
                "SET GLOBAL rpl_semi_sync_source_wait_no_replica = ON",
                "SET GLOBAL rpl_semi_sync_source_timeout = 4294967295",
                "SET GLOBAL rpl_semi_sync_source_enabled = ON",
            ];
            old.run(&lossless).await;
            new.run(&["SET GLOBAL rpl_semi_sync_replica_enabled = ON"])
                .await;
        }
        let source = format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {}, \
             SOURCE_USER = 'root', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, \
             SOURCE_CONNECT_RETRY = 1",
            old.address.port()
        );
        new.run(&[&source, "START REPLICA", "SET GLOBAL super_read_only = ON"])
            .await;
        if replication == Replication::SemiSynchronous {
            old.wait_for("Rpl_semi_sync_source_clients", "1").await;
            old.wait_for("Rpl_semi_sync_source_status", "ON").await;
        }
    }

    /// The replica receives nothing more: semi-synchronous commits wait, asynchronous ones are its missing tail.
    pub async fn cut_off(&self) {
        self.successor().run(&["STOP REPLICA IO_THREAD"]).await;
    }

    /// The replica receives again.
    pub async fn reconnect(&self) {
        self.successor().run(&["START REPLICA IO_THREAD"]).await;
    }

    /// The old primary rejects writes; its connections stay.
    pub async fn demote(&self) {
        self.old().run(&["SET GLOBAL super_read_only = ON"]).await;
    }

    /// The replica applies all that the demoted primary has.
    pub async fn catch_up(&self) {
        let all = self.old().executed().await;
        self.successor().catch_up(&all).await;
    }

    /// The replica applies what it has received, and becomes the primary.
    pub async fn promote(&self) {
        let new = self.successor();
        new.run(&["STOP REPLICA IO_THREAD"]).await;
        let received = "SELECT COALESCE(MAX(RECEIVED_TRANSACTION_SET), '') \
                        FROM performance_schema.replication_connection_status";
        let received = new.text(received).await.replace('\n', "");
        new.catch_up(&received).await;
        let writes = [
            "STOP REPLICA",
            "RESET REPLICA ALL",
            "SET GLOBAL super_read_only = OFF",
            "SET GLOBAL read_only = OFF",
        ];
        new.run(&writes).await;
    }
}

/// A server with both sides of semi-synchronous replication.
async fn server(stem: &str, id: u8) -> Server {
    let options = [
        "skip-replica-start=ON",
        "plugin-load-add=semisync_source.so",
        "plugin-load-add=semisync_replica.so",
    ];
    Server::up(stem, id, &options).await
}

/// Makes a server as empty as a new one, in any state of it.
async fn clean(server: &Server) {
    server.start().await;
    server.set_clock(0).await;
    server
        .run(&[
            "SET GLOBAL rpl_semi_sync_source_enabled = OFF",
            "SET GLOBAL rpl_semi_sync_replica_enabled = OFF",
            "STOP REPLICA",
            "RESET REPLICA ALL",
            "SET GLOBAL super_read_only = OFF",
            "SET GLOBAL read_only = OFF",
        ])
        .await;
    server.forget().await;
}

//! Three Sentinels that watch the pair. The primary has its address for them and for its replica behind a proxy, so that
//! it can be cut off from both while the service still reaches it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::pair::Pair;
use crate::proxy::{Mode, Proxy};
use crate::server::Server;

/// The name of the pair in the Sentinels.
const NAME: &str = "pair";
/// How many of the three must agree that the primary is down.
const QUORUM: &str = "2";
const DOWN_AFTER_MS: &str = "1000";
const FAILOVER_TIMEOUT_MS: &str = "6000";
/// Longest wait for what the Sentinels must notice or do.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Watch {
    sentinels: [Server; 3],
    proxy: Mutex<Option<Proxy>>,
}

impl Watch {
    pub async fn up() -> Self {
        let up = |stem| Server::up("sentinel", stem, &["sentinel resolve-hostnames=no"]);
        let (one, two, three) = tokio::join!(up("sentinel-a"), up("sentinel-b"), up("sentinel-c"));
        Self {
            sentinels: [one, two, three],
            proxy: Mutex::new(None),
        }
    }

    /// The Sentinels watch the pair, know its replica, and know each other.
    pub async fn begin(&self, pair: &Pair) {
        let proxy = Proxy::start(pair.old().address).await;
        let port = proxy.address.port().to_string();
        *self.proxy.lock().unwrap() = Some(proxy);
        pair.replicate(&port).await;
        for sentinel in &self.sentinels {
            let monitor = ["SENTINEL", "MONITOR", NAME, "127.0.0.1", &port, QUORUM];
            sentinel.run(&monitor).await;
            for (option, value) in [
                ("down-after-milliseconds", DOWN_AFTER_MS),
                ("failover-timeout", FAILOVER_TIMEOUT_MS),
            ] {
                sentinel
                    .run(&["SENTINEL", "SET", NAME, option, value])
                    .await;
            }
        }
        for sentinel in &self.sentinels {
            for list in ["SENTINELS", "REPLICAS"] {
                let wanted = if list == "SENTINELS" { 2 } else { 1 };
                let is_known = async || {
                    let known: Vec<redis::Value> = sentinel.ask(&["SENTINEL", list, NAME]).await;
                    known.len() == wanted
                };
                until("the Sentinels know all", is_known).await;
            }
        }
    }

    /// The replica and the Sentinels do not reach the primary any more, and notice nothing but silence.
    pub fn cut_off(&self) {
        self.set(Mode::Swallow);
    }

    pub fn heal(&self) {
        self.set(Mode::Pass);
    }

    fn set(&self, mode: Mode) {
        let proxy = self.proxy.lock().unwrap();
        proxy.as_ref().unwrap().set(mode);
    }

    /// Waits until a Sentinel names this server as the primary, as a client or a proxy asks for it.
    pub async fn names(&self, server: &Server) {
        let port = server.address.port().to_string();
        let is_named = async || {
            for sentinel in &self.sentinels {
                let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME];
                let found: Vec<String> = sentinel.ask(&question).await;
                if found.get(1) == Some(&port) {
                    return true;
                }
            }
            false
        };
        until("Sentinel has promoted the replica", is_named).await;
    }

    pub async fn end(&self) {
        for sentinel in &self.sentinels {
            sentinel.run(&["SENTINEL", "REMOVE", NAME]).await;
        }
        self.proxy.lock().unwrap().take();
    }
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

//! Brokers that a test may break.

use tokio::sync::{Mutex, MutexGuard, OnceCell};

pub use crate::spare::Spare;

async fn up(stem: &str) -> Spare {
    let settings = [
        // All operations are allowed, except on topics with a list of permissions.
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found=true",
        // A killed broker returns after its old session has expired.
        "broker.session.timeout.ms=1500",
        "broker.heartbeat.interval.ms=300",
    ];
    Spare::up("kafka", stem, &settings).await
}

/// The broker for tests that leave it unchanged.
pub async fn shared() -> &'static Spare {
    static SHARED: OnceCell<Spare> = OnceCell::const_new();
    SHARED.get_or_init(|| up("shared")).await
}

/// The broker for tests that stop it. They run one after the other; each finds it running.
pub async fn mine() -> MutexGuard<'static, Spare> {
    static MINE: OnceCell<Mutex<Spare>> = OnceCell::const_new();
    let mine = MINE.get_or_init(async || Mutex::new(up("mine").await));
    let spare = mine.await.lock().await;
    // A failed test may have left it in any state; `start` also continues a paused one.
    spare.start().await;
    spare
}

/// Two brokers of one cluster. The second may be stopped: the first, which is also the controller, stays.
pub struct Pair {
    pub first: Spare,
    pub second: Spare,
}

/// The ids of the two.
pub const FIRST: i32 = 1;
pub const SECOND: i32 = 2;

impl Pair {
    async fn up() -> Self {
        // An unavailable or slow follower is soon out of sync.
        let timing = [
            "replica.lag.time.max.ms=3000",
            "broker.session.timeout.ms=4000",
            "broker.heartbeat.interval.ms=500",
        ];
        let first = Spare::up("kafka", "pair-first", &timing).await;
        let voters = format!(
            "controller.quorum.voters=1@127.0.0.1:@next:pair-first-{}",
            std::process::id()
        );
        // If a setting is given twice, the last one counts.
        let joins = [
            "process.roles=broker",
            "node.id=2",
            "listeners=PLAINTEXT://127.0.0.1:@port",
            voters.as_str(),
        ];
        let second = Spare::up("kafka", "pair-second", &[&timing[..], &joins].concat()).await;
        Self { first, second }
    }

    /// The addresses of both for a client.
    pub fn addresses(&self) -> String {
        format!("{},{}", self.first.address, self.second.address)
    }
}

/// The pair for tests that stop the second broker. They run one after the other; each finds both running.
pub async fn pair() -> MutexGuard<'static, Pair> {
    static PAIR: OnceCell<Mutex<Pair>> = OnceCell::const_new();
    let pair = PAIR.get_or_init(async || Mutex::new(Pair::up().await));
    let pair = pair.await.lock().await;
    pair.second.start().await;
    pair
}

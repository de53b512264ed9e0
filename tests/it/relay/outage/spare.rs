//! Brokers that a test may break.

use tokio::sync::{Mutex, MutexGuard, OnceCell};

pub use crate::spare::Spare;

async fn up(stem: &str) -> Spare {
    let settings = [
        // Everybody may do everything, except on topics with a list of permissions.
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found=true",
        // One that was killed comes back once its old session is over.
        "broker.session.timeout.ms=1500",
        "broker.heartbeat.interval.ms=300",
    ];
    Spare::up("kafka", stem, &settings).await
}

/// The one for tests that leave it as they found it.
pub async fn shared() -> &'static Spare {
    static SHARED: OnceCell<Spare> = OnceCell::const_new();
    SHARED.get_or_init(|| up("shared")).await
}

/// The one for tests that end it. They go one after the other; each finds it up.
pub async fn mine() -> MutexGuard<'static, Spare> {
    static MINE: OnceCell<Mutex<Spare>> = OnceCell::const_new();
    let mine = MINE.get_or_init(async || Mutex::new(up("mine").await));
    let spare = mine.await.lock().await;
    // A test that failed half-way left it as it was then; `start` wakes one that is paused, too.
    spare.start().await;
    spare
}

/// Two brokers of one cluster. The second may be taken away: the first, which is the controller, too, stays.
pub struct Pair {
    pub first: Spare,
    pub second: Spare,
}

/// The ids of the two.
pub const FIRST: i32 = 1;
pub const SECOND: i32 = 2;

impl Pair {
    async fn up() -> Self {
        // A follower that is away, or behind, is soon out of sync.
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
        // A setting that comes twice counts as it comes last.
        let joins = [
            "process.roles=broker",
            "node.id=2",
            "listeners=PLAINTEXT://127.0.0.1:@port",
            voters.as_str(),
        ];
        let second = Spare::up("kafka", "pair-second", &[&timing[..], &joins].concat()).await;
        Self { first, second }
    }

    /// How a client reaches both.
    pub fn addresses(&self) -> String {
        format!("{},{}", self.first.address, self.second.address)
    }
}

/// The pair for tests that take the second one away. They go one after the other; each finds both up.
pub async fn pair() -> MutexGuard<'static, Pair> {
    static PAIR: OnceCell<Mutex<Pair>> = OnceCell::const_new();
    let pair = PAIR.get_or_init(async || Mutex::new(Pair::up().await));
    let pair = pair.await.lock().await;
    pair.second.start().await;
    pair
}

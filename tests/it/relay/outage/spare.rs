//! Brokers that a test may break.

use tokio::sync::{Mutex, MutexGuard, OnceCell};

pub use crate::spare::Spare;

async fn up(stem: &str) -> Spare {
    let settings = [
        // Everybody may do everything, except to what has a list of who may.
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

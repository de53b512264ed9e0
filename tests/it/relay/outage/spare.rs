//! Brokers that a test may break: `scripts/parts spare`. Each ends with this process, however it ends.

use std::process::Stdio;

use tokio::process::Command;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// A broker beside the one that every other test uses.
pub struct Spare {
    name: String,
    pub address: String,
}

impl Spare {
    async fn up(stem: &str) -> Self {
        let owner = std::process::id().to_string();
        let name = format!("{stem}-{owner}");
        let address = spare(&[
            "up",
            &name,
            "--while",
            &owner,
            // Everybody may do everything, except to what has a list of who may.
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found=true",
            // One that was killed comes back once its old session is over.
            "broker.session.timeout.ms=1500",
            "broker.heartbeat.interval.ms=300",
        ])
        .await;
        Self { name, address }
    }

    /// SIGTERM: it finishes what it has begun.
    pub async fn stop(&self) {
        spare(&["stop", &self.name]).await;
    }

    /// SIGKILL.
    pub async fn kill(&self) {
        spare(&["kill", &self.name]).await;
    }

    /// SIGSTOP: its connections stay open and say nothing.
    pub async fn pause(&self) {
        spare(&["pause", &self.name]).await;
    }

    pub async fn resume(&self) {
        spare(&["resume", &self.name]).await;
    }

    /// Starts it unless it runs.
    pub async fn start(&self) {
        spare(&["start", &self.name]).await;
    }
}

/// The one for tests that leave it as they found it.
pub async fn shared() -> &'static Spare {
    static SHARED: OnceCell<Spare> = OnceCell::const_new();
    SHARED.get_or_init(|| Spare::up("shared")).await
}

/// The one for tests that end it. They go one after the other; each finds it up.
pub async fn mine() -> MutexGuard<'static, Spare> {
    static MINE: OnceCell<Mutex<Spare>> = OnceCell::const_new();
    let mine = MINE.get_or_init(async || Mutex::new(Spare::up("mine").await));
    let spare = mine.await.lock().await;
    // A test that failed half-way left it as it was then; `start` wakes one that is paused, too.
    spare.start().await;
    spare
}

/// Runs a verb of the script that the other parts were started with, or of this checkout's.
async fn spare(arguments: &[&str]) -> String {
    let script = std::env::vars()
        .find_map(|(name, value)| (name == "FIRSTCOME_PARTS_SCRIPT").then_some(value))
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/parts").to_owned());
    let ran = Command::new(script)
        .arg("spare")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "spare {arguments:?}: {said}");
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}

//! Parts that a test may break: `scripts/parts spare`. Each ends with this process, in any case.

use std::process::{Output, Stdio};

use tokio::process::Command;

/// A separate part, next to the shared ones.
pub struct Spare {
    name: String,
    pub address: String,
}

impl Spare {
    /// Starts a `kafka`, `mysql` or `redis` with these settings; options of the script may precede them.
    pub async fn up(part: &str, stem: &str, settings: &[&str]) -> Self {
        let name = name(stem);
        let owner = std::process::id().to_string();
        let up = ["up", &name, "--while", &owner, "--part", part];
        let address = spare(&[&up, settings].concat()).await;
        Self { name, address }
    }

    /// The address of a part that is being started.
    pub async fn address_of(stem: &str) -> String {
        spare(&["address", &name(stem)]).await
    }

    /// Sends SIGTERM: the part finishes its work.
    pub async fn stop(&self) {
        spare(&["stop", &self.name]).await;
    }

    /// SIGKILL.
    pub async fn kill(&self) {
        spare(&["kill", &self.name]).await;
    }

    /// SIGSTOP: its connections stay open and silent.
    pub async fn pause(&self) {
        spare(&["pause", &self.name]).await;
    }

    pub async fn resume(&self) {
        spare(&["resume", &self.name]).await;
    }

    /// More settings of a `kafka`, which count from its next start on.
    #[allow(
        dead_code,
        reason = "only the suite of Kafka's brokers changes settings"
    )]
    pub async fn set(&self, settings: &[&str]) {
        spare(&[&["set", &self.name], settings].concat()).await;
    }

    /// The name that the script knows it by.
    #[allow(dead_code, reason = "only the suite of Redis's failovers uses it")]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a program beside it.
    #[allow(dead_code, reason = "only the suite of Redis's failovers uses it")]
    pub async fn exec(&self, words: &[&str]) {
        spare(&[&["exec", &self.name], words].concat()).await;
    }

    /// Whether its process exists.
    #[allow(
        dead_code,
        reason = "only in the suite of failovers does a part end by itself"
    )]
    pub async fn is_running(&self) -> bool {
        let ran = run(&["status", &self.name]).await;
        ran.status.success()
    }

    /// Starts it unless it runs.
    pub async fn start(&self) {
        spare(&["start", &self.name]).await;
    }
}

fn name(stem: &str) -> String {
    format!("{stem}-{}", std::process::id())
}

/// Runs an action that must succeed. Returns what it prints.
async fn spare(arguments: &[&str]) -> String {
    let ran = run(arguments).await;
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "spare {arguments:?}: {said}");
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}

/// Runs an action of the script that started the other parts, or of this checkout's script.
async fn run(arguments: &[&str]) -> Output {
    let script = std::env::vars()
        .find_map(|(name, value)| (name == "FIRSTCOME_PARTS_SCRIPT").then_some(value))
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/parts").to_owned());
    Command::new(script)
        .arg("spare")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

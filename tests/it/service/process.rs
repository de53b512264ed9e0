//! Starts the binary, waits until it serves, and stops or kills it.

use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::until;

pub const ADMIN_TOKEN: &str = "an admin token of a test";

pub struct Service {
    child: Child,
    pub base: String,
    pub client: Client,
    log: std::path::PathBuf,
}

/// Settings of the process, whose environment is otherwise empty.
pub type Settings<'a> = &'a [(&'a str, String)];

pub fn command(folder: &TempDir, settings: Settings<'_>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firstcome"));
    command
        .env_clear()
        .env("FIRSTCOME_DATA_DIR", folder.path().join("data"))
        .env("FIRSTCOME_HTTP_LISTEN", "127.0.0.1:0")
        .env("FIRSTCOME_ADMIN_TOKEN", ADMIN_TOKEN)
        .envs(settings.iter().map(|(name, value)| (*name, value.as_str())))
        .stdin(Stdio::null());
    command
}

/// The client closes idle connections before the service does: the service closes unused ones after
/// `http.head_timeout`.
fn client() -> Client {
    let builder = Client::builder().pool_idle_timeout(Duration::from_secs(5));
    builder.build().unwrap()
}

/// The address in a line of the log, text or JSON, if the line has it.
fn ready_at(line: &str) -> Option<&str> {
    let (_, said) = line.split_once("ready")?;
    let address = said.split_once("address=");
    let address = address.or_else(|| said.split_once("\"address\":\""));
    address?.1.trim().split('"').next()
}

impl Service {
    pub async fn start(folder: &TempDir, settings: Settings<'_>) -> Self {
        Self::start_as("serve", folder, settings).await
    }

    /// Starts it with one of its commands.
    pub async fn start_as(role: &str, folder: &TempDir, settings: Settings<'_>) -> Self {
        let log = folder.path().join(format!("log-{}", uuid::Uuid::now_v7()));
        let child = command(folder, settings)
            .arg(role)
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut service = Self {
            child,
            base: String::new(),
            client: client(),
            log,
        };
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(&service.log).unwrap();
            if let Some(address) = text.lines().find_map(ready_at) {
                service.base = format!("http://{address}");
                break;
            }
            let ended = service.child.try_wait().unwrap();
            assert!(
                ended.is_none() && began.elapsed() < Duration::from_secs(30),
                "did not start: {ended:?}\n{text}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        service
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base))
    }

    /// The current metrics: the text is cached for a second, so this waits for a new one.
    pub async fn metrics(&self) -> String {
        let read = async || self.get("/metrics").send().await.unwrap().text().await;
        let scrapes = |text: &str| {
            let name = "http_requests_total{route=\"/metrics\",method=\"GET\",status=\"2xx\"} ";
            let number = text.lines().find_map(|line| line.strip_prefix(name));
            number.unwrap().parse::<u64>().unwrap()
        };
        let before = scrapes(&read().await.unwrap());
        let mut text = String::new();
        until("the text of the metrics is new", async || {
            text = read().await.unwrap();
            scrapes(&text) > before
        })
        .await;
        text
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.base))
    }

    pub fn admin(&self, path: &str) -> RequestBuilder {
        self.post(&format!("/api/admin{path}"))
            .bearer_auth(ADMIN_TOKEN)
    }

    pub async fn create(&self, campaign: Value) -> i64 {
        let answer = self
            .admin("/campaigns")
            .json(&campaign)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
        body(answer).await["id"].as_i64().unwrap()
    }

    pub async fn take_part(&self, campaign: i64, user: i64) -> Response {
        self.post(&format!("/api/campaigns/{campaign}/participation"))
            .json(&json!({ "userId": user }))
            .send()
            .await
            .unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Whether it has ended by itself.
    #[cfg(feature = "failpoints")]
    pub fn has_died(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM, and returns the exit status.
    pub async fn stop(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            let text = fs::read_to_string(&self.log).unwrap();
            assert!(
                began.elapsed() < Duration::from_secs(40),
                "does not stop:\n{text}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub async fn body(answer: Response) -> Value {
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

//! One Redis, or a Sentinel: a spare part, and the commands of an operator.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use redis::{Client, Cmd, FromRedisValue, RedisResult};

use crate::spare::Spare;

/// Longest wait for a state of a server that must come.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Server {
    pub part: Spare,
    pub address: SocketAddr,
}

impl Server {
    /// Starts a `redis` or a `sentinel`.
    pub async fn up(kind: &str, stem: &str, settings: &[&str]) -> Self {
        let part = Spare::up(kind, stem, settings).await;
        let address = part.address.parse().unwrap();
        Self { part, address }
    }

    /// SIGKILL.
    pub async fn kill(&self) {
        self.part.kill().await;
    }

    /// SIGSTOP: connections stay open and silent.
    pub async fn pause(&self) {
        self.part.pause().await;
    }

    /// SIGCONT.
    pub async fn resume(&self) {
        self.part.resume().await;
    }

    /// Starts it unless it runs.
    pub async fn start(&self) {
        self.part.start().await;
    }

    /// Its answer to a command.
    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let answer = self.try_ask(words).await;
        answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Its answer to a command that it may refuse.
    pub async fn try_ask<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let client = Client::open(format!("redis://{}", self.address)).unwrap();
        let connection = client.get_multiplexed_async_connection();
        let connection = tokio::time::timeout(PATIENCE, connection).await;
        let mut connection = connection.expect("the server answers a connection")?;
        let mut command = Cmd::new();
        command.arg(words);
        command.query_async(&mut connection).await
    }

    /// Its id in its cluster.
    pub async fn id(&self) -> String {
        self.ask(&["CLUSTER", "MYID"]).await
    }

    /// Executes a command.
    pub async fn run(&self, words: &[&str]) {
        let _: redis::Value = self.ask(words).await;
    }

    /// A field of INFO; empty: it is not there, or there was no answer.
    pub async fn info(&self, section: &str, field: &str) -> String {
        // A server closes connections when its role changes.
        let info = self.try_ask::<String>(&["INFO", section]).await;
        let info = info.unwrap_or_default();
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(name, _)| *name == field);
        found.map_or_else(String::new, |(_, value)| value.to_owned())
    }

    /// Waits until a field of INFO has this value.
    pub async fn wait_for(&self, section: &str, field: &str, value: &str) {
        let began = Instant::now();
        loop {
            let found = self.info(section, field).await;
            if found == value {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{field} is {found:?}, not {value:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

//! One Redis of a pair: a spare part, and the commands of an operator.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use redis::{Client, Cmd, FromRedisValue};

use crate::spare::Spare;

/// Longest wait for a state of a server that must come.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Server {
    part: Spare,
    pub address: SocketAddr,
}

impl Server {
    pub async fn up(stem: &str) -> Self {
        let part = Spare::up("redis", stem, &["maxmemory-policy=noeviction"]).await;
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
        let client = Client::open(format!("redis://{}", self.address)).unwrap();
        let connection = client.get_multiplexed_async_connection();
        let connection = tokio::time::timeout(PATIENCE, connection).await;
        let mut connection = connection
            .expect("the server accepts a connection")
            .unwrap();
        let mut command = Cmd::new();
        command.arg(words);
        let answer = command.query_async(&mut connection).await;
        answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Executes a command.
    pub async fn run(&self, words: &[&str]) {
        let _: redis::Value = self.ask(words).await;
    }

    /// A field of INFO; empty: it is not there.
    pub async fn info(&self, section: &str, field: &str) -> String {
        let info: String = self.ask(&["INFO", section]).await;
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

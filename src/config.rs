//! The configuration: defaults < file < environment < `--set`, checked whole at start, every mistake
//! named at once. The only reader of the environment. Nothing here prints a secret.
//!
//! A variable `FIRSTCOME_SECTION_KEY` is the key `key` of the section `[section]` of the file; with
//! `_FILE` at its end it names a file that holds the value.

mod environment;
mod retention;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use figment::value::Dict;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::domain::KeyChoice;
use crate::relay::KeyPolicy;
use crate::telemetry::LogFormat;

/// A relay's lease unless configured: short enough for a takeover, long enough to be renewed rarely.
const RELAY_LEASE: Duration = Duration::from_secs(15);

/// The whole configuration.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each field is the section of that name")]
pub struct Config {
    pub data: Data,
    pub http: Http,
    pub admin: Admin,
    pub database: Database,
    pub redis: Redis,
    pub kafka: Kafka,
    pub gate: Gate,
    pub writer: Writer,
    pub relay: Relay,
    pub retention: Retention,
    pub log: Log,
    pub shutdown: Shutdown,
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }
    };
}

section! {
    /// `[data]`: where the embedded parts keep what they keep.
    Data {
        /// Folder, made when it is missing.
        dir: PathBuf = PathBuf::from("./data"),
    }
}
section! {
    /// `[http]`: the HTTP edge.
    Http {
        /// Address and port.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)),
        /// Whether participants are trusted to say who they are on an address others can reach.
        allow_trusted: bool = false,
        /// Largest body of a request.
        body_bytes_max: usize = 16 * 1024,
        /// Requests worked on at the same time.
        concurrent_requests_max: usize = 8_192,
        /// How long one request may take.
        #[serde(with = "humantime_serde")]
        request_timeout: Duration = Duration::from_secs(10),
        /// How long a silent connection is kept.
        #[serde(with = "humantime_serde")]
        idle_timeout: Duration = Duration::from_secs(75),
    }
}
section! {
    /// `[admin]`: access to the admin API.
    Admin {
        /// Bearer token; without one the admin API is closed (the embedded mode makes one).
        token: Option<SecretString> = None,
    }
}
section! {
    /// `[database]`: the store.
    Database {
        /// `mysql://…`; absent: a SQLite file in the data folder.
        url: Option<SecretString> = None,
        /// Connections in the pool.
        connections_max: u32 = 16,
        /// Longest wait for a connection.
        #[serde(with = "humantime_serde")]
        acquire_timeout: Duration = Duration::from_secs(3),
    }
}
section! {
    /// `[redis]`: the gate.
    Redis {
        /// `redis://…`; absent: in this process.
        url: Option<SecretString> = None,
        /// Prefix of all keys.
        prefix: String = "firstcome".to_owned(),
        /// Longest wait for a connection.
        #[serde(with = "humantime_serde")]
        connect_timeout: Duration = Duration::from_secs(2),
        /// Longest wait for an answer.
        #[serde(with = "humantime_serde")]
        response_timeout: Duration = Duration::from_secs(1),
    }
}
section! {
    /// `[kafka]`: the broker.
    Kafka {
        /// `host:port,…`; absent: in this process.
        brokers: Option<String> = None,
        /// Prefix of all topics.
        topic_prefix: String = "firstcome".to_owned(),
        /// What the key of a record is: `participation`, `user` or `campaign`.
        key: KeyChoice = KeyChoice::Participation,
        /// Whether missing topics are created.
        create_topics: bool = false,
        /// Partitions of topics that are created.
        partitions: u32 = 3,
        /// Longest wait for an acknowledgement.
        #[serde(with = "humantime_serde")]
        message_timeout: Duration = Duration::from_secs(4),
    }
}
section! {
    /// `[gate]`: admission.
    Gate {
        /// How long an admission waits for its commit.
        #[serde(with = "humantime_serde")]
        lease: Duration = Duration::from_secs(15),
        /// Entrants in one call at most.
        batch_max: usize = 256,
    }
}
section! {
    /// `[writer]`: group commit.
    Writer {
        /// Lanes; a campaign always has the same one.
        lanes: usize = 4,
        /// Places in each lane's queue.
        capacity: usize = 2_048,
        /// Rows in one transaction at most.
        batch_rows_max: usize = 256,
        /// Transactions of the synchronous path at the same time.
        sync_concurrency_max: usize = 32,
    }
}
section! {
    /// `[relay]`: publishing what was committed.
    Relay {
        /// Whether `serve` publishes, too; without it a process with the command `relay` has to.
        enabled: bool = true,
        /// How long a share of the outbox stays with a relay that says nothing.
        #[serde(with = "humantime_serde")]
        lease: Option<Duration> = None,
        /// Workers that send.
        lanes: u16 = 4,
        /// Rows under way at most.
        in_flight_max: u32 = 8_192,
        /// Attempts before a row is a dead letter; a broker that is away costs none.
        attempts_max: u32 = 10,
        /// Wait after the first attempt; it doubles from there, with jitter.
        #[serde(with = "humantime_serde")]
        retry_initial: Duration = Duration::from_millis(500),
        /// Longest wait between attempts.
        #[serde(with = "humantime_serde")]
        retry_max: Duration = Duration::from_secs(300),
        /// What later rows of a key do while one of it is to be tried again: `block` (wait) or `skip`.
        key_policy: KeyPolicy = KeyPolicy::Block,
    }
}
section! {
    /// `[retention]`: how long published events are kept.
    Retention {
        /// Age from which a published event of a campaign that is over may be deleted.
        #[serde(with = "humantime_serde")]
        published_events: Duration = Duration::from_secs(7 * 24 * 60 * 60),
        /// How often events that have come of age are looked for.
        #[serde(with = "humantime_serde")]
        interval: Duration = Duration::from_secs(60),
        /// How often all old events are looked at again.
        #[serde(with = "humantime_serde")]
        sweep_interval: Duration = Duration::from_secs(60 * 60),
        /// Events one statement looks at and deletes at most.
        rows_max: u32 = 500,
        /// Share of the time in which statements of a sweep may be running, in percent.
        busy_percent_max: u32 = 10,
    }
}
section! {
    /// `[log]`
    Log {
        /// `text` or `json`.
        format: LogFormat = LogFormat::Text,
        /// What is logged, in the syntax of `tracing`'s filters.
        filter: String = "info,sqlx=warn,sea_orm=warn,librdkafka=warn,rdkafka=warn".to_owned(),
    }
}
section! {
    /// `[shutdown]`
    Shutdown {
        /// How long draining may take.
        #[serde(with = "humantime_serde")]
        deadline: Duration = Duration::from_secs(20),
    }
}

/// All that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is wrong:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    /// Loads and checks the configuration of this process.
    pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<Self, ConfigError> {
        Self::from_sources(file, std::env::vars(), overrides)
    }

    /// Loads and checks a configuration; `environment` is what the process was given.
    pub fn from_sources(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        overrides: &[String],
    ) -> Result<Self, ConfigError> {
        let mut mistakes = Vec::new();
        let mut figment = Figment::new();
        if let Some(path) = file {
            if !path.is_file() {
                mistakes.push(format!(
                    "--config {}: there is no such file",
                    path.display()
                ));
            }
            figment = figment.merge(Toml::file_exact(path));
        }
        for (key, value) in environment::variables(environment, &mut mistakes) {
            figment = figment.merge(Serialized::global(&key, value));
        }
        for setting in overrides {
            match setting.split_once('=') {
                Some((key, value)) if key.contains('.') => {
                    figment =
                        figment.merge(Serialized::global(key, environment::typed(key, value)));
                }
                _ => mistakes.push(format!("--set {setting}: must be SECTION.KEY=VALUE")),
            }
        }
        let config = read(&figment, &mut mistakes);
        config.check(&mut mistakes);
        if mistakes.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError(mistakes))
        }
    }

    /// The parts that run in this process because no real one was configured.
    #[must_use]
    pub fn embedded_parts(&self) -> Vec<&'static str> {
        let mut parts = Vec::new();
        if self.database.url.is_none() {
            parts.push("store");
        }
        if self.redis.url.is_none() {
            parts.push("gate");
        }
        if self.kafka.brokers.is_none() {
            parts.push("broker");
        }
        parts
    }

    /// How long a relay's lease is: the configured time, or one that suits the broker's time-out.
    #[must_use]
    pub fn relay_lease(&self) -> Duration {
        let suitable = self.kafka.message_timeout * 2 + Duration::from_secs(2);
        self.relay.lease.unwrap_or(suitable.max(RELAY_LEASE))
    }

    fn check(&self, mistakes: &mut Vec<String>) {
        let mut require = |holds: bool, mistake: &str| {
            if !holds {
                mistakes.push(mistake.to_owned());
            }
        };
        require(
            self.http.listen.ip().is_loopback() || self.http.allow_trusted,
            "http.listen: on an address others can reach, participants would be trusted to say who they are; \
             listen on a loopback address, or set http.allow_trusted=true behind a gateway that authenticates",
        );
        require(
            self.http.concurrent_requests_max > 0,
            "http.concurrent_requests_max: must be at least 1",
        );
        require(
            self.http.body_bytes_max >= 1_024,
            "http.body_bytes_max: must be at least 1024",
        );
        require(
            self.database.connections_max > 0,
            "database.connections_max: must be at least 1",
        );
        require(
            (Duration::from_secs(1)..=Duration::from_secs(60))
                .contains(&self.kafka.message_timeout),
            "kafka.message_timeout: must be between 1s and 60s",
        );
        require(
            (1..=1_000).contains(&self.kafka.partitions),
            "kafka.partitions: must be between 1 and 1000",
        );
        require(
            self.gate.lease >= Duration::from_secs(10),
            "gate.lease: must be at least 10s",
        );
        require(
            (1..=1_000).contains(&self.gate.batch_max),
            "gate.batch_max: must be between 1 and 1000",
        );
        require(
            (1..=64).contains(&self.relay.lanes),
            "relay.lanes: must be between 1 and 64",
        );
        require(
            (64..=1_000_000).contains(&self.relay.in_flight_max),
            "relay.in_flight_max: must be between 64 and 1000000",
        );
        require(
            (1..=1_000).contains(&self.relay.attempts_max),
            "relay.attempts_max: must be between 1 and 1000",
        );
        require(
            !self.relay.retry_initial.is_zero() && self.relay.retry_initial <= self.relay.retry_max,
            "relay.retry_initial: must not be zero, nor above relay.retry_max",
        );
        require(
            self.relay_lease() >= self.kafka.message_timeout * 2 + Duration::from_secs(1),
            "relay.lease: must be at least twice kafka.message_timeout and a second",
        );
        require(
            (1..=64).contains(&self.writer.lanes),
            "writer.lanes: must be between 1 and 64",
        );
        require(
            self.writer.capacity > 0,
            "writer.capacity: must be at least 1",
        );
        require(
            (1..=1_000).contains(&self.writer.batch_rows_max),
            "writer.batch_rows_max: must be between 1 and 1000",
        );
        require(
            self.writer.sync_concurrency_max > 0,
            "writer.sync_concurrency_max: must be at least 1",
        );
        self.retention.check(&mut require);
    }
}

fn read(figment: &Figment, mistakes: &mut Vec<String>) -> Config {
    let config = Config {
        data: section(figment, "data", mistakes),
        http: section(figment, "http", mistakes),
        admin: section(figment, "admin", mistakes),
        database: section(figment, "database", mistakes),
        redis: section(figment, "redis", mistakes),
        kafka: section(figment, "kafka", mistakes),
        gate: section(figment, "gate", mistakes),
        writer: section(figment, "writer", mistakes),
        relay: section(figment, "relay", mistakes),
        retention: section(figment, "retention", mistakes),
        log: section(figment, "log", mistakes),
        shutdown: section(figment, "shutdown", mistakes),
    };
    let known = [
        "data",
        "http",
        "admin",
        "database",
        "redis",
        "kafka",
        "gate",
        "writer",
        "relay",
        "retention",
        "log",
        "shutdown",
    ];
    match figment.extract::<Dict>() {
        Ok(sections) => {
            for name in sections
                .keys()
                .filter(|name| !known.contains(&name.as_str()))
            {
                mistakes.push(format!("{name}: there is no such section"));
            }
        }
        Err(error) => mistakes.push(error.to_string()),
    }
    config
}

fn section<T: DeserializeOwned + Default>(
    figment: &Figment,
    name: &str,
    mistakes: &mut Vec<String>,
) -> T {
    if figment.find_value(name).is_err() {
        return T::default();
    }
    figment.extract_inner(name).unwrap_or_else(|errors| {
        for error in errors {
            // The library names the key first and the section last.
            let path: Vec<&str> = error.path.iter().rev().map(String::as_str).collect();
            mistakes.push(format!("{}: {}", path.join("."), error.kind));
        }
        T::default()
    })
}

#[cfg(test)]
mod tests;

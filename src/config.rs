//! The configuration: defaults < file < environment < `--set`, checked whole at start, every mistake
//! named at once. The only reader of the environment. Nothing here prints a secret.
//!
//! A variable `FIRSTCOME_SECTION_KEY` is the key `key` of the section `[section]` of the file; with
//! `_FILE` at its end it names a file that holds the value.

mod accounts;
mod admin;
mod aggregation;
mod allowlist;
mod auth;
mod challenge;
mod consumers;
mod database;
mod environment;
mod export;
mod gate;
mod http;
mod names;
mod payment;
mod publishing;
mod remote;
mod retention;
mod rewards;
mod sections;
mod simulation;

use std::path::Path;
use std::time::Duration;

pub use accounts::Accounts;
pub use admin::{Admin, TOKEN_CHARACTERS_MIN, is_strong};
pub use allowlist::Allowlist;
pub use auth::{Algorithms, Mode};
pub use challenge::Challenge;
pub use consumers::Enabled;
pub use database::Database;
pub use http::Http;
pub use remote::{Kafka, Redis};
pub use sections::{
    Aggregation, Auth, Consumers, Data, Export, Gate, Limits, Log, Payment, Provider, Relay,
    Retention, Rewards, Shutdown, Test, Traces, Writer,
};

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use figment::value::Dict;
use serde::de::DeserializeOwned;

/// A relay's lease unless configured: short enough for a takeover, long enough to be renewed rarely.
const RELAY_LEASE: Duration = Duration::from_secs(15);

/// The whole configuration.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each field is the section of that name")]
pub struct Config {
    pub data: Data,
    pub http: Http,
    pub auth: Auth,
    pub accounts: Accounts,
    pub challenge: Challenge,
    pub admin: Admin,
    pub database: Database,
    pub redis: Redis,
    pub kafka: Kafka,
    pub gate: Gate,
    pub writer: Writer,
    pub limits: Limits,
    pub payment: Payment,
    pub relay: Relay,
    pub retention: Retention,
    pub export: Export,
    pub allowlist: Allowlist,
    pub test: Test,
    pub rewards: Rewards,
    pub consumers: Consumers,
    pub aggregation: Aggregation,
    pub log: Log,
    pub traces: Traces,
    pub shutdown: Shutdown,
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

    /// Whether campaigns with a price can be sold. The simulated provider moves no money, so by itself it sells
    /// only where the service is being tried: on embedded parts, at an address that nobody else reaches.
    #[must_use]
    pub fn sells_for_money(&self) -> bool {
        match self.payment.provider {
            Provider::Simulated => {
                let is_tried =
                    self.embedded_parts().len() == 3 && self.http.listen.ip().is_loopback();
                is_tried || self.payment.allow_simulated
            }
        }
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
        self.http.check(self.auth.mode, &mut require);
        self.auth.check(&mut require);
        self.admin.check(self.auth.mode, &mut require);
        self.accounts.check(&mut require);
        self.challenge.check(&mut require);
        self.database.check(&mut require);
        self.redis.check(&mut require);
        self.kafka.check(&mut require);
        self.kafka.check_security(&mut require);
        self.gate.check(&mut require);
        self.relay.check(&mut require);
        require(
            self.relay_lease() >= self.kafka.message_timeout * 2 + Duration::from_secs(1),
            "relay.lease: must be at least twice kafka.message_timeout and a second",
        );
        require(
            (1..=64).contains(&self.writer.lanes),
            "writer.lanes: must be between 1 and 64",
        );
        require(
            (1..=1_000_000).contains(&self.writer.capacity),
            "writer.capacity: must be between 1 and 1000000",
        );
        require(
            (Duration::from_millis(5)..=Duration::from_secs(60)).contains(&self.writer.wait_max),
            "writer.wait_max: must be between 5ms and 60s",
        );
        require(
            (1..=1_000).contains(&self.writer.batch_rows_max),
            "writer.batch_rows_max: must be between 1 and 1000",
        );
        require(
            self.writer.sync_concurrency_max > 0,
            "writer.sync_concurrency_max: must be at least 1",
        );
        self.payment.check(&mut require);
        self.retention.check(&mut require);
        self.export.check(&mut require);
        self.allowlist.check(&mut require);
        self.test.check(&mut require);
        self.rewards.check(&mut require);
        self.consumers.check(&mut require);
        self.aggregation.check(&mut require);
        self.traces.check(&mut require);
        require(
            (1..=60_000).contains(&self.log.security_events_per_minute),
            "log.security_events_per_minute: must be between 1 and 60000",
        );
    }
}

fn read(figment: &Figment, mistakes: &mut Vec<String>) -> Config {
    let config = Config {
        data: section(figment, "data", mistakes),
        http: section(figment, "http", mistakes),
        auth: section(figment, "auth", mistakes),
        accounts: section(figment, "accounts", mistakes),
        challenge: section(figment, "challenge", mistakes),
        admin: section(figment, "admin", mistakes),
        database: section(figment, "database", mistakes),
        redis: section(figment, "redis", mistakes),
        kafka: section(figment, "kafka", mistakes),
        gate: section(figment, "gate", mistakes),
        writer: section(figment, "writer", mistakes),
        limits: section(figment, "limits", mistakes),
        payment: section(figment, "payment", mistakes),
        relay: section(figment, "relay", mistakes),
        retention: section(figment, "retention", mistakes),
        export: section(figment, "export", mistakes),
        allowlist: section(figment, "allowlist", mistakes),
        test: section(figment, "test", mistakes),
        rewards: section(figment, "rewards", mistakes),
        consumers: section(figment, "consumers", mistakes),
        aggregation: section(figment, "aggregation", mistakes),
        log: section(figment, "log", mistakes),
        traces: section(figment, "traces", mistakes),
        shutdown: section(figment, "shutdown", mistakes),
    };
    let known = [
        "data",
        "http",
        "auth",
        "accounts",
        "challenge",
        "admin",
        "database",
        "redis",
        "kafka",
        "gate",
        "writer",
        "limits",
        "payment",
        "relay",
        "retention",
        "export",
        "allowlist",
        "test",
        "rewards",
        "consumers",
        "aggregation",
        "log",
        "traces",
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
mod traces;

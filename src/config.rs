//! The configuration: defaults < file < environment < `--set`. All of it is checked at start, and all mistakes are
//! reported at once. The only reader of the environment. Nothing here prints a secret.
//!
//! A variable `FIRSTCOME_SECTION_KEY` is the key `key` of the section `[section]` of the file; with `_FILE` at its
//! end it names a file that holds the value. Each section is declared with its component, by
//! [`settings!`](crate::runtime::settings).

mod accounts;
mod admin;
mod aggregation;
mod auth;
mod challenge;
mod encryption;
mod environment;
mod gate;
mod payment;
mod process;
pub mod reference;
mod rewards;
mod traces;
mod writer;

use std::net::SocketAddr;
use std::path::Path;

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use figment::value::Dict;
use serde::de::DeserializeOwned;

pub use accounts::Accounts;
pub use admin::{Admin, TOKEN_CHARACTERS_MIN, is_strong};
pub use aggregation::Aggregation;
pub use auth::{Algorithms, Auth, Mode};
pub use challenge::Challenge;
pub use gate::Gate;
pub use payment::{Payment, Provider};
pub use process::{Data, Log, Shutdown};
pub use rewards::Rewards;
pub use traces::Traces;
pub use writer::Writer;

use crate::access::limits::Rates;
use crate::domain::Consumer;
use crate::events::consumers::{ConsumerSettings, Enabled};
use crate::events::relay::{RelaySettings, Retention};
use crate::http::HttpConfig;
use crate::operate::audit_retention;
use crate::operate::export::ExportConfig;
use crate::operate::simulate::SimulateConfig;
use crate::parts::broker::kafka::KafkaConfig;
use crate::parts::gate::RedisConfig;
use crate::parts::store::StoreConfig;
use crate::runtime::settings::{Section, out_of_bounds};
use crate::sale::allow_list::AllowListConfig;

/// Declares the configuration: its sections, and how they are read.
macro_rules! config {
    ($($section:ident: $type:ty),+ $(,)?) => {
        /// The whole configuration.
        #[derive(Clone, Debug, Default)]
        #[allow(missing_docs, reason = "each field is the section of that name")]
        pub struct Config {
            $(pub $section: $type,)+
        }

        impl Config {
            /// The sections in the order of the documentation.
            #[must_use]
            pub fn sections(&self) -> Vec<&dyn Section> {
                vec![$(&self.$section),+]
            }

            fn read(figment: &Figment, mistakes: &mut Vec<String>) -> Self {
                Self {
                    $($section: section(figment, stringify!($section), mistakes),)+
                }
            }
        }
    };
}

config! {
    data: Data,
    http: HttpConfig,
    auth: Auth,
    accounts: Accounts,
    challenge: Challenge,
    admin: Admin,
    database: StoreConfig,
    redis: RedisConfig,
    kafka: KafkaConfig,
    gate: Gate,
    writer: Writer,
    limits: Rates,
    payment: Payment,
    relay: RelaySettings,
    retention: Retention,
    export: ExportConfig,
    allowlist: AllowListConfig,
    test: SimulateConfig,
    rewards: Rewards,
    consumers: ConsumerSettings,
    aggregation: Aggregation,
    log: Log,
    traces: Traces,
    shutdown: Shutdown,
}

/// All mistakes in a configuration.
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
        let config = Self::read(&figment, &mut mistakes);
        config.check_names(&figment, &mut mistakes);
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

    /// Whether campaigns with a price can be sold. The simulated provider moves no money, so unless it is allowed it
    /// sells only on embedded parts and a loopback address.
    #[must_use]
    pub fn sells_for_money(&self) -> bool {
        match self.payment.provider {
            Provider::Simulated => {
                let is_trial =
                    self.embedded_parts().len() == 3 && self.http.listen.ip().is_loopback();
                is_trial || self.payment.allow_simulated
            }
        }
    }

    /// The consumers inside `serve`: those configured; otherwise all if everything is embedded.
    #[must_use]
    pub fn consumers_of_serve(&self) -> Vec<Consumer> {
        match &self.consumers.enabled {
            Some(Enabled(consumers)) => consumers.clone(),
            None if self.embedded_parts().len() == 3 => Consumer::ALL.to_vec(),
            None => Vec::new(),
        }
    }

    /// The consumers of `consume`: those configured, or all.
    #[must_use]
    pub fn consumers_of_consume(&self) -> Vec<Consumer> {
        match &self.consumers.enabled {
            Some(Enabled(consumers)) => consumers.clone(),
            None => Consumer::ALL.to_vec(),
        }
    }

    /// The retention of the audit log.
    #[must_use]
    pub const fn audit_retention(&self) -> audit_retention::Retention {
        audit_retention::Retention {
            age: self.retention.audit_entries,
            interval: self.retention.interval,
            rows_max: self.retention.rows_max,
        }
    }

    fn check_names(&self, figment: &Figment, mistakes: &mut Vec<String>) {
        let known: Vec<&str> = self
            .sections()
            .iter()
            .map(|section| section.name())
            .collect();
        match figment.extract::<Dict>() {
            Ok(sections) => {
                let unknown = sections
                    .keys()
                    .filter(|name| !known.contains(&name.as_str()));
                mistakes.extend(unknown.map(|name| format!("{name}: there is no such section")));
            }
            Err(error) => mistakes.push(error.to_string()),
        }
    }

    fn check(&self, mistakes: &mut Vec<String>) {
        for section in self.sections() {
            let broken = out_of_bounds(section).into_iter();
            mistakes.extend(broken.map(|mistake| format!("{}.{mistake}", section.name())));
        }
        let mut require = |holds: bool, mistake: &str| {
            if !holds {
                mistakes.push(mistake.to_owned());
            }
        };
        self.check_listeners(&mut require);
        self.http.check(&mut require);
        self.auth.check(&mut require);
        self.admin.check(self.auth.mode, &mut require);
        self.accounts.check(&mut require);
        self.challenge.check(&mut require);
        encryption::check_redis(&self.redis, &mut require);
        encryption::check_kafka(&self.kafka, &mut require);
        self.gate.check(&mut require);
        self.relay.check(self.kafka.message_timeout, &mut require);
        require(
            self.retention.sweep_interval >= self.retention.interval,
            "retention.sweep_interval: must be at least retention.interval",
        );
        self.consumers.check(&mut require);
        self.aggregation.check(&mut require);
        self.traces.check(&mut require);
    }

    /// Participants are not authenticated in the mode `trusted`, so others must not reach the API.
    fn check_listeners(&self, require: &mut impl FnMut(bool, &str)) {
        let is_safe = |address: SocketAddr| {
            address.ip().is_loopback() || self.http.allow_trusted || self.auth.mode != Mode::Trusted
        };
        require(
            self.http.management_listen.is_none_or(is_safe),
            "http.management_listen: it serves the API as well; on an address that others can reach it needs the same \
             settings as http.listen",
        );
        require(
            is_safe(self.http.listen),
            "http.listen: on an address that others can reach, participants would not be authenticated; listen on a \
             loopback address, set auth.mode=jwt or auth.mode=sessions, or set http.allow_trusted=true behind a gateway \
             that authenticates",
        );
    }
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

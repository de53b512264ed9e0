//! The configuration: defaults < file < environment < `--set`. All of it is checked at start, and all mistakes are
//! reported at once. The only reader of the environment. Nothing here prints a secret.
//!
//! A variable `FIRSTCOME_SECTION_KEY` is the key `key` of the section `[section]` of the file; with `_FILE` at its
//! end it names a file that holds the value. Each section is declared with its component, by
//! [`settings!`](crate::runtime::settings).

mod admin;
mod aggregation;
mod auth;
mod challenge;
mod checks;
mod encryption;
mod environment;
mod gate;
mod payment;
mod process;
pub mod reference;
mod rewards;
mod writer;

use std::path::Path;

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use serde::de::DeserializeOwned;

pub use admin::{Admin, TOKEN_CHARACTERS_MIN, is_strong};
pub use aggregation::Aggregation;
pub use auth::{Algorithms, Auth, Mode};
pub use challenge::Challenge;
pub use gate::Gate;
pub use payment::{Payment, Provider};
pub use process::{Data, Log, Shutdown};
pub use rewards::Rewards;
pub use writer::Writer;

use crate::access::accounts::AccountsConfig;
use crate::access::limits::Rates;
use crate::domain::Consumer;
use crate::events::consumers::{ConsumerConfig, Enabled};
use crate::events::relay::{RelaySettings, Retention};
use crate::http::HttpConfig;
use crate::operate::alert::AlertConfig;
use crate::operate::export::ExportConfig;
use crate::operate::idempotency_retention::IdempotencyConfig;
use crate::operate::simulate::SimulateConfig;
use crate::parts::broker::kafka::KafkaConfig;
use crate::parts::gate::RedisConfig;
use crate::parts::store::StoreConfig;
use crate::runtime::settings::Section;
use crate::runtime::trace::TraceConfig;
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
    accounts: AccountsConfig,
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
    idempotency: IdempotencyConfig,
    export: ExportConfig,
    allowlist: AllowListConfig,
    test: SimulateConfig,
    rewards: Rewards,
    consumers: ConsumerConfig,
    aggregation: Aggregation,
    alerts: AlertConfig,
    log: Log,
    traces: TraceConfig,
    shutdown: Shutdown,
}

/// All mistakes in a configuration.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is wrong:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    /// Whether cookies are sent over TLS only.
    #[must_use]
    pub fn is_cookie_secure(&self) -> bool {
        let is_local = self.http.listen.ip().is_loopback() && !self.http.is_encrypted();
        self.accounts.cookie_secure.unwrap_or(!is_local)
    }

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

    /// The parts that run in this process because no real one is configured.
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

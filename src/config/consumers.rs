//! The section `[consumers]`: which there are, and what it must keep to.

use std::time::Duration;

use serde::Deserialize;

use super::names::Names;
use super::{Config, Consumers};
use crate::domain::Consumer;
use crate::events::consumers;
use crate::runtime::retry;

/// Consumers by name: `points,coupons`, or a list of names; empty: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Names")]
pub struct Enabled(pub Vec<Consumer>);

impl TryFrom<Names> for Enabled {
    type Error = String;

    fn try_from(names: Names) -> Result<Self, String> {
        let mut enabled = Vec::new();
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            let consumer = Consumer::parse(&name).ok_or_else(|| {
                format!(
                    "there is no consumer {name:?}; there are points and coupons \
                     (FIRSTCOME_CONSUMERS_ENABLED)"
                )
            })?;
            if !enabled.contains(&consumer) {
                enabled.push(consumer);
            }
        }
        Ok(Self(enabled))
    }
}

impl Consumers {
    /// Requires what must hold.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            (1..=1_000).contains(&self.batch_records_max),
            "consumers.batch_records_max: must be between 1 and 1000",
        );
        require(
            (1..=64).contains(&self.parallel_max),
            "consumers.parallel_max: must be between 1 and 64",
        );
        require(
            (Duration::from_secs(6)..=Duration::from_secs(300)).contains(&self.session_timeout),
            "consumers.session_timeout: must be between 6s and 5m",
        );
        require(
            !self.retry_initial.is_zero()
                && self.retry_initial <= self.retry_max
                && self.retry_max <= Duration::from_secs(60),
            "consumers.retry_initial: must not be zero, nor above consumers.retry_max, which is 60s at most",
        );
    }
}

impl Config {
    /// The consumers inside `serve`: those configured; where nothing is, all if everything is embedded.
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

    /// What consumers are told.
    #[must_use]
    pub fn consumer_settings(&self) -> consumers::Config {
        consumers::Config {
            topic_prefix: self.kafka.topic_prefix.clone(),
            batch_records_max: self.consumers.batch_records_max,
            parallel_max: self.consumers.parallel_max,
            session_timeout: self.consumers.session_timeout,
            retry: retry::Policy {
                initial: self.consumers.retry_initial,
                max: self.consumers.retry_max,
                ..retry::Policy::default()
            },
        }
    }
}

//! Metrics of tokens. Clones share their values.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::TokenError;
use crate::domain::metric;
use crate::runtime::metrics::RegisterMetric;

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Why {
    /// The reason in one word.
    pub reason: &'static str,
}

/// How a fetch of keys ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Fetch {
    /// `fetched` or `failed`.
    pub result: &'static str,
}

/// Metrics of the verification of tokens.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Tokens refused by this process.
    pub refused: Family<Why, Counter>,
    /// Fetches of keys, those at the start not counted.
    pub fetches: Family<Fetch, Counter>,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.add(&metric::TOKENS_REFUSED, self.refused.clone());
        registry.add(&metric::TOKENS_KEY_FETCHES, self.fetches.clone());
    }

    pub(super) fn refuse(&self, error: TokenError) {
        let reason = error.word();
        self.refused.get_or_create(&Why { reason }).inc();
    }

    pub(super) fn fetched(&self, result: &'static str) {
        self.fetches.get_or_create(&Fetch { result }).inc();
    }
}

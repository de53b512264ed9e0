//! Metrics of tokens. Clones share their values.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::TokenError;
use crate::runtime::metrics::{Labels, registers};

/// Metrics of the verification of tokens.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Tokens refused by this process.
    pub refused: Family<Labels<1>, Counter>,
    /// Fetches of keys, except at the start.
    pub fetches: Family<Labels<1>, Counter>,
}

registers!(pub Metrics: refused = TOKENS_REFUSED, fetches = TOKENS_KEY_FETCHES);

impl Metrics {
    pub(super) fn refuse(&self, error: TokenError) {
        self.refused
            .get_or_create(&[("reason", error.as_str())])
            .inc();
    }

    pub(super) fn fetched(&self, result: &'static str) {
        self.fetches.get_or_create(&[("result", result)]).inc();
    }
}

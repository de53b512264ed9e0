//! Metrics of log-ins. Clones share their values. No label names a user.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::AccountError;
use crate::domain::metric;
use crate::runtime::metrics::RegisterMetric;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct By {
    by: &'static str,
}

/// Metrics of log-ins.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    logins: Family<Ended, Counter>,
    resumed: Family<Ended, Counter>,
    sessions: Family<By, Counter>,
    csrf_refused: Counter,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.add(&metric::LOGINS, self.logins.clone());
        registry.add(&metric::SESSIONS_RESUMED, self.resumed.clone());
        registry.add(&metric::SESSIONS_CREATED, self.sessions.clone());
        registry.add(&metric::SESSIONS_CSRF_REFUSED, self.csrf_refused.clone());
    }

    /// Counts a rejected request that may be forged.
    pub fn forged(&self) {
        self.csrf_refused.inc();
    }

    pub(super) fn logged_in<T>(&self, outcome: &Result<T, AccountError>) {
        self.login(word(outcome));
        if outcome.is_ok() {
            self.sessions.get_or_create(&By { by: "password" }).inc();
        }
    }

    pub(super) fn resumed<T>(&self, outcome: &Result<T, AccountError>) {
        let result = word(outcome);
        self.resumed.get_or_create(&Ended { result }).inc();
        if outcome.is_ok() {
            self.sessions.get_or_create(&By { by: "remembered" }).inc();
        }
    }

    fn login(&self, result: &'static str) {
        self.logins.get_or_create(&Ended { result }).inc();
    }
}

const fn word<T>(outcome: &Result<T, AccountError>) -> &'static str {
    match outcome {
        Ok(_) => "accepted",
        Err(AccountError::Stolen) => "stolen",
        Err(AccountError::JustUsed) => "just_used",
        Err(AccountError::Busy) => "busy",
        Err(AccountError::Throttled(..)) => "limited",
        Err(AccountError::CodeRequired) => "code_required",
        Err(AccountError::CodeRefused(_)) => "code_refused",
        Err(
            AccountError::Store(_)
            | AccountError::Gate(_)
            | AccountError::Hash(_)
            | AccountError::Secret
            | AccountError::Thread(_),
        ) => "failed",
        Err(_) => "refused",
    }
}

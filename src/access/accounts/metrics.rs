//! Metrics of log-ins. Clones share their values. No label names a user.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::AccountError;
use crate::runtime::metrics::{Labels, registers};

/// Metrics of log-ins.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    logins: Family<Labels<1>, Counter>,
    resumed: Family<Labels<1>, Counter>,
    sessions: Family<Labels<1>, Counter>,
    csrf_refused: Counter,
}

registers!(
    pub Metrics:
    logins = LOGINS,
    resumed = SESSIONS_RESUMED,
    sessions = SESSIONS_CREATED,
    csrf_refused = SESSIONS_CSRF_REFUSED,
);

impl Metrics {
    /// Counts a rejected request that may be forged.
    pub fn forged(&self) {
        self.csrf_refused.inc();
    }

    pub(super) fn logged_in<T>(&self, outcome: &Result<T, AccountError>) {
        self.count(&self.logins, "password", outcome);
    }

    pub(super) fn resumed<T>(&self, outcome: &Result<T, AccountError>) {
        self.count(&self.resumed, "remembered", outcome);
    }

    fn count<T>(
        &self,
        attempts: &Family<Labels<1>, Counter>,
        by: &'static str,
        outcome: &Result<T, AccountError>,
    ) {
        attempts.get_or_create(&[("result", word(outcome))]).inc();
        if outcome.is_ok() {
            self.sessions.get_or_create(&[("by", by)]).inc();
        }
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

//! The breaker of the gate. After a call without an answer it is open: every script fails at once until a probe
//! succeeds. So a gate that hangs costs one timeout, not one per request. The breaker must not decide what callers do
//! without the gate.
//!
//! Every script passes the breaker in [`ScriptGate::run`](super::ScriptGate), so no caller can bypass it. Rate limits
//! and figures of other replicas respect an open breaker but do not open it ([`Script::opens_breaker`]). An open
//! breaker moves every campaign to the database path and costs each one a rebuild, and a request can be answered
//! without a limit or a figure. If a limit times out, the request passes, and the following admission opens the
//! breaker.
//!
//! [`Script::opens_breaker`]: super::script::Script::opens_breaker

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;

use super::GateError;
use crate::runtime::metrics::registers;
use crate::runtime::telemetry::cause;

/// Whether a failure opens the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnFailure {
    /// The breaker opens.
    Open,
    /// The breaker stays as it is.
    Ignore,
}

/// Closed at first.
pub(super) struct Breaker {
    open: watch::Sender<bool>,
    /// 1 while it is open.
    is_away: Gauge,
    outages: Counter,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            open: watch::Sender::new(false),
            is_away: Gauge::default(),
            outages: Counter::default(),
        }
    }
}

registers!(pub(super) Breaker: is_away = GATE_AWAY, outages = GATE_OUTAGES);

impl Breaker {
    pub(super) fn is_open(&self) -> bool {
        *self.open.borrow()
    }

    /// How often it has opened.
    pub(super) fn outages(&self) -> u64 {
        self.outages.get()
    }

    /// Waits until it is open.
    pub(super) async fn until_open(&self) {
        // It fails only without a sender, and this is the sender.
        drop(self.open.subscribe().wait_for(|open| *open).await);
    }

    pub(super) fn close(&self) {
        if self.open.send_replace(false) {
            self.is_away.set(0);
            tracing::info!("the gate answers again");
        }
    }

    /// Makes a call unless the breaker is open; opens it when there is no answer.
    pub(super) async fn call<T>(
        &self,
        on_failure: OnFailure,
        call: impl Future<Output = Result<T, GateError>>,
    ) -> Result<T, GateError> {
        if self.is_open() {
            return Err(GateError::Away);
        }
        let result = call.await;
        if let Err(error @ GateError::Unavailable(_)) = &result
            && on_failure == OnFailure::Open
            && !self.open.send_replace(true)
        {
            self.outages.inc();
            self.is_away.set(1);
            tracing::error!(
                error = cause(error),
                "the gate does not answer: no calls until a probe succeeds"
            );
        }
        result
    }
}

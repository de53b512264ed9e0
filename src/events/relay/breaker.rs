//! One breaker: closed, open, or probing with one record at a time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::runtime::retry;

/// Longest wait for the result of a probe: its sender may have panicked.
const PROBE_MAX: Duration = Duration::from_secs(30);
/// Pause before the next request for permission during a probe.
const PROBE_PAUSE: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Instant, failures: u32 },
    Probing { until: Instant, failures: u32 },
}

/// The state of a breaker, as shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Records pass.
    Closed,
    /// Records are held back.
    Open,
    /// Records are held back, except one probe.
    Probing,
}

/// How a record may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendMode {
    Normal,
    /// As the probe.
    Probe,
}

#[derive(Debug)]
pub(super) struct Breaker {
    state: Mutex<State>,
    policy: retry::Policy,
}

impl Breaker {
    pub(super) fn new(policy: retry::Policy) -> Self {
        Self {
            state: Mutex::new(State::Closed),
            policy,
        }
    }

    /// Time until records may pass or probe; none: now.
    pub(super) fn wait(&self) -> Option<Duration> {
        let now = Instant::now();
        match *self.lock() {
            State::Open { until, .. } if now < until => Some(until - now),
            State::Probing { until, .. } if now < until => Some(PROBE_PAUSE),
            _ => None,
        }
    }

    pub(super) fn leave(&self) -> SendMode {
        let mut state = self.lock();
        match *state {
            State::Closed => SendMode::Normal,
            State::Open { failures, .. } | State::Probing { failures, .. } => {
                let until = Instant::now() + PROBE_MAX;
                *state = State::Probing { until, failures };
                SendMode::Probe
            }
        }
    }

    /// Closes. Returns whether it was open.
    pub(super) fn succeeded(&self) -> bool {
        std::mem::replace(&mut *self.lock(), State::Closed) != State::Closed
    }

    /// Opens, for longer after each failed probe. Returns whether it was closed.
    pub(super) fn failed(&self, leave: SendMode) -> bool {
        let mut state = self.lock();
        let failures = match (*state, leave) {
            (State::Closed, _) => 1,
            (State::Probing { failures, .. }, SendMode::Probe) => failures.saturating_add(1),
            // It was sent before the breaker opened, so it is no new information.
            _ => return false,
        };
        let until = Instant::now() + self.policy.pause(failures);
        *state = State::Open { until, failures };
        failures == 1
    }

    /// The record was not sent: another may probe.
    pub(super) fn unused(&self, leave: SendMode) {
        let mut state = self.lock();
        if let (State::Probing { failures, .. }, SendMode::Probe) = (*state, leave) {
            let until = Instant::now();
            *state = State::Open { until, failures };
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.lock() == State::Closed
    }

    /// Whether a probe is in progress and has not timed out.
    pub(super) fn is_probing(&self) -> bool {
        matches!(*self.lock(), State::Probing { until, .. } if Instant::now() < until)
    }

    pub(super) fn state(&self) -> BreakerState {
        match *self.lock() {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::Probing { .. } => BreakerState::Probing,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

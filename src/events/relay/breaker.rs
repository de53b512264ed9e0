//! One breaker: closed, open, or probing with one record at a time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::runtime::retry;

/// A prober that was lost (its worker panicked) is waited for no longer than this.
const PROBE_MAX: Duration = Duration::from_secs(30);
/// How long to wait for somebody else's probe before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Instant, failures: u32 },
    Probing { until: Instant, failures: u32 },
}

/// What a breaker does with records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Lets them go.
    Closed,
    /// Holds them back.
    Open,
    /// Holds them back but for one, which finds out whether they can go again.
    Probing,
}

/// Whether a record may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendMode {
    Normal,
    /// As the one that finds out.
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

    /// How long there is no point in asking; none: ask.
    pub(super) fn wait(&self) -> Option<Duration> {
        let now = Instant::now();
        match *self.lock() {
            State::Open { until, .. } if now < until => Some(until - now),
            State::Probing { until, .. } if now < until => Some(LOOK_AGAIN),
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

    /// Closes; whether it was not closed before.
    pub(super) fn succeeded(&self) -> bool {
        std::mem::replace(&mut *self.lock(), State::Closed) != State::Closed
    }

    /// Opens, for longer each time its probe fails; whether it was closed before.
    pub(super) fn failed(&self, leave: SendMode) -> bool {
        let mut state = self.lock();
        let failures = match (*state, leave) {
            (State::Closed, _) => 1,
            (State::Probing { failures, .. }, SendMode::Probe) => failures.saturating_add(1),
            // Sent before it opened: says nothing new.
            _ => return false,
        };
        let until = Instant::now() + self.policy.pause(failures);
        *state = State::Open { until, failures };
        failures == 1
    }

    /// The leave was not made use of: somebody else may probe.
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

    /// Whether a probe is under way, as far as it is waited for.
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

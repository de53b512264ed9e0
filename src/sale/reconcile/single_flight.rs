//! One rebuild of a campaign at a time in this process.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// Callers that wait for a rebuild of one campaign; others must retry.
const WAITERS_MAX: usize = 8_192;

/// Allows one rebuild of a campaign at a time, and none while the campaign is served from the database.
#[derive(Debug)]
pub(super) struct SingleFlight {
    /// Held during a rebuild, and never while waiting for another process.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Held by the one waiting caller that reads the gate for all.
    pub(super) reader: tokio::sync::Mutex<()>,
    pub(super) waiters: Semaphore,
    closed_until: Mutex<Option<Instant>>,
}

impl Default for SingleFlight {
    fn default() -> Self {
        Self {
            turn: tokio::sync::Mutex::default(),
            reader: tokio::sync::Mutex::default(),
            waiters: Semaphore::new(WAITERS_MAX),
            closed_until: Mutex::default(),
        }
    }
}

impl SingleFlight {
    pub(super) fn is_closed(&self) -> bool {
        let until = self
            .closed_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn close_for(&self, term: Duration) {
        let mut until = self
            .closed_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *until = Some(Instant::now() + term);
    }
}

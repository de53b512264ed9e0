//! One rebuild of a campaign at a time in this process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// Callers that wait for a rebuild of one campaign; others must retry.
const WAITERS_MAX: usize = 8_192;

/// Allows one rebuild of a campaign at a time, and none while the campaign is served from the database.
#[derive(Debug)]
pub(super) struct SingleFlight {
    /// Held during a rebuild, and never while waiting for another process.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    /// Held by the one waiting caller that reads the gate for all.
    pub(super) reader: tokio::sync::Mutex<()>,
    pub(super) waiters: Semaphore,
    closed_until: Mutex<Option<Instant>>,
    /// The gate's epoch when it was last asked, and when that was.
    epoch: Mutex<Option<(u64, Instant)>>,
}

impl Default for SingleFlight {
    fn default() -> Self {
        Self {
            turn: Arc::default(),
            reader: tokio::sync::Mutex::default(),
            waiters: Semaphore::new(WAITERS_MAX),
            closed_until: Mutex::default(),
            epoch: Mutex::default(),
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

    /// The gate had this epoch when it was asked.
    pub(super) fn note_epoch(&self, epoch: u64, asked_at: Instant) {
        let mut known = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((epoch, asked_at));
    }

    /// The gate's epoch, if it was asked after this moment.
    pub(super) fn epoch_since(&self, moment: Instant) -> Option<u64> {
        let known = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        known.and_then(|(epoch, asked_at)| (asked_at >= moment).then_some(epoch))
    }

    pub(super) fn close_for(&self, term: Duration) {
        let mut until = self
            .closed_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *until = Some(Instant::now() + term);
    }
}

//! The difference between this machine's clock and the database's. The service uses the time of the database, which
//! it reads here, so a wrong machine clock does little harm, but operators must know about it. The machine's clock is
//! never set.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use prometheus_client::metrics::gauge::Gauge;

use crate::parts::store::Store;
use crate::runtime::clock::Clock;
use crate::runtime::metrics::registers;
use crate::runtime::supervisor::Spawner;
use crate::runtime::telemetry::cause;

/// Largest accepted difference.
pub const APART_MAX: TimeDelta = TimeDelta::seconds(1);
/// Interval between reads of the database's time.
const INTERVAL: Duration = Duration::from_secs(1);

/// The lead of this machine's clock over the database's.
#[derive(Clone, Debug, Default)]
pub struct Skew {
    known: Arc<Mutex<KnownLead>>,
    seconds: Gauge<f64, AtomicU64>,
}

#[derive(Debug, Default)]
struct KnownLead {
    /// None: the time of the database is unknown.
    ahead: Option<TimeDelta>,
    /// The last logged difference.
    logged: TimeDelta,
}

/// A change that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Off,
    Corrected,
}

registers!(pub Skew: seconds = CLOCK_AHEAD_SECONDS);

impl Skew {
    /// An unknown difference.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The certain lead of this machine's clock; none: the time of the database is unknown.
    #[must_use]
    pub fn ahead(&self) -> Option<TimeDelta> {
        self.known().ahead
    }

    /// Reads the database's time regularly. An embedded database uses the clock of this process, and is not read.
    pub fn start(&self, spawner: &Spawner, store: &Store) {
        if store.is_embedded() {
            self.note(TimeDelta::zero());
            return;
        }
        let (skew, store) = (self.clone(), store.clone());
        spawner.repeat("clock.follow", Duration::ZERO, move |_stop| {
            let (skew, store) = (skew.clone(), store.clone());
            async move {
                match store.ask_time().await {
                    Ok(_) => skew.note(ahead_of(store.clock())),
                    // The last difference remains valid. Other modules log an outage of the database.
                    Err(error) => tracing::debug!(
                        error = cause(&error),
                        "the time of the database was not read"
                    ),
                }
                INTERVAL
            }
        });
    }

    fn note(&self, ahead: TimeDelta) {
        self.seconds.set(ahead.as_seconds_f64());
        let change = self.known().note(ahead);
        let seconds = ahead.as_seconds_f64();
        match change {
            Some(Change::Off) => tracing::warn!(
                clock.ahead_seconds = seconds,
                "this machine's clock differs from the database's; the service uses the database's: set both by NTP"
            ),
            Some(Change::Corrected) => tracing::info!(
                clock.ahead_seconds = seconds,
                "this machine's clock agrees with the database's again"
            ),
            None => {}
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, KnownLead> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownLead {
    /// Notes a difference, and returns a change once.
    fn note(&mut self, ahead: TimeDelta) -> Option<Change> {
        self.ahead = Some(ahead);
        if is_off(ahead) {
            let is_new = !is_off(self.logged) || is_off(ahead - self.logged);
            self.logged = if is_new { ahead } else { self.logged };
            return is_new.then_some(Change::Off);
        }
        let was_off = is_off(std::mem::take(&mut self.logged));
        was_off.then_some(Change::Corrected)
    }
}

/// Whether the difference is too large.
#[must_use]
pub fn is_off(ahead: TimeDelta) -> bool {
    ahead.abs() > APART_MAX
}

/// The smallest possible lead of this machine's clock: the database's time is known within bounds.
fn ahead_of(clock: &Clock) -> TimeDelta {
    let (here, range) = (Clock::System.now(), clock.range());
    here - here.clamp(*range.start(), *range.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_adds_one_log_line() {
        let mut known = KnownLead::default();
        let mut note = |millis| known.note(TimeDelta::milliseconds(millis));
        assert_eq!(note(1_000), None);
        assert_eq!(note(-1_001), Some(Change::Off));
        assert_eq!(note(-1_900), None, "it is already reported as off");
        assert_eq!(note(1_100), Some(Change::Off), "it is off again");
        assert_eq!(note(0), Some(Change::Corrected));
        assert_eq!(note(900), None);
    }

    #[test]
    fn a_clock_counts_as_wrong_only_by_the_certain_difference() {
        let here = Clock::System.now();
        let ahead = Clock::manual(here - TimeDelta::hours(9));
        assert!(ahead_of(&ahead) >= TimeDelta::hours(9));
        let unknown = Clock::of_database();
        assert_eq!(ahead_of(&unknown), TimeDelta::zero());
    }
}

//! Where the time comes from. Nothing else asks the machine, so tests can stop or turn the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::Instant;

/// How far off the machine's clock is made to be, for tests of clocks that jump: milliseconds, by the
/// failpoint `clock.system`.
#[cfg(feature = "failpoints")]
fn shift() -> TimeDelta {
    let millis = |text: Option<String>| text.and_then(|text| text.parse().ok()).unwrap_or(0);
    fail::fail_point!("clock.system", |text| TimeDelta::milliseconds(millis(text)));
    TimeDelta::zero()
}

#[cfg(not(feature = "failpoints"))]
const fn shift() -> TimeDelta {
    TimeDelta::zero()
}

/// A source of wall-clock time, UTC.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that stands still until it is moved: milliseconds since the Unix epoch.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `at`.
    #[must_use]
    pub fn manual(at: Instant) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(at.timestamp_millis())))
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Instant {
        match self {
            #[allow(
                clippy::disallowed_methods,
                reason = "this is the one place that asks the machine"
            )]
            Self::System => Utc::now() + shift(),
            Self::Manual(millis) => {
                DateTime::from_timestamp_millis(millis.load(Ordering::SeqCst)).unwrap_or_default()
            }
        }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_millis(&self) -> i64 {
        self.now().timestamp_millis()
    }

    /// Moves a manual clock forward; the machine's clock does not move for us.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(millis) = self {
            let by = TimeDelta::from_std(by).map_or(i64::MAX, |delta| delta.num_milliseconds());
            millis.fetch_add(by, Ordering::SeqCst);
        }
    }
}

//! Delays after wrong admin tokens, by address. Failures are counted in this process, so the admin token works while
//! Redis is unavailable; the number of addresses is bounded.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;

use crate::access::limits::network;

/// Addresses that are remembered.
const ADDRESSES_MAX: u64 = 10_000;
/// How long the failures of an address are remembered after the last one.
const REMEMBERED: Duration = Duration::from_secs(15 * 60);
/// The first delay.
const DELAY: Duration = Duration::from_secs(1);

/// How guesses are slowed down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuessConfig {
    /// Failures of an address that cost no delay.
    pub failures_max: u32,
    /// The longest delay.
    pub delay_max: Duration,
}

impl Default for GuessConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl GuessConfig {
    /// The defaults of the settings.
    pub const DEFAULT: Self = Self {
        failures_max: 10,
        delay_max: Duration::from_secs(60),
    };

    /// The delay after so many failures: none at first, then a second, and twice as long each time.
    fn delay(&self, failures: u32) -> Duration {
        match failures.checked_sub(self.failures_max) {
            None | Some(0) => Duration::ZERO,
            Some(above) => {
                let factor = 1_u32.checked_shl(above - 1).unwrap_or(u32::MAX);
                DELAY.saturating_mul(factor).min(self.delay_max)
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    until: Instant,
}

/// Counts wrong tokens by address.
#[derive(Debug)]
pub struct Guesses {
    config: GuessConfig,
    failures: Cache<String, Failures>,
    /// Two failures of an address at the same moment are two.
    counting: Mutex<()>,
}

impl Guesses {
    /// Slows guesses down in this way.
    #[must_use]
    pub fn new(config: GuessConfig) -> Self {
        let failures = Cache::builder()
            .max_capacity(ADDRESSES_MAX)
            .time_to_idle(REMEMBERED.max(config.delay_max))
            .build();
        Self {
            config,
            failures,
            counting: Mutex::new(()),
        }
    }

    /// How long this address has to wait before its next guess is looked at.
    #[must_use]
    pub fn wait(&self, address: Option<IpAddr>) -> Option<Duration> {
        self.wait_at(address, Instant::now())
    }

    /// A token of this address was wrong.
    pub fn failed(&self, address: Option<IpAddr>) {
        self.failed_at(address, Instant::now());
    }

    /// A token of this address was right: what was wrong before is forgiven.
    pub fn succeeded(&self, address: Option<IpAddr>) {
        self.failures.invalidate(&name(address));
    }

    fn wait_at(&self, address: Option<IpAddr>, now: Instant) -> Option<Duration> {
        let failures = self.failures.get(&name(address))?;
        let wait = failures.until.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }

    fn failed_at(&self, address: Option<IpAddr>, now: Instant) {
        let name = name(address);
        let _counting = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.failures.get(&name);
        let count = before.map_or(1, |before| before.count.saturating_add(1));
        let until = now + self.config.delay(count);
        self.failures.insert(name, Failures { count, until });
    }
}

fn name(address: Option<IpAddr>) -> String {
    address.map_or_else(String::new, network)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: GuessConfig = GuessConfig {
        failures_max: 3,
        delay_max: Duration::from_secs(8),
    };

    #[test]
    fn the_delay_doubles_up_to_its_bound() {
        let delays =
            [0, 1, 3, 4, 5, 6, 7, 8, 36, u32::MAX].map(|count| CONFIG.delay(count).as_secs());
        assert_eq!(delays, [0, 0, 0, 1, 2, 4, 8, 8, 8, 8]);
    }

    #[test]
    fn the_delay_of_one_address_does_not_affect_another() {
        let guesses = Guesses::new(CONFIG);
        let (one, other) = (Some([192, 0, 2, 1].into()), Some([192, 0, 2, 2].into()));
        let now = Instant::now();
        for _ in 0..3 {
            guesses.failed_at(one, now);
            assert_eq!(guesses.wait_at(one, now), None);
        }
        guesses.failed_at(one, now);
        assert_eq!(guesses.wait_at(one, now), Some(DELAY));
        assert_eq!(guesses.wait_at(one, now + DELAY), None);
        assert_eq!(guesses.wait_at(other, now), None);
        guesses.failures.run_pending_tasks();
        guesses.succeeded(one);
        guesses.failed_at(one, now);
        assert_eq!(guesses.wait_at(one, now), None, "it begins anew");
    }

    #[test]
    fn the_number_of_remembered_addresses_is_bounded() {
        let guesses = Guesses::new(CONFIG);
        for host in 0..20_000_u32 {
            guesses.failed_at(Some(IpAddr::V4(host.into())), Instant::now());
        }
        guesses.failures.run_pending_tasks();
        assert!(guesses.failures.entry_count() <= ADDRESSES_MAX);
    }
}

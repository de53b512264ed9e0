//! The retry policy: exponential with full jitter, with a limit on attempts and on the delay. The only module that
//! uses the `backoff` crate. Callers decide *whether* a failure may be retried.
//!
//! Full jitter (a delay drawn evenly between nothing and the bound) keeps many clients that failed
//! together from coming back together: "Exponential Backoff And Jitter", AWS Architecture Blog.

use std::future::Future;
use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

/// Number of attempts, and the delays between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Bound of the first delay.
    pub initial: Duration,
    /// Bound of all delays.
    pub max: Duration,
    /// Factor by which the bound grows with each attempt.
    pub multiplier: f64,
    /// Maximum number of attempts, the first included.
    pub attempts_max: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(30),
            multiplier: 2.0,
            attempts_max: 10,
        }
    }
}

/// What to do after a failed attempt; the caller decides by the type of the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// Retry: it may succeed.
    Again,
    /// Give up: it cannot succeed.
    GiveUp,
}

impl RetryDecision {
    /// `Again` if the condition holds, otherwise `GiveUp`.
    #[must_use]
    pub const fn again_if(again: bool) -> Self {
        if again { Self::Again } else { Self::GiveUp }
    }
}

impl Policy {
    /// For requests with a waiting client: a few attempts in quick succession.
    pub const BRIEF: Self = Self {
        initial: Duration::from_millis(50),
        max: Duration::from_secs(1),
        multiplier: 4.0,
        attempts_max: 4,
    };

    /// The delays of one retry, which end when the attempts are used up.
    #[must_use]
    pub fn delays(&self) -> Delays {
        Delays {
            backoff: self.backoff(1),
            max: self.max,
            left: self.attempts_max.saturating_sub(1),
        }
    }

    /// How long to wait after the `attempt`-th attempt failed (from 1), where the count outlives the process; none:
    /// it was the last.
    #[must_use]
    pub fn delay(&self, attempt: u32) -> Option<Duration> {
        (attempt < self.attempts_max).then(|| self.pause(attempt))
    }

    /// How long to wait after the `failures`-th failure (from 1) if attempts have no limit.
    #[must_use]
    pub fn pause(&self, failures: u32) -> Duration {
        let bound = self.bound(failures);
        let delay = self.backoff(failures).next_backoff();
        delay.unwrap_or(bound).min(bound)
    }

    /// The policy for the crate, after the `failures`-th failure. A randomization factor of one spreads a delay
    /// evenly over twice the interval: full jitter.
    fn backoff(&self, failures: u32) -> ExponentialBackoff {
        ExponentialBackoff {
            current_interval: self.bound(failures) / 2,
            initial_interval: self.bound(1) / 2,
            randomization_factor: 1.0,
            multiplier: self.multiplier.max(1.0),
            max_interval: self.max / 2,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        }
    }

    /// The longest delay after the `failures`-th failure.
    fn bound(&self, failures: u32) -> Duration {
        let steps = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let factor = self.multiplier.max(1.0).powi(steps);
        let seconds = self.initial.as_secs_f64() * factor;
        if seconds.is_finite() && seconds < self.max.as_secs_f64() {
            Duration::from_secs_f64(seconds)
        } else {
            self.max
        }
    }
}

/// The delays of one retry.
#[derive(Debug)]
pub struct Delays {
    backoff: ExponentialBackoff,
    max: Duration,
    left: u32,
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let delay = self.backoff.next_backoff()?;
        Some(delay.min(self.max))
    }
}

/// Repeats `operation` until it succeeds, `classify` gives up on its failure, or the attempts are used up; then the
/// last failure is returned.
pub async fn retry<T, E, F>(
    policy: &Policy,
    classify: impl Fn(&E) -> RetryDecision,
    mut operation: impl FnMut() -> F,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut delays = policy.delays();
    loop {
        let failure = match operation().await {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        match (classify(&failure), delays.next()) {
            (RetryDecision::Again, Some(delay)) => tokio::time::sleep(delay).await,
            _ => return Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_delay_never_exceeds_its_bound(attempt in 0_u32..5_000, multiplier in 0.0_f64..10.0) {
            let policy = Policy { multiplier, attempts_max: u32::MAX, ..Policy::default() };
            prop_assert!(policy.pause(attempt) <= policy.max);
            prop_assert!(policy.pause(1) <= policy.initial);
        }

        #[test]
        fn the_delays_of_a_retry_stay_within_growing_bounds(multiplier in 0.0_f64..10.0, attempts_max in 1_u32..50) {
            let policy = Policy { multiplier, attempts_max, ..Policy::default() };
            let delays: Vec<Duration> = policy.delays().collect();
            prop_assert_eq!(delays.len(), usize::try_from(attempts_max - 1).unwrap());
            // The crate rounds each interval down to whole nanoseconds.
            let slack = Duration::from_micros(1);
            for (failures, delay) in (1..).zip(delays) {
                prop_assert!(delay <= policy.max && delay <= policy.bound(failures) + slack);
            }
        }
    }

    #[test]
    fn no_attempt_follows_the_last() {
        let policy = Policy {
            attempts_max: 3,
            ..Policy::default()
        };
        assert!(policy.delay(2).is_some());
        assert_eq!(policy.delay(3), None);
    }

    #[test]
    fn delays_are_spread_over_the_whole_bound() {
        let policy = Policy::default();
        let longest = (0..200).map(|_| policy.pause(1)).max().unwrap();
        let shortest = (0..200).map(|_| policy.pause(1)).min().unwrap();
        assert!(longest > policy.initial * 3 / 4, "{longest:?}");
        assert!(shortest < policy.initial / 4, "{shortest:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_transient_failures_are_retried() {
        let calls = Cell::new(0);
        let operation = || {
            calls.set(calls.get() + 1);
            async { Err::<(), u32>(calls.get()) }
        };
        let again = |failure: &u32| {
            if *failure < 3 {
                RetryDecision::Again
            } else {
                RetryDecision::GiveUp
            }
        };
        assert_eq!(retry(&Policy::default(), again, operation).await, Err(3));
        assert_eq!(calls.get(), 3);
    }
}

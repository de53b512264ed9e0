//! The section `[test]` as simulations take it, and what it must keep to.

use std::time::Duration;

use super::Test;
use crate::operate::simulate::SimulateConfig;

impl Test {
    /// What simulations are told.
    #[must_use]
    pub const fn settings(&self) -> SimulateConfig {
        SimulateConfig {
            jobs_max: self.jobs_max,
            results_max: self.results_max,
            results_age: self.results_age,
        }
    }

    /// Requires what must hold.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            (1..=16).contains(&self.jobs_max),
            "test.jobs_max: must be between 1 and 16",
        );
        require(
            (1..=10_000).contains(&self.results_max),
            "test.results_max: must be between 1 and 10000",
        );
        let day = Duration::from_secs(24 * 60 * 60);
        require(
            (Duration::from_secs(1)..=day).contains(&self.results_age),
            "test.results_age: must be between 1s and 1day",
        );
    }
}

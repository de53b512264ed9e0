//! The section `[allowlist]` as lists take it, and what it must keep to.

use std::time::Duration;

use serde::Deserialize;

use super::sections::section;
use crate::sale::allow_list::AllowListConfig;

section! {
    /// `[allowlist]`: lists of those who may take part.
    Allowlist {
        /// Imports at the same time.
        imports_max: usize = 2,
        /// How long one import may take.
        #[serde(with = "humantime_serde")]
        import_timeout: Duration = Duration::from_secs(10 * 60),
        /// Lines of a file at most.
        users_max: u64 = 10_000_000,
        /// Users written in one transaction at most.
        batch_rows_max: usize = 1_000,
        /// Answers that are remembered.
        answers_max: u64 = 100_000,
        /// Users who wait to be looked for, in each of two lanes.
        waiting_max: usize = 4_096,
    }
}

impl Allowlist {
    /// What lists are told; `piece_timeout` is how long a body may stand still.
    #[must_use]
    pub fn settings(&self, piece_timeout: Duration) -> AllowListConfig {
        AllowListConfig {
            imports_max: self.imports_max,
            users_max: self.users_max,
            batch_rows_max: self.batch_rows_max,
            piece_timeout,
            answers_max: self.answers_max,
            waiting_max: self.waiting_max,
            ..AllowListConfig::default()
        }
    }

    /// Requires what must hold.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            (1..=100).contains(&self.imports_max),
            "allowlist.imports_max: must be between 1 and 100",
        );
        require(
            (Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&self.import_timeout),
            "allowlist.import_timeout: must be between 1s and 1d",
        );
        require(
            (1..=1_000_000_000).contains(&self.users_max),
            "allowlist.users_max: must be between 1 and 1000000000",
        );
        require(
            (1..=10_000).contains(&self.batch_rows_max),
            "allowlist.batch_rows_max: must be between 1 and 10000",
        );
        require(
            (1..=100_000_000).contains(&self.answers_max),
            "allowlist.answers_max: must be between 1 and 100000000",
        );
        require(
            (1..=1_000_000).contains(&self.waiting_max),
            "allowlist.waiting_max: must be between 1 and 1000000",
        );
    }
}

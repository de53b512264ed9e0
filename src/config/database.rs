//! `[database]`: the store, and what its settings must keep to.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use super::sections::section;

section! {
    /// `[database]`: the store.
    Database {
        /// `mysql://…`; absent: a SQLite file in the data folder.
        url: Option<SecretString> = None,
        /// Connections in the pool.
        connections_max: u32 = 16,
        /// Longest wait for a connection.
        #[serde(with = "humantime_serde")]
        acquire_timeout: Duration = Duration::from_secs(3),
        /// Longest wait for the answer to a statement.
        #[serde(with = "humantime_serde")]
        response_timeout: Duration = Duration::from_secs(5),
        /// Longest wait for another process that changes the schema.
        #[serde(with = "humantime_serde")]
        migration_wait: Duration = Duration::from_secs(60),
    }
}
impl Database {
    /// Requires what must hold.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            self.connections_max > 0,
            "database.connections_max: must be at least 1",
        );
        require(
            self.response_timeout >= Duration::from_millis(500),
            "database.response_timeout: must be at least 500ms",
        );
        require(
            (Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&self.migration_wait),
            "database.migration_wait: must be between 1s and 1day",
        );
    }
}

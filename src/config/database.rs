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
        /// Longest life of a connection.
        #[serde(with = "humantime_serde")]
        connection_lifetime: Duration = Duration::from_secs(300),
        /// A connection that says nothing for so long is ended by the server.
        #[serde(with = "humantime_serde")]
        session_timeout: Duration = Duration::from_secs(30),
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
        let day = Duration::from_secs(86_400);
        require(
            (Duration::from_secs(5)..=day).contains(&self.connection_lifetime),
            "database.connection_lifetime: must be between 5s and 1day",
        );
        require(
            (Duration::from_secs(2)..=Duration::from_secs(3_600)).contains(&self.session_timeout),
            "database.session_timeout: must be between 2s and 1h",
        );
        require(
            (Duration::from_secs(1)..=day).contains(&self.migration_wait),
            "database.migration_wait: must be between 1s and 1day",
        );
    }
}

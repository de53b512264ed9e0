//! `[database]`: the configuration of the store.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::runtime::settings::{DAY, SECOND, settings};

/// Only one of them writes at a time.
const SQLITE_CONNECTIONS_MAX: u32 = 4;

settings! {
    /// `[database]`: the store.
    StoreConfig in "database" {
        /// `mysql://USER:PASSWORD@HOST:PORT/SCHEMA`, with `?ssl-ca=FILE` and others if connections are encrypted:
        /// [tls.md](tls.md); absent: SQLite
        url: Option<SecretString> = None;
        /// Connections in the pool of each process. At most a quarter of them serves participants' reads, another one
        /// writes orders, and two look up idempotency keys; with SQLite at most 4 are used
        connections_max: u32 = 16, in 1..;
        /// Longest wait for a connection
        acquire_timeout: Duration = SECOND * 3;
        /// Longest wait for the answer to a statement. `verify` waits longer
        response_timeout: Duration = SECOND * 5, in Duration::from_millis(500)..;
        /// The service uses no connection to MySQL that is older. The connection that replaces it resolves the address again
        connection_lifetime: Duration = SECOND * 300, in SECOND * 5..=DAY;
        /// After this idle time MySQL closes a connection and releases its locks (`wait_timeout`, `net_read_timeout` and
        /// `net_write_timeout` of each session). The service uses no connection that has been idle for half of it
        session_timeout: Duration = SECOND * 10, in SECOND * 2..=SECOND * 3_600;
        /// Longest wait for another process that changes the schema; then this process ends with an error
        migration_wait: Duration = SECOND * 60, in SECOND..=DAY;
    }
}

impl StoreConfig {
    /// The defaults for a database: `mysql://…`, or `sqlite://PATH`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Some(SecretString::from(url.into())),
            ..Self::default()
        }
    }

    /// The maximum number of connections in the pool.
    #[must_use]
    pub fn pool_size(&self) -> u32 {
        if self.address().starts_with("mysql:") {
            self.connections_max
        } else {
            self.connections_max.min(SQLITE_CONNECTIONS_MAX)
        }
    }

    /// The address; empty if there is none.
    pub(super) fn address(&self) -> &str {
        self.url.as_ref().map_or("", |url| url.expose_secret())
    }
}

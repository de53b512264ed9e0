//! `[redis]`: the configuration of the gate's server.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::Layout;
use crate::runtime::settings::settings;

settings! {
    /// `[redis]`: the gate.
    RedisConfig in "redis" {
        /// `redis://USER:PASSWORD@HOST:PORT`, encrypted `rediss://…` ([tls.md](tls.md)); absent: in this process. Several,
        /// separated by commas: nodes of a Redis Cluster, see [scale.md](scale.md#deciding-redis)
        url: Option<SecretString> = None;
        /// Whether the server is a Redis Cluster. With several addresses it always is
        cluster: bool = false;
        /// Certificate authorities of the server, in PEM; `FIRSTCOME_REDIS_TLS_CA_FILE` names a file of them. These three
        /// are used only with `rediss://`
        tls_ca: Option<String> = None, shown "those of the public web";
        /// The client's certificate, in PEM
        tls_certificate: Option<String> = None;
        /// Its private key, in PEM
        tls_key: Option<SecretString> = None;
        /// First part of all keys, so that installations can share a Redis; no braces
        prefix: String = "firstcome".to_owned();
        /// Longest wait for a connection
        connect_timeout: Duration = Duration::from_secs(2);
        /// Longest wait for an answer, reconnecting included. The command may still have run
        response_timeout: Duration = Duration::from_secs(1);
    }
}

impl RedisConfig {
    /// Whether all connections are encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.urls().all(is_encrypted)
    }

    /// Whether some connections are encrypted and others not.
    #[must_use]
    pub fn is_partly_encrypted(&self) -> bool {
        !self.is_encrypted() && self.urls().any(is_encrypted)
    }

    /// One server, or a cluster.
    #[must_use]
    pub fn layout(&self) -> Layout {
        if self.cluster || self.urls().count() > 1 {
            Layout::Cluster
        } else {
            Layout::Single
        }
    }

    /// The addresses; one empty address if there are none.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        let urls = self.url.as_ref().map_or("", |url| url.expose_secret());
        urls.split(',').map(str::trim)
    }
}

fn is_encrypted(url: &str) -> bool {
    url.starts_with("rediss:") || url.starts_with("valkeys:")
}

//! What the section `[http]` must keep to.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Http, Mode};

/// Headers the parser has room for.
const HEADERS_MAX: usize = 100;

/// As many threads as the machine has.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Http {
    /// Requires what must hold.
    pub(super) fn check(&self, mode: Mode, require: &mut impl FnMut(bool, &str)) {
        self.check_listeners(mode, require);
        require(
            self.tls_certificate.is_some() == self.tls_key.is_some(),
            "http.tls_certificate, http.tls_key: go together",
        );
        for (name, file) in [
            ("tls_certificate", &self.tls_certificate),
            ("tls_key", &self.tls_key),
        ] {
            require(
                file.as_ref().is_none_or(|file| file.is_file()),
                &format!("http.{name}: there is no such file"),
            );
        }
        require(
            (Duration::from_millis(100)..=Duration::from_secs(86_400))
                .contains(&self.tls_reload_interval),
            "http.tls_reload_interval: must be between 100ms and 1d",
        );
        require(
            (1..=1_024).contains(&self.threads),
            "http.threads: must be between 1 and 1024",
        );
        require(
            (4_096..=1_048_576).contains(&self.header_bytes_max),
            "http.header_bytes_max: must be between 4096 and 1048576",
        );
        require(
            (8..HEADERS_MAX).contains(&self.headers_max),
            "http.headers_max: must be between 8 and 99",
        );
        require(
            self.body_bytes_max >= 1_024,
            "http.body_bytes_max: must be at least 1024",
        );
        for (name, bound) in [
            ("connections_max", self.connections_max),
            ("address_connections_max", self.address_connections_max),
            ("pending_bodies_max", self.pending_bodies_max),
            (
                "address_pending_bodies_max",
                self.address_pending_bodies_max,
            ),
            ("address_streams_max", self.address_streams_max),
            ("concurrent_pages_max", self.concurrent_pages_max),
            ("address_pages_max", self.address_pages_max),
            ("concurrent_requests_max", self.concurrent_requests_max),
            ("concurrent_streams_max", self.concurrent_streams_max),
        ] {
            require(
                (1..=1_000_000).contains(&bound),
                &format!("http.{name}: must be between 1 and 1000000"),
            );
        }
        for (name, time) in [
            ("head_timeout", self.head_timeout),
            ("body_timeout", self.body_timeout),
            ("request_timeout", self.request_timeout),
            ("idle_timeout", self.idle_timeout),
        ] {
            require(
                (Duration::from_millis(100)..=Duration::from_secs(3_600)).contains(&time),
                &format!("http.{name}: must be between 100ms and 1h"),
            );
        }
    }

    fn check_listeners(&self, mode: Mode, require: &mut impl FnMut(bool, &str)) {
        let is_safe = |address: SocketAddr| {
            address.ip().is_loopback() || self.allow_trusted || mode != Mode::Trusted
        };
        require(
            self.management_listen.is_none_or(is_safe),
            "http.management_listen: it serves the API, too, so what http.listen takes on an address others can \
             reach, it takes as well",
        );
        require(
            self.management_listen
                .is_none_or(|address| address.port() == 0 || address != self.listen),
            "http.management_listen: must differ from http.listen",
        );
        require(
            is_safe(self.listen),
            "http.listen: on an address others can reach, participants would be trusted to say who they are; \
             listen on a loopback address, set auth.mode=jwt or auth.mode=sessions, or set http.allow_trusted=true behind a gateway \
             that authenticates",
        );
    }
}

//! The section `[http]`: the HTTP edge, and what it must keep to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::Mode;
use super::names::Names;
use super::sections::section;
use crate::access::limits::Networks;

/// Headers the parser has room for.
const HEADERS_MAX: usize = 100;

/// Longest that browsers are told to stay on TLS.
const HSTS_MAX: Duration = Duration::from_secs(730 * 24 * 60 * 60);

/// As many threads as the machine has.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

section! {
    /// `[http]`: the HTTP edge.
    Http {
        /// Address and port.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)),
        /// Address and port of metrics, dashboard, Swagger UI and the admin API; absent: those of `listen`.
        management_listen: Option<SocketAddr> = None,
        /// File of the certificate, in PEM; absent: connections are not encrypted.
        tls_certificate: Option<PathBuf> = None,
        /// File of its key, in PEM.
        tls_key: Option<PathBuf> = None,
        /// How often the two files are looked at.
        #[serde(with = "humantime_serde")]
        tls_reload_interval: Duration = Duration::from_secs(60),
        /// Whether TLS ends at a proxy before the service: then browsers are told to stay on it.
        tls_at_proxy: bool = false,
        /// For how long browsers are told to stay on TLS, where there is TLS; 0: they are not told.
        #[serde(with = "humantime_serde")]
        hsts_max_age: Duration = Duration::from_secs(365 * 24 * 60 * 60),
        /// Whether participants are trusted to say who they are on an address others can reach.
        allow_trusted: bool = false,
        /// Names beside `localhost` and addresses by which a service may be asked that trusts participants.
        allowed_hosts: HostNames = HostNames::default(),
        /// Networks of the proxies before the service: what they say in `X-Forwarded-For` is believed.
        trusted_proxies: Networks = Networks::default(),
        /// Threads that take requests and give answers.
        threads: usize = threads(),
        /// Largest head of a request.
        header_bytes_max: usize = 16 * 1024,
        /// Headers of a request at most.
        headers_max: usize = 64,
        /// Largest body of a request.
        body_bytes_max: usize = 16 * 1024,
        /// Connections at the same time.
        connections_max: usize = 10_000,
        /// Connections of one address at the same time.
        address_connections_max: usize = 2_500,
        /// Requests worked on at the same time.
        concurrent_requests_max: usize = 8_192,
        /// Bodies at the same time that have not come with their head.
        pending_bodies_max: usize = 1_024,
        /// Such bodies of one address.
        address_pending_bodies_max: usize = 64,
        /// Live streams open at the same time.
        concurrent_streams_max: usize = 256,
        /// Live streams of one address.
        address_streams_max: usize = 64,
        /// Pages being sent at the same time: dashboard, Swagger UI, the OpenAPI document.
        concurrent_pages_max: usize = 128,
        /// Pages being sent to one address.
        address_pages_max: usize = 32,
        /// How long the head of a request may take to come.
        #[serde(with = "humantime_serde")]
        head_timeout: Duration = Duration::from_secs(10),
        /// How long the body of a request may take to come.
        #[serde(with = "humantime_serde")]
        body_timeout: Duration = Duration::from_secs(5),
        /// How long one request may take.
        #[serde(with = "humantime_serde")]
        request_timeout: Duration = Duration::from_secs(10),
        /// How long a connection is kept that asks nothing, or that does not take its answer.
        #[serde(with = "humantime_serde")]
        idle_timeout: Duration = Duration::from_secs(75),
    }
}

/// Names of hosts, in lower case: `shop.example`, `*.shop.example` for all below it, or `*` for any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Names")]
pub struct HostNames(pub Vec<String>);

impl TryFrom<Names> for HostNames {
    type Error = String;

    fn try_from(names: Names) -> Result<Self, String> {
        let name = |name: String| {
            let name = name.to_ascii_lowercase();
            let is_host = name == "*" || is_host_name(name.strip_prefix("*.").unwrap_or(&name));
            is_host.then_some(name).ok_or_else(|| {
                "must be names of hosts without ports, with commas between them, such as \
                 shop.example,*.internal.example"
                    .to_owned()
            })
        };
        names
            .into_iter()
            .map(name)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Labels of letters, digits, hyphens and underscores, with dots between them.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=63).contains(&label.len()) && label.bytes().all(allowed)
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

impl Http {
    /// For how long browsers are told to stay on TLS; none: they are not told.
    #[must_use]
    pub fn strict_transport(&self) -> Option<Duration> {
        (self.is_encrypted() && !self.hsts_max_age.is_zero()).then_some(self.hsts_max_age)
    }

    /// Whether clients ask over TLS, wherever it ends.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.tls_certificate.is_some() || self.tls_at_proxy
    }

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
            self.hsts_max_age <= HSTS_MAX,
            "http.hsts_max_age: must be at most 730d",
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

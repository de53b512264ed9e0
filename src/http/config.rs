//! `[http]`: the HTTP edge.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::origins::Origins;
use crate::access::limits::Networks;
use crate::runtime::settings::{DAY, MILLISECOND, MINUTE, Names, SECOND, plain, settings};

/// The number of the machine's threads.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

settings! {
    /// `[http]`: the HTTP edge.
    HttpConfig in "http" {
        /// Address and port
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080));
        /// Address and port for operators. With it, the admin API, metrics, Swagger UI, the OpenAPI document and the
        /// dashboard are there and not on `listen`, which keeps the API for participants and the probes; the management
        /// listener has all of it. It has its own threads and bounds, each equal to those of `listen`, and the same
        /// certificate. `relay` and `consume` have their probes and metrics only there
        management_listen: Option<SocketAddr> = None;
        /// File of the certificate, in PEM, followed by its chain; with it the service speaks only HTTPS, including the
        /// probes of `relay` and `consume`: [tls.md](tls.md)
        tls_certificate: Option<PathBuf> = None;
        /// File of its private key, in PEM; needed with `tls_certificate`
        tls_key: Option<PathBuf> = None;
        /// How often the two files are read; new contents are used from the next connection on
        tls_reload_interval: Duration = SECOND * 60, in MILLISECOND * 100..=DAY;
        /// TLS ends at a proxy in front of the service: responses have `Strict-Transport-Security`, as if the service
        /// ended TLS itself, and cookies are `Secure` and `__Host-` on a loopback address, too
        tls_at_proxy: bool = false;
        /// How long browsers stay on TLS (`Strict-Transport-Security: max-age`), with `tls_certificate` or
        /// `tls_at_proxy`; `0s` leaves the header out
        hsts_max_age: Duration = DAY * 365, in ..=DAY * 730;
        /// Trust the user id in requests on an address that other machines can reach. Needed with `auth.mode=trusted` for
        /// any `listen` that is not loopback: set it only behind a gateway that authenticates
        allow_trusted: bool = false;
        /// With `auth.mode=trusted`: accepted names in `Host` beside `localhost`, names below it, and all IP addresses.
        /// Without ports, separated by commas: `shop.example,*.internal.example`; `*` allows any. Other names get 421
        /// `HOST_NOT_ALLOWED`, except for `/livez` and `/readyz`. In the other modes any name is accepted:
        /// [authentication.md](authentication.md#response-headers-for-browsers)
        allowed_hosts: HostNames = HostNames::default();
        /// Origins of other sites whose pages may use the API (CORS), separated by commas:
        /// `https://shop.example,http://localhost:5173`. Each is exact: scheme, host and port, as browsers write it,
        /// without a path, a slash at the end or a wildcard. Such a page may do what its user may do:
        /// [authentication.md](authentication.md#pages-of-other-origins)
        cors_origins: Origins = Origins::default();
        /// How long browsers remember that such a page may send a request (`Access-Control-Max-Age`)
        cors_max_age: Duration = MINUTE * 10, in ..=DAY;
        /// Networks of the proxies in front of the service, separated by commas: `10.0.0.0/8,192.0.2.1/32`. The client of
        /// a request from one of them is the last address in `X-Forwarded-For`, and the request is traced if its
        /// `traceparent` says so ([tracing.md](tracing.md)); other peers' headers are ignored. The address may be
        /// followed by a port, and an IPv6 address may be in brackets. If a proxy names a client in another form, the
        /// address is unknown: all such requests share one address, `::`, with the bounds of any other
        trusted_proxies: Networks = Networks::default();
        /// Threads that read requests and write responses; participations run on others
        threads: usize = threads(), in 1..=1_024, shown "as many as the machine has";
        /// Largest head of a request, including the URL. A larger one gets 431. If it has more than twice this size, the
        /// 431 has no body
        header_bytes_max: usize = 16 * 1024, in 4_096..=1_048_576;
        /// Most headers of a request. With more, it gets 431; with more than 100, the 431 has no body
        headers_max: usize = 64, in 8..=99;
        /// Largest body of a request. A larger one gets 413
        body_bytes_max: usize = 16 * 1024, in 1_024..;
        /// Connections at the same time. An excess connection gets one response and is closed: up to 64 of them at a time
        /// are read, so that probes work; the rest get 503 unread. The limit on open files must allow it, and some 100
        /// more for the parts
        connections_max: usize = 10_000, in 1..=1_000_000;
        /// Connections of one address at the same time; more get 429 unread and are closed. Here and below, an address is
        /// an IPv4 address or an IPv6 network of 64 bits. Addresses in `trusted_proxies` have no bound: put the balancer
        /// there
        address_connections_max: usize = 2_500, in 1..=1_000_000;
        /// Requests in progress at the same time; more get 503
        concurrent_requests_max: usize = 8_192, in 1..=1_000_000;
        /// Bodies at the same time that did not arrive with their head; more get 503. Keep it below
        /// `concurrent_requests_max`
        pending_bodies_max: usize = 1_024, in 1..=1_000_000;
        /// Such bodies of one address; more get 429. Behind a proxy of `trusted_proxies`, the address is the one that it
        /// names; the same holds for streams and pages
        address_pending_bodies_max: usize = 64, in 1..=1_000_000;
        /// Live streams open at the same time; more get 503
        concurrent_streams_max: usize = 256, in 1..=1_000_000;
        /// Live streams of one address; more get 429
        address_streams_max: usize = 64, in 1..=1_000_000;
        /// Pages that are sent at the same time (dashboard, Swagger UI, the OpenAPI document); more get 503
        concurrent_pages_max: usize = 128, in 1..=1_000_000;
        /// Pages that are sent to one address; more get 429
        address_pages_max: usize = 32, in 1..=1_000_000;
        /// How long the head of a request may take to arrive, measured from its first byte (for the first request, from
        /// the start of the connection); then the connection is closed
        head_timeout: Duration = SECOND * 10, in MILLISECOND * 100..=MINUTE * 60;
        /// How long the body may take to arrive; then the response is 408
        body_timeout: Duration = SECOND * 5, in MILLISECOND * 100..=MINUTE * 60;
        /// How long one request may take; then the response is 503
        request_timeout: Duration = SECOND * 10, in MILLISECOND * 100..=MINUTE * 60;
        /// How long a connection stays open if it has no request, or if its client does not read the response
        idle_timeout: Duration = SECOND * 75, in MILLISECOND * 100..=MINUTE * 60;
    }
}

plain!(List: HostNames => |names| names.0.clone());

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
        names.split().map(name).collect::<Result<_, _>>().map(Self)
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

impl HttpConfig {
    /// How long browsers stay on TLS; none: there is no such header.
    #[must_use]
    pub fn strict_transport(&self) -> Option<Duration> {
        (self.is_encrypted() && !self.hsts_max_age.is_zero()).then_some(self.hsts_max_age)
    }

    /// Whether clients connect over TLS, wherever it ends.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.tls_certificate.is_some() || self.tls_at_proxy
    }

    /// Checks the rules that involve several settings.
    pub fn check(&self, require: &mut impl FnMut(bool, &str)) {
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
            self.management_listen
                .is_none_or(|address| address.port() == 0 || address != self.listen),
            "http.management_listen: must differ from http.listen",
        );
    }
}

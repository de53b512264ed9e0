//! The settings of the HTTP edge.

use std::sync::Arc;
use std::time::Duration;

use bounded_http::Tls;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::concurrency_limit::BoundMetrics;
use super::config::HttpConfig;
use super::cookies::Cookies;
use super::hosts::Hosts;
use crate::access::accounts::Accounts;
use crate::access::challenge::Challenge;
use crate::access::identity::Verifier;
use crate::access::limits::Networks;
use crate::access::security_events::SecurityEvents;
use crate::access::token_throttle::GuessConfig;
use crate::domain::Redeemers;
use crate::sale::allow_list::AllowListConfig;

/// How requests are authenticated.
#[derive(Clone, Default)]
pub enum Auth {
    /// The request names the user and is believed: for use behind a gateway, or for local use.
    #[default]
    Trusted,
    /// A verified bearer token names the user.
    Jwt(Arc<Verifier>),
    /// The cookie of a session names the account.
    Sessions(Arc<Accounts>, Cookies),
}

/// How payments are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PaymentMode {
    /// Simulated: no money moves.
    #[default]
    Simulated,
    /// Refused: campaigns with a price are not sold.
    Refused,
}

/// Settings of the HTTP edge.
#[derive(Clone)]
pub struct Settings {
    /// How requests are authenticated.
    pub auth: Auth,
    /// The challenge that a participation has to pass.
    pub challenge: Challenge,
    /// Certificate and key; none: connections are not encrypted.
    pub tls: Option<Tls>,
    /// `max-age` of `Strict-Transport-Security`; none: the header is not sent.
    pub strict_transport: Option<Duration>,
    /// The hosts that the service accepts.
    pub hosts: Hosts,
    /// The admin token; none: the admin API takes no such token.
    pub admin_token: Option<SecretString>,
    /// The previous admin token, which is also accepted while the token is replaced.
    pub admin_token_previous: Option<SecretString>,
    /// How wrong admin tokens are throttled.
    pub guesses: GuessConfig,
    /// Receives security events.
    pub security: SecurityEvents,
    /// Proxies that are trusted to name the client.
    pub proxies: Networks,
    /// Counts what the bounds below refuse.
    pub bound_metrics: BoundMetrics,
    /// Largest request head, in bytes.
    pub header_bytes_max: usize,
    /// Most headers of a request.
    pub headers_max: usize,
    /// Largest request body, in bytes.
    pub body_bytes_max: usize,
    /// Most connections; further ones are answered and closed.
    pub connections_max: usize,
    /// Most connections of one address; further ones are answered and closed.
    pub address_connections_max: usize,
    /// Longest time until a request head is complete.
    pub head_timeout: Duration,
    /// Longest time until a request body is complete.
    pub body_timeout: Duration,
    /// Longest time until a request is answered; then it gets 503.
    pub request_timeout: Duration,
    /// The same for the import of an allow list, which takes longest.
    pub import_timeout: Duration,
    /// Most concurrent requests; further ones get 503.
    pub concurrent_requests_max: usize,
    /// Most pending bodies, which did not arrive with their head; further ones get 503.
    pub pending_bodies_max: usize,
    /// Most pending bodies of one address.
    pub address_pending_bodies_max: usize,
    /// Most live streams; further ones get 503.
    pub concurrent_streams_max: usize,
    /// Most live streams of one address.
    pub address_streams_max: usize,
    /// Most pages in transfer; further ones get 503.
    pub concurrent_pages_max: usize,
    /// Most pages in transfer to one address.
    pub address_pages_max: usize,
    /// Longest time that a connection stays open without a request, or without reading its response.
    pub idle_timeout: Duration,
    /// Longest time for requests to finish once the service stops.
    pub drain_timeout: Duration,
    /// Who may redeem coupons.
    pub redeemers: Redeemers,
    /// Parts that run inside this process because none is configured; shown on the dashboard.
    pub embedded_parts: Vec<&'static str>,
    /// How payments are taken; shown on the dashboard.
    pub payments: PaymentMode,
    /// Cancelled when the service stops: no further connections are accepted, live streams end.
    pub stop: CancellationToken,
}

impl Default for Settings {
    fn default() -> Self {
        Self::new(&HttpConfig::default())
    }
}

impl Settings {
    /// Settings with the bounds and times of `[http]`, and defaults for the rest.
    #[must_use]
    pub fn new(http: &HttpConfig) -> Self {
        Self {
            auth: Auth::Trusted,
            challenge: Challenge::default(),
            tls: None,
            strict_transport: http.strict_transport(),
            hosts: Hosts::default(),
            admin_token: None,
            admin_token_previous: None,
            guesses: GuessConfig::default(),
            security: SecurityEvents::default(),
            proxies: http.trusted_proxies.clone(),
            bound_metrics: BoundMetrics::default(),
            header_bytes_max: http.header_bytes_max,
            headers_max: http.headers_max,
            body_bytes_max: http.body_bytes_max,
            connections_max: http.connections_max,
            address_connections_max: http.address_connections_max,
            head_timeout: http.head_timeout,
            body_timeout: http.body_timeout,
            request_timeout: http.request_timeout,
            import_timeout: AllowListConfig::default().import_timeout,
            concurrent_requests_max: http.concurrent_requests_max,
            pending_bodies_max: http.pending_bodies_max,
            address_pending_bodies_max: http.address_pending_bodies_max,
            concurrent_streams_max: http.concurrent_streams_max,
            address_streams_max: http.address_streams_max,
            concurrent_pages_max: http.concurrent_pages_max,
            address_pages_max: http.address_pages_max,
            idle_timeout: http.idle_timeout,
            drain_timeout: Duration::from_secs(15),
            redeemers: Redeemers::default(),
            embedded_parts: Vec::new(),
            payments: PaymentMode::default(),
            stop: CancellationToken::new(),
        }
    }
}

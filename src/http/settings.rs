//! What the edge is told at start, and what of it every request is checked against.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bounded_http::Tls;
use poem::http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use super::config::HttpConfig;
use super::cookies::Cookies;
use super::hosts::Hosts;
use super::per_address::{BoundMetrics, Bounds, PerAddress, Thing};
use super::stream::Beats;
use super::views::StatusView;
use crate::access::accounts::Accounts;
use crate::access::challenge::Challenge;
use crate::access::identity::Verifier;
use crate::access::limits::Networks;
use crate::access::security_events::SecurityEvents;
use crate::access::token_throttle::{GuessConfig, Guesses};
use crate::domain::{AdminToken, Redeemers};
use crate::sale::allow_list::AllowListConfig;

/// How the service learns who is asking.
#[derive(Clone, Debug, Default)]
pub enum Auth {
    /// What the request says is believed: for use behind a gateway, or on one's own machine.
    #[default]
    Trusted,
    /// The subject of a bearer token is believed once the token is verified.
    Jwt(Arc<Verifier>),
    /// The account of a session is believed that a cookie shows.
    Sessions(Arc<Accounts>, Cookies),
}

/// What becomes of payments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TakenPayments {
    /// They are simulated: no money moves.
    #[default]
    Simulated,
    /// None is taken: campaigns with a price are not sold.
    Refused,
}

/// Settings of the HTTP edge.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the service learns who is asking.
    pub auth: Auth,
    /// What taking part takes beside that.
    pub challenge: Challenge,
    /// What connections are encrypted with; none: they are not.
    pub tls: Option<Tls>,
    /// For how long browsers are told to stay on TLS; none: they are not told.
    pub strict_transport: Option<Duration>,
    /// The names by which the service may be asked.
    pub hosts: Hosts,
    /// Opens the admin API; without one it is closed.
    pub admin_token: Option<SecretString>,
    /// The admin token before it, which is accepted, too, while it is replaced.
    pub admin_token_previous: Option<SecretString>,
    /// How guesses of it are slowed down.
    pub guesses: GuessConfig,
    /// Where security events are written.
    pub security: SecurityEvents,
    /// Whom to believe where a request comes from.
    pub proxies: Networks,
    /// Counts what is refused by the bounds below.
    pub bound_metrics: BoundMetrics,
    /// The largest head of a request that is looked at.
    pub header_bytes_max: usize,
    /// Headers of a request that is looked at, at most.
    pub headers_max: usize,
    /// The largest body read.
    pub body_bytes_max: usize,
    /// Connections at once; more are answered and closed.
    pub connections_max: usize,
    /// Connections of one address at once; more are answered and closed.
    pub address_connections_max: usize,
    /// How long the head of a request may take to come.
    pub head_timeout: Duration,
    /// How long the body of a request may take to come.
    pub body_timeout: Duration,
    /// How long an answer may take before the client is told to come back.
    pub request_timeout: Duration,
    /// The same for an import, which takes longer than anything else.
    pub import_timeout: Duration,
    /// Requests worked on at once; more are told to come back.
    pub concurrent_requests_max: usize,
    /// Bodies at once that have not come with their head; more are told to come back.
    pub pending_bodies_max: usize,
    /// Such bodies of one address.
    pub address_pending_bodies_max: usize,
    /// Live streams open at once; more are told to come back.
    pub concurrent_streams_max: usize,
    /// Live streams of one address.
    pub address_streams_max: usize,
    /// Pages being sent at once; more are told to come back.
    pub concurrent_pages_max: usize,
    /// Pages being sent to one address.
    pub address_pages_max: usize,
    /// How long a connection is kept that asks nothing, or that does not take its answer.
    pub idle_timeout: Duration,
    /// How long requests may take to finish once the service stops.
    pub drain_timeout: Duration,
    /// Who uses coupons.
    pub redeemers: Redeemers,
    /// Parts that run inside this process because none was configured; shown on the dashboard.
    pub embedded_parts: Vec<&'static str>,
    /// What becomes of payments; shown on the dashboard.
    pub payments: TakenPayments,
    /// Cancelled when the service stops: no more connections are taken, live streams end.
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
            payments: TakenPayments::default(),
            stop: CancellationToken::new(),
        }
    }
}

/// The part of the settings that travels with each request.
pub struct Policy {
    /// How the service learns who is asking.
    pub auth: Auth,
    /// The admin tokens.
    pub admin_tokens: AdminTokens,
    /// Whom to believe where a request comes from.
    pub proxies: Networks,
    /// The names by which the service may be asked.
    pub hosts: Hosts,
    /// `Strict-Transport-Security`; none: answers have none.
    pub strict_transport: Option<HeaderValue>,
    /// Where security events are written.
    pub security: SecurityEvents,
    /// The largest body read.
    pub body_bytes_max: usize,
    /// How long the body of a request may take to come.
    pub body_timeout: Duration,
    /// Places for bodies that are pending.
    pub bodies: PerAddress,
    /// Places for live streams.
    pub streams: PerAddress,
    /// Places for pages being sent.
    pub pages: PerAddress,
    /// The seconds of live streams.
    pub beats: Arc<Beats<StatusView>>,
    /// Ends live streams.
    pub stop: CancellationToken,
}

impl Policy {
    /// Takes from the settings what requests are checked against.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let beside = (&settings.proxies, &settings.bound_metrics);
        Self {
            auth: settings.auth.clone(),
            admin_tokens: AdminTokens::of(settings),
            proxies: settings.proxies.clone(),
            hosts: settings.hosts.clone(),
            strict_transport: settings
                .strict_transport
                .and_then(|age| HeaderValue::from_str(&format!("max-age={}", age.as_secs())).ok()),
            security: settings.security.clone(),
            body_bytes_max: settings.body_bytes_max,
            body_timeout: settings.body_timeout,
            bodies: PerAddress::new(
                Thing::Bodies,
                Bounds {
                    max: settings.pending_bodies_max,
                    address_max: settings.address_pending_bodies_max,
                },
                beside,
            ),
            streams: PerAddress::new(
                Thing::Streams,
                Bounds {
                    max: settings.concurrent_streams_max,
                    address_max: settings.address_streams_max,
                },
                beside,
            ),
            pages: PerAddress::new(
                Thing::Pages,
                Bounds {
                    max: settings.concurrent_pages_max,
                    address_max: settings.address_pages_max,
                },
                beside,
            ),
            beats: Arc::new(Beats::new(settings.concurrent_streams_max)),
            stop: settings.stop.clone(),
        }
    }
}

/// The admin tokens that are accepted, and how often addresses guessed wrong.
pub struct AdminTokens {
    /// Their digests: equal in length for all tokens, so that comparing tells nothing.
    digests: Vec<(AdminToken, [u8; 32])>,
    guesses: Guesses,
}

/// What came of showing a token that may be an admin token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guess {
    /// It is one.
    Right(AdminToken),
    /// It is none.
    Wrong,
    /// It was not looked at: its address guessed wrong too often, and has to wait.
    Wait(Duration),
}

impl AdminTokens {
    fn of(settings: &Settings) -> Self {
        let tokens = [
            (AdminToken::Current, &settings.admin_token),
            (AdminToken::Previous, &settings.admin_token_previous),
        ];
        let digests = tokens.into_iter().filter_map(|(which, token)| {
            let token = token.as_ref()?;
            Some((which, digest(token.expose_secret())))
        });
        Self {
            digests: digests.collect(),
            guesses: Guesses::new(settings.guesses),
        }
    }

    /// Whether there is one at all.
    pub fn is_configured(&self) -> bool {
        !self.digests.is_empty()
    }

    /// Looks at a token that somebody at `address` shows. Where none is configured there is nothing to guess.
    pub fn look_at(&self, token: &str, address: Option<IpAddr>) -> Guess {
        if !self.is_configured() {
            return Guess::Wrong;
        }
        if let Some(wait) = self.guesses.wait(address) {
            return Guess::Wait(wait);
        }
        let shown = digest(token);
        let mut right = None;
        for (which, known) in &self.digests {
            if shown.ct_eq(known).into() {
                right = Some(*which);
            }
        }
        if let Some(which) = right {
            self.guesses.succeeded(address);
            Guess::Right(which)
        } else {
            self.guesses.failed(address);
            Guess::Wrong
        }
    }
}

/// What tokens are compared by.
fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

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
use crate::access::security_events::SecurityEvents;
use crate::access::token_throttle::GuessConfig;
use crate::domain::{Pricing, Redeemers};
use crate::sale::allow_list::AllowListConfig;

/// How requests are authenticated.
#[derive(Clone, Default)]
pub enum Auth {
    /// The user that the request names is trusted: for use behind a gateway, or for local use.
    #[default]
    Trusted,
    /// A verified bearer token names the user.
    Jwt(Arc<Verifier>),
    /// The cookie of a session names the account.
    Sessions(Arc<Accounts>, Cookies),
}

/// Settings of the HTTP edge.
#[derive(Clone)]
pub struct Settings {
    /// The section `[http]`: bounds, times and trusted proxies.
    pub http: HttpConfig,
    /// How requests are authenticated.
    pub auth: Auth,
    /// The challenge that a participation has to pass.
    pub challenge: Challenge,
    /// Certificate and key; none: connections are not encrypted.
    pub tls: Option<Tls>,
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
    /// Counts what the bounds refuse.
    pub bound_metrics: BoundMetrics,
    /// Longest time until an import of an allow list is answered, which takes longest; then it gets 503.
    pub import_timeout: Duration,
    /// Longest time for requests to finish once the service stops.
    pub drain_timeout: Duration,
    /// Whether it is kept where events were published (`relay.keep_offsets`).
    pub keeps_offsets: bool,
    /// Who may redeem coupons.
    pub redeemers: Redeemers,
    /// Parts that run inside this process because none is configured; shown on the dashboard.
    pub embedded_parts: Vec<&'static str>,
    /// Whether campaigns with a price are sold, for simulated payments; shown on the dashboard.
    pub payments: Pricing,
    /// Cancelled when the service stops: no further connections are accepted, live streams end.
    pub stop: CancellationToken,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            http: HttpConfig::default(),
            auth: Auth::default(),
            challenge: Challenge::default(),
            tls: None,
            hosts: Hosts::default(),
            admin_token: None,
            admin_token_previous: None,
            guesses: GuessConfig::default(),
            security: SecurityEvents::default(),
            bound_metrics: BoundMetrics::default(),
            import_timeout: AllowListConfig::default().import_timeout,
            drain_timeout: Duration::from_secs(15),
            keeps_offsets: false,
            redeemers: Redeemers::default(),
            embedded_parts: Vec::new(),
            payments: Pricing::Sold,
            stop: CancellationToken::new(),
        }
    }
}

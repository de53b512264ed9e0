//! The policy: the settings and limits that every request is checked against.

use std::sync::Arc;
use std::time::Duration;

use poem::http::HeaderValue;
use tokio_util::sync::CancellationToken;

use super::admin_tokens::AdminTokens;
use super::concurrency_limit::{Bounds, ConcurrencyLimit, Limited};
use super::cors::Cors;
use super::hosts::Hosts;
use super::settings::{Auth, Settings};
use super::shared_reads::SharedReads;
use super::views::StatusView;
use crate::access::limits::Networks;
use crate::access::security_events::SecurityEvents;
use crate::parts::store::StoreError;

/// The reads of statuses that live streams share.
pub type StatusReads = SharedReads<StatusView, Arc<StoreError>>;

/// The settings and limits that requests are checked against.
pub struct Policy {
    /// How requests are authenticated.
    pub auth: Auth,
    /// The accepted admin tokens.
    pub admin_tokens: AdminTokens,
    /// Proxies that are trusted to name the client.
    pub proxies: Networks,
    /// The hosts that the service accepts.
    pub hosts: Hosts,
    /// What pages of other origins may do.
    pub cors: Cors,
    /// `Strict-Transport-Security`; none: the header is not sent.
    pub strict_transport: Option<HeaderValue>,
    /// Receives security events.
    pub security: SecurityEvents,
    /// Largest request body, in bytes.
    pub body_bytes_max: usize,
    /// Longest time until a request body is complete.
    pub body_timeout: Duration,
    /// Limits pending bodies.
    pub bodies: ConcurrencyLimit,
    /// Limits live streams.
    pub streams: ConcurrencyLimit,
    /// Limits pages in transfer.
    pub pages: ConcurrencyLimit,
    /// The status reads that live streams share.
    pub status_reads: Arc<StatusReads>,
    /// Ends live streams.
    pub stop: CancellationToken,
}

impl Policy {
    /// Makes the policy of these settings.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let beside = (&settings.http.trusted_proxies, &settings.bound_metrics);
        let limit = |limited, max, address_max| {
            ConcurrencyLimit::new(limited, Bounds { max, address_max }, beside)
        };
        Self {
            auth: settings.auth.clone(),
            admin_tokens: AdminTokens::of(settings),
            proxies: settings.http.trusted_proxies.clone(),
            hosts: settings.hosts.clone(),
            cors: Cors::of(&settings.http, &settings.auth),
            strict_transport: settings
                .http
                .strict_transport()
                .and_then(|age| HeaderValue::from_str(&format!("max-age={}", age.as_secs())).ok()),
            security: settings.security.clone(),
            body_bytes_max: settings.http.body_bytes_max,
            body_timeout: settings.http.body_timeout,
            bodies: limit(
                Limited::Bodies,
                settings.http.pending_bodies_max,
                settings.http.address_pending_bodies_max,
            ),
            streams: limit(
                Limited::Streams,
                settings.http.concurrent_streams_max,
                settings.http.address_streams_max,
            ),
            pages: limit(
                Limited::Pages,
                settings.http.concurrent_pages_max,
                settings.http.address_pages_max,
            ),
            status_reads: Arc::new(SharedReads::new(settings.http.concurrent_streams_max)),
            stop: settings.stop.clone(),
        }
    }
}

//! The outermost layer of every request and response: request id, overload, bound on concurrency, time limit, panics,
//! problem documents and metrics. One layer, so that one function shows their order.
//!
//! A participation without capacity is rejected here by its path alone: before its body is read, and before any work
//! that a flood could make expensive.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bounded_http::{InvalidHost, OverLimit};
use futures_util::FutureExt;
use poem::http::{HeaderName, HeaderValue, Method, header};
use poem::{Endpoint, Request, Response};
use tokio::sync::Semaphore;
use uuid::Uuid;
use uuid::fmt::Simple;

use super::client_address::{client_address, is_from_proxy};
use super::cors::{CrossOrigin, preflight_response};
use super::files::REVALIDATE;
use super::is_probe;
use super::policy::Policy;
use super::problem::{
    Problem, busy, from_framework, head_too_large, host_not_allowed, kind, unclear_host,
};
use super::request_context::{RequestContext, note_unknown_address};
use super::routes::{Fault, MatchedRoute, RouteEntry, Routes, Target};
use super::settings::Settings;
use crate::access::security_events::{Detail, SecurityEvent};
use crate::domain::CampaignId;
use crate::runtime::telemetry::{HttpMetrics, RequestLabels};
use crate::runtime::trace::{self, Sampling, Traced};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id that is accepted from a client.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Whether a participation in a campaign has capacity.
pub type HasCapacity = Box<dyn Fn(CampaignId) -> bool + Send + Sync>;

/// Rejects a request to the API whose address has used up its rate.
pub type RateLimit = Box<dyn Fn(&Request, Target) -> Option<Problem> + Send + Sync>;

/// The outermost endpoint.
pub struct Edge<E> {
    inner: E,
    policy: Arc<Policy>,
    routes: Routes,
    metrics: HttpMetrics,
    permits: Semaphore,
    request_timeout: Duration,
    import_timeout: Duration,
    header_bytes_max: usize,
    headers_max: usize,
    has_capacity: HasCapacity,
    rate_limit: RateLimit,
}

/// The beginning of the paths of the API.
const API: &str = "/api/";

/// Bytes of a header beside its name and value.
const FIELD_OVERHEAD_BYTES: usize = 4;

/// Counts a request as in progress until it ends, also when its client disconnects.
struct InFlight<'a>(&'a HttpMetrics);

impl<'a> InFlight<'a> {
    fn enter(metrics: &'a HttpMetrics) -> Self {
        metrics.in_flight.inc();
        Self(metrics)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}

/// The end of a request that has no response yet.
enum Stopped {
    /// An error of the handler or of the framework.
    Failed(poem::Error),
    /// A rejection before the handler, or instead of its response.
    Rejected(Problem),
}

impl<E: Endpoint<Output = Response>> Edge<E> {
    /// Puts the edge around the routes.
    pub fn new(
        inner: E,
        policy: Arc<Policy>,
        settings: &Settings,
        routes: Routes,
        metrics: HttpMetrics,
    ) -> Self {
        Self {
            inner,
            policy,
            routes,
            metrics,
            permits: Semaphore::new(settings.http.concurrent_requests_max),
            request_timeout: settings.http.request_timeout,
            import_timeout: settings.import_timeout,
            header_bytes_max: settings.http.header_bytes_max,
            headers_max: settings.http.headers_max,
            has_capacity: Box::new(|_| true),
            rate_limit: Box::new(|_, _| None),
        }
    }

    /// Checks rates before it accepts a request to the API.
    #[must_use]
    pub fn with_rate_limit(mut self, rate_limit: RateLimit) -> Self {
        self.rate_limit = rate_limit;
        self
    }

    /// Checks the capacity before it accepts a participation.
    #[must_use]
    pub fn with_capacity(mut self, has_capacity: HasCapacity) -> Self {
        self.has_capacity = has_capacity;
        self
    }

    /// Rejects a request by its head alone. Probes are answered under any load, because that is when they matter; metrics
    /// and pages are, unless the connection is over the limit.
    fn reject_by_head(
        &self,
        request: &Request,
        target: Target,
        cross_origin: &CrossOrigin,
    ) -> Option<Problem> {
        let headers = request.headers();
        let fields = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD_BYTES);
        let address = request.uri().path_and_query();
        let bytes = fields.sum::<usize>() + address.map_or(0, |address| address.as_str().len());
        if bytes > self.header_bytes_max || headers.len() > self.headers_max {
            return Some(head_too_large());
        }
        if request.data::<InvalidHost>().is_some() {
            return Some(unclear_host());
        }
        let path = request.uri().path();
        if is_probe(path) {
            return None;
        }
        if !self.policy.hosts.allow(request) {
            return Some(self.foreign_host(request));
        }
        if request.data::<OverLimit>().is_some() {
            return Some(busy());
        }
        // A preflight costs no more than its rejection, which the page could not read.
        if !path.starts_with(API) || cross_origin.is_preflight() {
            return None;
        }
        note_unknown_address(request, &self.policy);
        let is_full = || match target {
            Target::Participation(campaign) | Target::SyncParticipation(campaign) => {
                !(self.has_capacity)(campaign)
            }
            Target::AllowList | Target::Change | Target::Other => false,
        };
        if is_full() {
            return Some(busy());
        }
        (self.rate_limit)(request, target)
    }

    /// Rejects a request to a host that the service does not accept.
    fn foreign_host(&self, request: &Request) -> Problem {
        let detail = Detail {
            address: client_address(request, &self.policy.proxies),
            ..Detail::default()
        };
        let security = &self.policy.security;
        security.report(SecurityEvent::HostRefused, &detail);
        host_not_allowed()
    }

    /// The fault of a URL. The path of a participation was parsed already, and it takes no query.
    fn fault(request: &Request, found: MatchedRoute<'_>) -> Option<Fault> {
        let (method, uri) = (request.method(), request.uri());
        let is_checked = uri.query().is_none() && matches!(found.target, Target::Participation(_));
        if is_checked || !uri.path().starts_with(API) {
            return None;
        }
        let Some(route) = found.route else {
            // The router takes an empty segment for a parameter; here it has no path.
            return Some(Fault::ForAll(Problem::not_found("There is no such path.")));
        };
        route.check(method, uri).err()
    }

    /// Handles a request.
    async fn handle(
        &self,
        mut request: Request,
        found: MatchedRoute<'_>,
        id: &HeaderValue,
        traced: Option<&Traced>,
    ) -> Result<Response, Stopped> {
        let fault = match Self::fault(&request, found) {
            Some(Fault::ForAll(problem)) => return Err(Stopped::Rejected(problem)),
            Some(Fault::ForAuthenticated(problem)) => Some(Box::new(problem)),
            None => None,
        };
        request.set_data(RequestContext {
            fault,
            target: found.target,
            id: id.clone(),
            traceparent: traced.map(Traced::traceparent),
            policy: Arc::clone(&self.policy),
        });
        let labels = RequestLabels {
            request_id: id.clone(),
            trace_id: traced.map(Traced::trace_id),
        };
        let _counted = InFlight::enter(&self.metrics);
        labels.scope(self.bounded(request, found.target)).await
    }

    /// The span of a request to the API, if it is traced. Requests rejected by their head are not, since there may be a
    /// flood of them.
    fn span(&self, request: &Request) -> Option<Traced> {
        if !trace::is_on() || !request.uri().path().starts_with(API) {
            return None;
        }
        let sampling = if is_from_proxy(request, &self.policy.proxies) {
            Sampling::BySender
        } else {
            Sampling::ByService
        };
        trace::begin(request.header("traceparent"), sampling, "http.answer")
    }

    /// Runs the handler within the bounds of concurrency and time, and survives its panic.
    async fn bounded(&self, request: Request, target: Target) -> Result<Response, Stopped> {
        let _permit = if request.uri().path().starts_with(API) {
            let permit = self.permits.try_acquire();
            Some(permit.map_err(|_| Stopped::Rejected(busy()))?)
        } else {
            None
        };
        let timeout = if target == Target::AllowList && request.method() == Method::PUT {
            self.import_timeout
        } else {
            self.request_timeout
        };
        // Boxed: each wrapper would otherwise copy the whole future.
        let answer = Box::pin(self.inner.call(request));
        let answer = AssertUnwindSafe(answer).catch_unwind();
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(Ok(response))) => Ok(response),
            Ok(Ok(Err(error))) => Err(Stopped::Failed(error)),
            Ok(Err(panic)) => {
                tracing::error!(panic = panic_text(&panic), "a request panicked");
                Err(Stopped::Rejected(Problem::internal()))
            }
            Err(_) => Err(Stopped::Rejected(Problem::unavailable(
                kind::TIMEOUT,
                "The response took too long; the request may still take effect.",
            ))),
        }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for Edge<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let started = Instant::now();
        let id = request_id(&request);
        let method = request.method().clone();
        let is_api = request.uri().path().starts_with(API);
        let found = self.routes.find(request.uri().path());
        let route = found.route;
        let cross_origin = if is_api {
            self.policy.cors.read(&request)
        } else {
            CrossOrigin::No
        };
        let mut traced = None;
        let rejection = self.reject_by_head(&request, found.target, &cross_origin);
        let result = if let Some(problem) = rejection {
            Err(Stopped::Rejected(problem))
        } else if cross_origin.is_preflight() {
            Ok(preflight_response())
        } else {
            traced = self.span(&request);
            // Boxed, and so not part of the memory of every connection.
            Box::pin(self.handle(request, found, &id, traced.as_ref())).await
        };

        let mut response = match result {
            Ok(response) => response,
            Err(stopped) => {
                let problem = match stopped {
                    Stopped::Failed(error) => {
                        from_framework(&error, route.map(|route| &route.allow))
                    }
                    Stopped::Rejected(problem) => problem,
                };
                problem.into_answer(id.to_str().unwrap_or_default())
            }
        };
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, id);
        if let Some(strict) = &self.policy.strict_transport {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, strict.clone());
        }
        if is_api {
            self.policy.cors.add_to(headers, cross_origin);
        }
        let is_public = route.is_some_and(|route| route.is_public(&method));
        // Without it, a cache may give a response any lifetime, and show old stock.
        let caching = headers.entry(header::CACHE_CONTROL);
        let default = if is_api && is_public {
            REVALIDATE
        } else {
            "no-store"
        };
        caching.or_insert(HeaderValue::from_static(default));
        let status = response.status().as_u16();
        self.routes
            .metrics(route, &method)
            .observe(status, started.elapsed());
        if let Some(traced) = traced {
            end_span(traced, &method, route, status);
        }
        if method == Method::HEAD {
            response.set_body(());
        }
        Ok(response)
    }
}

/// Ends a span, with the names of the semantic conventions for HTTP.
fn end_span(mut traced: Traced, method: &Method, route: Option<&RouteEntry>, status: u16) {
    let route = route.map(|route| route.template.to_string());
    traced.rename(match &route {
        Some(route) => format!("{method} {route}"),
        None => method.to_string(),
    });
    traced.note("http.request.method", method.to_string());
    traced.note("http.response.status_code", i64::from(status));
    if let Some(route) = route {
        traced.note("http.route", route);
    }
    if status >= 500 {
        traced.failed("the service failed");
    }
}

/// The client's request id if it is harmless, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let harmless = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
    };
    if let Some(given) = request.headers().get(REQUEST_ID).filter(harmless) {
        return given.clone();
    }
    let made = Uuid::from_u128(rand::random()).simple();
    let made = made.encode_lower(&mut [0; Simple::LENGTH]).to_owned();
    HeaderValue::try_from(made).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// The text of a panic, for the log.
fn panic_text(panic: &Box<dyn Any + Send>) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without text")
}

#[cfg(test)]
mod tests;

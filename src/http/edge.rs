//! What every request passes on its way in and every answer on its way out: request id, room, bound on
//! concurrency, time limit, panics, problem documents and metrics. One layer, so that the order of
//! these is one function to read.
//!
//! A participation that would find no place is refused here, by its address alone: before its body is
//! read, and before anything is done that a flood could make expensive.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bounded_http::{InvalidHost, OverLimit};
use futures_util::FutureExt;
use poem::http::{HeaderName, HeaderValue, Method, header};
use poem::{Endpoint, PathPattern, Request, Response};
use tokio::sync::Semaphore;
use uuid::Uuid;
use uuid::fmt::Simple;

use super::client_address::{client_address, is_from_proxy};
use super::is_probe;
use super::participation_path::{gated_participation_in, participation_in};
use super::policy::Policy;
use super::problem::{
    MatchedRoute, Problem, busy, from_framework, head_too_large, host_not_allowed, unclear_host,
};
use super::request_context::{RequestContext, note_unknown_address};
use super::routes::{Fault, RouteEntry, Routes};
use super::settings::Settings;
use crate::access::security_events::{Detail, SecurityEvent};
use crate::domain::CampaignId;
use crate::runtime::telemetry::{Answering, HttpMetrics};
use crate::runtime::trace::{self, Sampling, Traced};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id that is taken over from a client.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Says whether a participation in a campaign would find a place.
pub type Room = Box<dyn Fn(CampaignId) -> bool + Send + Sync>;

/// Refuses a request to the API by the rate of where it comes from.
pub type RatesRefuse = Box<dyn Fn(&Request) -> Option<Problem> + Send + Sync>;

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
    room: Room,
    rates_refuse: RatesRefuse,
}

/// Where the API begins.
const API: &str = "/api/";
/// How the addresses of lists end.
const ALLOW_LIST: &str = "/allow-list";
/// What the router calls the first of them.
const PARTICIPATION_PATTERN: &str = "/api/campaigns/:param0/participation";

/// What a header takes beside its name and value.
const FIELD_OVERHEAD_BYTES: usize = 4;

/// Counts a request as worked on for as long as it is, also when its client goes away.
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

/// How a request ended that has no response yet.
enum Stopped {
    /// By an error of ours or of the framework.
    Failed(poem::Error),
    /// Before or instead of an answer of its handler.
    Cut(Problem),
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
            permits: Semaphore::new(settings.concurrent_requests_max),
            request_timeout: settings.request_timeout,
            import_timeout: settings.import_timeout,
            header_bytes_max: settings.header_bytes_max,
            headers_max: settings.headers_max,
            room: Box::new(|_| true),
            rates_refuse: Box::new(|_| None),
        }
    }

    /// Asks for rates before it lets a request to the API in.
    #[must_use]
    pub fn with_rates(mut self, rates_refuse: RatesRefuse) -> Self {
        self.rates_refuse = rates_refuse;
        self
    }

    /// Asks for room before it lets a participation in.
    #[must_use]
    pub fn with_room(mut self, room: Room) -> Self {
        self.room = room;
        self
    }

    /// What is refused by its head alone. Probes and metrics are answered however busy the API is: that
    /// is when they matter.
    fn refused_at_once(&self, request: &Request) -> Option<Problem> {
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
        if !is_probe(path) && !self.policy.hosts.allow(request) {
            return Some(self.foreign_host(request));
        }
        let full = || participation_in(path).is_some_and(|campaign| !(self.room)(campaign));
        if !path.starts_with(API) {
            return None;
        }
        note_unknown_address(request, &self.policy);
        if request.data::<OverLimit>().is_some() || full() {
            return Some(busy());
        }
        (self.rates_refuse)(request)
    }

    /// Refuses a request by a name that the service does not have.
    fn foreign_host(&self, request: &Request) -> Problem {
        let detail = Detail {
            address: client_address(request, &self.policy.proxies),
            ..Detail::default()
        };
        let security = &self.policy.security;
        security.report(SecurityEvent::HostRefused, &detail);
        host_not_allowed()
    }

    /// What is wrong with the address. Most requests are participations, whose addresses were read already.
    fn fault(&self, request: &Request) -> Option<Fault> {
        let (method, uri) = (request.method(), request.uri());
        let is_read = uri.query().is_none()
            && method == Method::POST
            && gated_participation_in(uri.path()).is_some();
        if is_read || !uri.path().starts_with(API) {
            return None;
        }
        self.routes.check(method, uri).err()
    }

    /// The route of a request that left no pattern behind. Most of those are participations, which do not
    /// pass the router, and of those there may be very many.
    fn route_of(&self, path: &str) -> Option<&RouteEntry> {
        if gated_participation_in(path).is_some() {
            self.routes.by_pattern(PARTICIPATION_PATTERN)
        } else {
            self.routes.by_path(path)
        }
    }

    /// Works on a request.
    async fn let_in(
        &self,
        mut request: Request,
        id: &HeaderValue,
        traced: Option<&Traced>,
    ) -> Result<Response, Stopped> {
        let fault = match self.fault(&request) {
            Some(Fault::ForAll(problem)) => return Err(Stopped::Cut(problem)),
            Some(Fault::ForAuthenticated(problem)) => Some(Box::new(problem)),
            None => None,
        };
        request.set_data(RequestContext {
            fault,
            id: id.clone(),
            traceparent: traced.map(Traced::traceparent),
            policy: Arc::clone(&self.policy),
        });
        let answering = Answering {
            request_id: id.clone(),
            trace_id: traced.map(Traced::trace_id),
        };
        let _counted = InFlight::enter(&self.metrics);
        answering.scope(self.bounded(request)).await
    }

    /// The span of a request of the API, if that is traced. Floods that are refused at once are not.
    fn begun(&self, request: &Request) -> Option<Traced> {
        if !trace::is_on() || !request.uri().path().starts_with(API) {
            return None;
        }
        let sampling = if is_from_proxy(request, &self.policy.proxies) {
            Sampling::Theirs
        } else {
            Sampling::Ours
        };
        trace::begin(request.header("traceparent"), sampling, "http.answer")
    }

    /// How long a request may take: a file of millions of lines longer than all others.
    fn patience_with(&self, request: &Request) -> Duration {
        let is_import =
            request.method() == Method::PUT && request.uri().path().ends_with(ALLOW_LIST);
        if is_import {
            self.import_timeout
        } else {
            self.request_timeout
        }
    }

    /// Runs the handler within the bounds of concurrency and time, and survives its panic.
    async fn bounded(&self, request: Request) -> Result<Response, Stopped> {
        let _permit = if request.uri().path().starts_with(API) {
            let permit = self.permits.try_acquire();
            Some(permit.map_err(|_| Stopped::Cut(busy()))?)
        } else {
            None
        };
        let patience = self.patience_with(&request);
        // On the heap: what is put around it would move all of it, each time.
        let answer = Box::pin(self.inner.call(request));
        let answer = AssertUnwindSafe(answer).catch_unwind();
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(Ok(response))) => Ok(response),
            Ok(Ok(Err(error))) => Err(Stopped::Failed(error)),
            Ok(Err(panic)) => {
                tracing::error!(panic = panic_text(&panic), "answer the request");
                Err(Stopped::Cut(Problem::internal()))
            }
            Err(_) => Err(Stopped::Cut(Problem::unavailable(
                "TIMEOUT",
                "The answer took too long; what was asked for may still happen.",
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
        let path = request.uri().clone();
        let mut traced = None;
        let result = if let Some(problem) = self.refused_at_once(&request) {
            Err(Stopped::Cut(problem))
        } else {
            traced = self.begun(&request);
            // On the heap, and so no part of every connection, idle or refused.
            Box::pin(self.let_in(request, &id, traced.as_ref())).await
        };

        let pattern = match &result {
            Ok(response) => response.data::<PathPattern>(),
            Err(Stopped::Failed(error)) => error.data::<PathPattern>(),
            Err(Stopped::Cut(_)) => None,
        };
        // A participation left no pattern behind, nor did a request that was cut off.
        let route = match pattern {
            Some(pattern) => self.routes.by_pattern(&pattern.0),
            None => self.route_of(path.path()),
        };
        let mut response = match result {
            Ok(response) => response,
            Err(stopped) => {
                let place = route.map_or_else(MatchedRoute::default, |route| MatchedRoute {
                    template: Some(&route.template),
                    allow: Some(&route.allow),
                });
                let problem = match stopped {
                    Stopped::Failed(error) => from_framework(&error, place),
                    Stopped::Cut(problem) => problem,
                };
                problem.into_answer(id.to_str().unwrap_or_default())
            }
        };
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, id);
        if let Some(strict) = &self.policy.strict_transport {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, strict.clone());
        }
        let is_public = route.is_some_and(|route| route.is_public(&method));
        if path.path().starts_with(API) && !is_public {
            let caching = headers.entry(header::CACHE_CONTROL);
            caching.or_insert(HeaderValue::from_static("no-store"));
        }
        let status = response.status().as_u16();
        self.routes
            .metrics(route, &method)
            .observe(status, started.elapsed());
        if let Some(traced) = traced {
            ended(traced, &method, route, status);
        }
        if method == Method::HEAD {
            response.set_body(());
        }
        Ok(response)
    }
}

/// Ends it, by the names of the semantic conventions for HTTP.
fn ended(mut traced: Traced, method: &Method, route: Option<&RouteEntry>, status: u16) {
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
        traced.failed("the answer is a failure of the service");
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

/// What a panic said, for the log.
fn panic_text(panic: &Box<dyn Any + Send>) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without text")
}

#[cfg(test)]
mod tests;

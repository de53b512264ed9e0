//! What every request passes on its way in and every answer on its way out: request id, bound on
//! concurrency, time limit, panics, problem documents and metrics. One layer, so that the order of
//! these is one function to read.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use poem::http::{HeaderName, HeaderValue, Method};
use poem::{Endpoint, PathPattern, Request, Response};
use tokio::sync::Semaphore;
use tracing::Instrument;

use super::json::BodyBytesMax;
use super::problem::{Place, Problem, busy, from_framework};
use super::routes::Routes;
use super::settings::{Policy, Settings};
use crate::telemetry::HttpMetrics;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id that is taken over from a client.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// The outermost endpoint.
pub struct Edge<E> {
    inner: E,
    policy: Arc<Policy>,
    routes: Routes,
    metrics: HttpMetrics,
    permits: Semaphore,
    request_timeout: Duration,
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
        }
    }

    /// Runs the handler within the bounds of concurrency and time, and survives its panic.
    async fn bounded(&self, request: Request) -> Result<Response, Stopped> {
        // Probes and metrics are answered however busy the API is: that is when they matter.
        let _permit = if request.uri().path().starts_with("/api/") {
            let permit = self.permits.try_acquire();
            Some(permit.map_err(|_| Stopped::Cut(busy()))?)
        } else {
            None
        };
        let answer = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        match tokio::time::timeout(self.request_timeout, answer).await {
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

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let started = Instant::now();
        let id = request_id(&request);
        let method = request.method().clone();
        let path = request.uri().clone();
        request.set_data(Arc::clone(&self.policy));
        request.set_data(BodyBytesMax(self.policy.body_bytes_max));
        let span = tracing::info_span!("http.answer", request.id = id.to_str().unwrap_or_default());

        self.metrics.in_flight.inc();
        let result = self.bounded(request).instrument(span).await;
        self.metrics.in_flight.dec();

        let pattern = match &result {
            Ok(response) => response.data::<PathPattern>(),
            Err(Stopped::Failed(error)) => error.data::<PathPattern>(),
            Err(Stopped::Cut(_)) => None,
        };
        // A request that was cut off left no pattern behind.
        let route = match pattern {
            Some(pattern) => self.routes.by_pattern(&pattern.0),
            None => self.routes.by_path(path.path()),
        };
        let mut response = match result {
            Ok(response) => response,
            Err(stopped) => {
                let place = route.map_or_else(Place::default, |route| Place {
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
        response.headers_mut().insert(REQUEST_ID, id);
        let status = response.status().as_u16();
        self.routes
            .metrics(route, &method)
            .observe(status, started.elapsed());
        if method == Method::HEAD {
            response.set_body(());
        }
        Ok(response)
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
    let made = format!("{:032x}", rand::random::<u128>());
    HeaderValue::from_str(&made).unwrap_or_else(|_| HeaderValue::from_static("-"))
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

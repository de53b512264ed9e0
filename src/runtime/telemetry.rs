//! The log subscriber and the metrics registry.
//!
//! Owners create their metrics and register them here. This module owns those of the HTTP edge, because tests create
//! the edge several times and the registry once.

mod lines;

use std::error::Error;
use std::fmt;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::lines::Lines;
pub use self::lines::RequestLabels;
use crate::domain::metric;
use crate::domain::words::words;
use crate::runtime::metrics::RegisterMetric;
use crate::runtime::trace;

/// Upper bounds in seconds. The lower half resolves a warm answer, the upper half an overload; the
/// last finite one is the default request time-out.
const DURATION_BUCKETS: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

words! {
    /// How log lines are written.
    #[derive(Default)]
    pub enum LogFormat {
        /// For people.
        #[default]
        Text = "text",
        /// For collectors: one JSON object a line.
        Json = "json",
    }
}

/// The log subscriber could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not have the form `target=level,…`.
    #[error("read the log filter")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Another subscriber is already installed.
    #[error("start the log subscriber")]
    Subscriber(#[source] tracing_subscriber::util::TryInitError),
    /// A metric could not be written.
    #[error("write the metrics")]
    Encode(#[source] fmt::Error),
}

/// An error with its sources, as a field of a log line.
#[must_use]
pub fn cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    error
}

/// Sends log lines to standard error: standard output belongs to what commands print.
pub fn subscribe(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(filter).map_err(TelemetryError::Filter)?;
    let registry = tracing_subscriber::registry().with(filter);
    let ansi = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(ansi);
    match format {
        LogFormat::Text => registry
            .with(layer.map_event_format(|format| Lines::text(format.with_ansi(ansi))))
            .try_init(),
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true);
            registry
                .with(layer.map_event_format(Lines::json))
                .try_init()
        }
    }
    .map_err(TelemetryError::Subscriber)
}

/// The metrics registry of one process, and the metrics of its HTTP edge.
pub struct Telemetry {
    /// Where every owner registers its metrics once, at start.
    pub registry: Mutex<Registry>,
    /// Counted by the HTTP edge.
    pub http: HttpMetrics,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl Telemetry {
    /// A registry with the metrics of the HTTP edge and of traces.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let http = HttpMetrics::register(&mut registry);
        trace::register(&mut registry);
        Self {
            registry: Mutex::new(registry),
            http,
        }
    }

    /// Lets an owner register its metrics.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        register(&mut registry)
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> Result<String, TelemetryError> {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::with_capacity(16 * 1024);
        prometheus_client::encoding::text::encode(&mut text, &registry)
            .map_err(TelemetryError::Encode)?;
        Ok(text)
    }
}

/// A route and a method of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    /// The template, never the requested path: paths are unbounded.
    route: Arc<str>,
    method: &'static str,
}

/// A route, a method of it and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    route: Arc<str>,
    method: &'static str,
    status: &'static str,
}

type Durations = Family<RouteLabels, Histogram, fn() -> Histogram>;

/// Metrics of the HTTP edge.
#[derive(Clone)]
pub struct HttpMetrics {
    requests: Family<AnswerLabels, Counter>,
    durations: Durations,
    /// Requests in progress.
    pub in_flight: Gauge,
}

impl HttpMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)),
            in_flight: Gauge::default(),
        };
        registry.add(&metric::HTTP_REQUESTS, metrics.requests.clone());
        registry.add(
            &metric::HTTP_REQUEST_DURATION_SECONDS,
            metrics.durations.clone(),
        );
        registry.add(&metric::HTTP_REQUESTS_IN_FLIGHT, metrics.in_flight.clone());
        metrics
    }

    /// The handles of one route and method, fetched once at start, so that counting a request needs no lookup.
    #[must_use]
    pub fn route(&self, route: &Arc<str>, method: &'static str) -> RouteMetrics {
        let answers = ["2xx", "3xx", "4xx", "5xx"].map(|status| {
            self.requests.get_or_create_owned(&AnswerLabels {
                route: Arc::clone(route),
                method,
                status,
            })
        });
        let duration = self.durations.get_or_create_owned(&RouteLabels {
            route: Arc::clone(route),
            method,
        });
        RouteMetrics { answers, duration }
    }
}

/// The metrics of one route and method.
#[derive(Clone)]
pub struct RouteMetrics {
    /// By class of status, from 2xx to 5xx; this service answers with no 1xx.
    answers: [Counter; 4],
    duration: Histogram,
}

impl RouteMetrics {
    /// Counts one answer with this status code, `took` after its request arrived.
    pub fn observe(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).checked_sub(2);
        if let Some(counter) = class.and_then(|class| self.answers.get(class)) {
            counter.inc();
        }
        self.duration.observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_method_and_class() {
        let telemetry = Telemetry::new();
        let route: Arc<str> = "/api/campaigns/{id}".into();
        let metrics = telemetry.http.route(&route, "GET");
        metrics.observe(404, Duration::from_millis(3));
        let text = telemetry.encode().unwrap();
        assert!(text.contains(
            r#"http_requests_total{route="/api/campaigns/{id}",method="GET",status="4xx"} 1"#
        ));
        assert!(text.contains(
            r#"http_request_duration_seconds_bucket{le="0.005",route="/api/campaigns/{id}",method="GET"} 1"#
        ));
    }

    #[test]
    fn metrics_have_the_names_of_their_declarations() {
        let telemetry = Telemetry::new();
        let counter = Counter::<u64>::default();
        telemetry.register(|registry| registry.add(&metric::EXPORT_ROWS, counter.clone()));
        let gauge = Gauge::<i64>::default();
        telemetry.register(|registry| registry.add(&metric::RELAY_OLDEST_AGE_SECONDS, gauge));
        counter.inc();
        let text = telemetry.encode().unwrap();
        assert!(text.contains("firstcome_export_rows_total 1"), "{text}");
        assert!(
            text.contains("firstcome_relay_oldest_age_seconds 0"),
            "{text}"
        );
    }

    #[test]
    fn a_wrong_log_filter_is_an_error() {
        assert!(matches!(
            subscribe(LogFormat::Text, "firstcome=loud"),
            Err(TelemetryError::Filter(_))
        ));
    }
}

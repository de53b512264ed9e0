//! Traces (`OpenTelemetry`): a participation as one trace, from its request through gate and commit, the
//! outbox and the relay, to the consumers. Whether a request is traced is decided once, when it arrives; then the trace
//! follows the event as its W3C `traceparent`. Without a trace the cost is one check of a flag, and nothing waits for a
//! span.
//!
//! Like the log, there is one for the process: [`Traces::start`] installs it.

mod export;
mod parent;

use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use opentelemetry::trace::{
    Span as _, SpanBuilder, Status, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span,
};
use prometheus_client::registry::Registry;
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::Handle;

pub use opentelemetry::trace::SpanKind;

use self::export::{Counts, Sender};
use crate::runtime::settings::settings;
use crate::runtime::web;

/// Capacity of the queue of spans to export; more are dropped.
const QUEUE_SPANS_MAX: usize = 8_192;
const EXPORT_SPANS_MAX: usize = 512;
/// Interval of exports.
const EXPORT_PAUSE: Duration = Duration::from_secs(1);

static TRACED: OnceLock<Sampled> = OnceLock::new();
static COUNTS: LazyLock<Counts> = LazyLock::new(Counts::default);

struct Sampled {
    tracer: SdkTracer,
    share: f64,
}

settings! {
    /// `[traces]`: where spans are sent.
    TraceConfig in "traces" {
        /// Receiver of OTLP over HTTP (protobuf): `http://127.0.0.1:4318/v1/traces`, or `https://…`. Without one there
        /// are no traces
        endpoint: Option<String> = None;
        /// Request headers for the receiver: `name=value,name=value`
        headers: Option<SecretString> = None;
        /// Fraction of requests that are traced; a `traceparent` from `http.trusted_proxies` overrides it
        sample: f64 = 0.01, in 0.0..=1.0;
        /// How long one export may take
        timeout: Duration = Duration::from_secs(5), in Duration::from_millis(100)..=Duration::from_secs(60);
        /// Name of the service in traces
        service_name: String = "firstcome".to_owned();
    }
}

impl TraceConfig {
    /// Checks the rules that involve several settings.
    pub fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            self.endpoint
                .as_ref()
                .is_none_or(|endpoint| web::address(endpoint).is_some()),
            "traces.endpoint: must be the address of a receiver of OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces",
        );
        require(
            (1..=100).contains(&self.service_name.len()),
            "traces.service_name: must have between 1 and 100 bytes",
        );
        if let Some(headers) = &self.headers {
            let text = headers.expose_secret();
            require(
                pairs(text).count() == text.split(',').count()
                    && pairs(text).all(|(name, value)| is_header(&name, &value)),
                "traces.headers: must be NAME=VALUE, separated by commas",
            );
        }
    }
}

fn is_header(name: &str, value: &str) -> bool {
    hyper::header::HeaderName::try_from(name).is_ok()
        && hyper::header::HeaderValue::try_from(value).is_ok()
}

/// Traces cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// TLS cannot be set up.
    #[error("set up TLS for traces")]
    Tls(#[source] rustls::Error),
    /// The exporter does not accept its settings.
    #[error("set up the export of traces")]
    Exporter(#[source] ExporterBuildError),
    /// Another subscriber of traces exists.
    #[error("start traces: they have been started before")]
    Twice,
}

/// The traces of this process, for as long as it runs.
pub struct Traces {
    provider: SdkTracerProvider,
}

/// Registers the metrics of exports.
pub fn register(registry: &mut Registry) {
    COUNTS.register(registry);
}

impl Traces {
    /// Starts to trace; exports run on `runtime`, started by a thread of their own. None: no endpoint is configured.
    pub fn start(config: &TraceConfig, runtime: Handle) -> Result<Option<Self>, TraceError> {
        let Some(endpoint) = config.endpoint.as_deref() else {
            return Ok(None);
        };
        let sender = Sender::new(runtime, config.timeout, COUNTS.clone());
        let sender = sender.map_err(TraceError::Tls)?;
        let headers = config.headers.as_ref().map(ExposeSecret::expose_secret);
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_http_client(sender)
            .with_endpoint(endpoint)
            .with_timeout(config.timeout)
            .with_headers(pairs(headers.unwrap_or_default()).collect())
            .build()
            .map_err(TraceError::Exporter)?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_SPANS_MAX)
            .with_max_export_batch_size(EXPORT_SPANS_MAX)
            .with_scheduled_delay(EXPORT_PAUSE)
            .build();
        let resource = Resource::builder_empty()
            .with_service_name(config.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(
                BatchSpanProcessor::builder(exporter)
                    .with_batch_config(batches)
                    .build(),
            )
            // Sampling is decided before a span begins.
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(resource)
            .build();
        let sampled = Sampled {
            tracer: provider.tracer("firstcome"),
            share: config.sample,
        };
        TRACED.set(sampled).map_err(|_| TraceError::Twice)?;
        Ok(Some(Self { provider }))
    }

    /// Exports the queued spans, for at most `within`. It blocks, and needs the runtime of the exports.
    pub fn stop(self, within: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(within) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "not all spans were exported before the end"
            );
        }
    }
}

/// Headers as they are written in the configuration.
pub fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    text.split(',').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    })
}

/// A span of a trace; it ends when it is dropped. Boxed, because many types hold an optional span and few have one.
#[derive(Debug)]
pub struct Traced(Box<Span>);

impl Traced {
    /// The place of this span, for spans that follow from it.
    #[must_use]
    pub fn traceparent(&self) -> String {
        parent::written(self.0.span_context())
    }

    /// The trace, as logs name it.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.0.span_context().trace_id().to_string()
    }

    /// Sets the name.
    pub fn rename(&mut self, name: String) {
        self.0.update_name(name);
    }

    /// Sets an attribute.
    pub fn note(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.set_attribute(KeyValue::new(key, value));
    }

    /// Marks the span as failed.
    pub fn failed(&mut self, how: &'static str) {
        self.0.set_status(Status::error(how));
    }
}

/// Who decides whether a request with a `traceparent` is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Its trusted sender.
    BySender,
    /// This service, by the configured share, as for requests without a trace: the sender is not trusted.
    ByService,
}

/// The span of a request, if it is traced. It belongs to the trace of the request, if the request has one.
#[must_use]
pub fn begin(traceparent: Option<&str>, sampling: Sampling, name: &'static str) -> Option<Traced> {
    let sampled = TRACED.get()?;
    let given = traceparent.and_then(parent::read);
    let is_traced = match (&given, sampling) {
        (Some(given), Sampling::BySender) => given.is_sampled(),
        _ => rand::random::<f64>() < sampled.share,
    };
    match given {
        _ if !is_traced => None,
        Some(given) => Some(sampled.span(&given, name, SpanKind::Server)),
        None => {
            let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Server);
            let root = sampled.tracer.build_with_context(builder, &Context::new());
            Some(Traced(Box::new(root)))
        }
    }
}

/// Whether the service traces at all.
#[must_use]
pub fn is_on() -> bool {
    TRACED.get().is_some()
}

/// A span that follows from another one, if that is traced.
#[must_use]
pub fn follow(traceparent: Option<&str>, name: &'static str, kind: SpanKind) -> Option<Traced> {
    let sampled = TRACED.get()?;
    let given = parent::read(traceparent?)?;
    given.is_sampled().then(|| sampled.span(&given, name, kind))
}

impl Sampled {
    fn span(
        &self,
        given: &opentelemetry::trace::SpanContext,
        name: &'static str,
        kind: SpanKind,
    ) -> Traced {
        let context = Context::new().with_remote_span_context(given.clone());
        let builder = SpanBuilder::from_name(name).with_kind(kind);
        Traced(Box::new(self.tracer.build_with_context(builder, &context)))
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_parsed_as_written() {
        let read: Vec<_> = pairs("authorization=Basic YTpi==, x-scope = shop ,nonsense").collect();
        let expected = [("authorization", "Basic YTpi=="), ("x-scope", "shop")];
        assert_eq!(
            read,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn no_spans_are_recorded_before_tracing_starts() {
        let sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(begin(Some(sampled), Sampling::BySender, "request").is_none());
        assert!(begin(None, Sampling::ByService, "request").is_none());
        assert!(follow(Some(sampled), "followed", SpanKind::Internal).is_none());
    }
}

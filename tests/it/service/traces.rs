//! A participation is one trace, from its request to the consumer, as an OpenTelemetry collector receives it. A
//! trusted sender or the sampling ratio decides whether a request is traced.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Said;
use opentelemetry_proto::tonic::trace::v1::Span;
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::web::Data;
use poem::{Body, EndpointExt, Request, Route, Server, handler, post};
use prost::Message;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Service, Settings, body};
use super::real::parts;
use super::tokens::with_secret;
use crate::support::until;

/// The trace id of a request that is already traced.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

#[derive(Clone, Default)]
struct Heard {
    spans: Arc<Mutex<Vec<Span>>>,
    services: Arc<Mutex<Vec<String>>>,
    scopes: Arc<Mutex<Vec<String>>>,
}

/// Receives the spans of a service.
struct Collector {
    endpoint: String,
    heard: Heard,
}

#[handler]
async fn take(request: &Request, body: Body, heard: Data<&Heard>) {
    let scope = request.header("x-scope").unwrap_or_default().to_owned();
    heard.scopes.lock().unwrap().push(scope);
    let bytes = body.into_bytes().await.unwrap();
    let export = ExportTraceServiceRequest::decode(bytes).unwrap();
    for of_service in export.resource_spans {
        for attribute in of_service.resource.unwrap().attributes {
            if let (Some(Said::StringValue(name)), "service.name") = (
                attribute.value.and_then(|value| value.value),
                attribute.key.as_str(),
            ) {
                heard.services.lock().unwrap().push(name);
            }
        }
        for of_scope in of_service.scope_spans {
            heard.spans.lock().unwrap().extend(of_scope.spans);
        }
    }
}

impl Collector {
    async fn start() -> Self {
        let heard = Heard::default();
        let acceptor = TcpListener::bind("127.0.0.1:0")
            .into_acceptor()
            .await
            .unwrap();
        let address = acceptor.local_addr()[0]
            .as_socket_addr()
            .unwrap()
            .to_owned();
        let routes = Route::new()
            .at("/v1/traces", post(take))
            .data(heard.clone());
        tokio::spawn(Server::new_with_acceptor(acceptor).run(routes));
        Self {
            endpoint: format!("http://{address}/v1/traces"),
            heard,
        }
    }

    fn spans(&self) -> Vec<Span> {
        self.heard.spans.lock().unwrap().clone()
    }

    /// The spans of the trace that requests here are sent with.
    fn ours(&self) -> Vec<Span> {
        let mut spans = self.spans();
        spans.retain(|span| hex(&span.trace_id) == TRACE);
        spans
    }

    /// Requests of a test come from a trusted proxy.
    fn settings(&self, sample: &str) -> [(&'static str, String); 5] {
        [
            ("FIRSTCOME_HTTP_TRUSTED_PROXIES", "127.0.0.0/8".to_owned()),
            ("FIRSTCOME_TRACES_ENDPOINT", self.endpoint.clone()),
            ("FIRSTCOME_TRACES_SAMPLE", sample.to_owned()),
            ("FIRSTCOME_TRACES_HEADERS", "x-scope=shop".to_owned()),
            ("FIRSTCOME_LOG_FORMAT", "json".to_owned()),
        ]
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn said(span: &Span, key: &str) -> Option<Said> {
    let found = span.attributes.iter().find(|pair| pair.key == key)?;
    found.value.clone()?.value
}

async fn take_part(service: &Service, path: &str, user: u64, flags: &str) -> Value {
    let asked = service
        .post(path)
        .header("traceparent", format!("00-{TRACE}-{CALLER}-{flags}"))
        .json(&json!({ "userId": user }));
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.status(), 201);
    body(answer).await
}

async fn points(service: &Service) -> i64 {
    let campaign =
        json!({ "name": "t", "kind": "points", "totalStock": 50, "reward": { "points": 5 } });
    service.create(campaign).await
}

async fn is_one_trace(settings: Settings<'_>) {
    let folder = TempDir::new().unwrap();
    let collector = Collector::start().await;
    let settings = [settings, &collector.settings("0")].concat();
    let mut service = Service::start(&folder, &settings).await;
    let campaign = points(&service).await;
    let path = format!("/api/campaigns/{campaign}/participation");
    take_part(&service, &path, 7, "01").await;
    until("all of the trace is sent", async || {
        collector.ours().len() >= 5
    })
    .await;
    let spans = collector.ours();
    let named = |name: &str| {
        let found: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
        assert_eq!(found.len(), 1, "{name} in {spans:#?}");
        found[0].clone()
    };
    let answered = named("POST /api/campaigns/{id}/participation");
    assert_eq!(hex(&answered.parent_span_id), CALLER);
    assert_eq!(
        said(&answered, "http.response.status_code"),
        Some(Said::IntValue(201))
    );
    let published = named("relay.publish");
    for part in ["gate.admit", "writer.commit", "relay.publish"] {
        assert_eq!(named(part).parent_span_id, answered.span_id, "{part}");
    }
    assert_eq!(named("consumer.apply").parent_span_id, published.span_id);
    let (admitted, committed) = (named("gate.admit"), named("writer.commit"));
    assert!(admitted.end_time_unix_nano <= committed.start_time_unix_nano);
    assert!(committed.end_time_unix_nano <= answered.end_time_unix_nano);
    assert!(answered.start_time_unix_nano <= admitted.start_time_unix_nano);
    let scopes = collector.heard.scopes.lock().unwrap().clone();
    assert!(scopes.iter().all(|scope| scope == "shop"), "{scopes:?}");
    let services = collector.heard.services.lock().unwrap().clone();
    assert!(services.iter().all(|name| name == "firstcome"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participation_is_one_trace_to_the_consumer_that_applied_it() {
    // Each consumer is a group of its own, and applies all there is.
    let consumers = [("FIRSTCOME_CONSUMERS_ENABLED", "points".to_owned())];
    is_one_trace(&consumers).await;
    let parts = parts().await;
    is_one_trace(&[parts.settings(), &consumers].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_their_sender_does_not_trace_are_not_traced() {
    let folder = TempDir::new().unwrap();
    let collector = Collector::start().await;
    let settings = collector.settings("1");
    let mut service = Service::start(&folder, &settings).await;
    let campaign = points(&service).await;
    let path = format!("/api/campaigns/{campaign}/participation");
    take_part(&service, &path, 7, "00").await;
    // This one comes without a trace and begins one, as each request does.
    assert_eq!(service.take_part(campaign, 8).await.status(), 201);
    let is_applied = |span: &Span| span.name == "consumer.apply";
    until("the other is applied", async || {
        collector.spans().iter().any(is_applied)
    })
    .await;
    service.stop().await;
    assert!(collector.ours().is_empty(), "{:#?}", collector.ours());
    let spans = collector.spans();
    let begun: Vec<&Span> = spans
        .iter()
        .filter(|span| span.name == "POST /api/campaigns/{id}/participation")
        .collect();
    assert_eq!(begun.len(), 1);
    assert!(begun[0].parent_span_id.is_empty());
    let applied = spans.iter().find(|span| is_applied(span)).unwrap();
    assert_eq!(applied.trace_id, begun[0].trace_id);
}

/// It contains no address of a test.
const NO_PROXY: (&str, &str) = ("FIRSTCOME_HTTP_TRUSTED_PROXIES", "192.0.2.1/32");

#[tokio::test(flavor = "multi_thread")]
async fn an_unauthenticated_client_cannot_request_tracing() {
    let folder = TempDir::new().unwrap();
    let collector = Collector::start().await;
    let mut settings = collector.settings("0").to_vec();
    settings.push((NO_PROXY.0, NO_PROXY.1.to_owned()));
    let mut service = Service::start(&folder, &settings).await;
    let campaign = points(&service).await;
    let gate = format!("/api/campaigns/{campaign}/participation");
    let sync = format!("/api/campaigns/{campaign}/participation-sync");
    take_part(&service, &gate, 7, "01").await;
    take_part(&service, &sync, 8, "01").await;
    until("both are granted", async || {
        let granted = async |user: u64| {
            let path = format!("/api/users/{user}/rewards");
            let asked = service.get(&path).header("authorization", user.to_string());
            body(asked.send().await.unwrap()).await["points"] == 5
        };
        granted(7).await && granted(8).await
    })
    .await;
    service.stop().await;
    assert!(collector.spans().is_empty(), "{:#?}", collector.spans());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sampling_ratio_decides_for_traces_of_strangers() {
    let folder = TempDir::new().unwrap();
    let collector = Collector::start().await;
    let mut settings = collector.settings("1").to_vec();
    settings.push((NO_PROXY.0, NO_PROXY.1.to_owned()));
    let service = Service::start(&folder, &settings).await;
    let campaign = points(&service).await;
    let path = format!("/api/campaigns/{campaign}/participation");
    take_part(&service, &path, 7, "00").await;
    // Its parent is the span that its sender named, so that both can find it.
    until("it is traced to its consumer", async || {
        let spans = collector.ours();
        spans.iter().any(|span| span.name == "consumer.apply")
    })
    .await;
    let spans = collector.ours();
    let answered = spans
        .iter()
        .find(|span| span.name == "POST /api/campaigns/{id}/participation");
    assert_eq!(hex(&answered.unwrap().parent_span_id), CALLER);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_collector_delays_no_request() {
    let folder = TempDir::new().unwrap();
    let settings = [
        (
            "FIRSTCOME_TRACES_ENDPOINT",
            "http://127.0.0.1:1/v1/traces".to_owned(),
        ),
        ("FIRSTCOME_TRACES_SAMPLE", "1".to_owned()),
    ];
    let mut service = Service::start(&folder, &settings).await;
    let campaign = points(&service).await;
    for user in 1..=20 {
        assert_eq!(service.take_part(campaign, user).await.status(), 201);
    }
    until("an export has failed", async || {
        let metrics = service.get("/metrics").send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        metrics.contains("firstcome_trace_exports_total{result=\"failed\"}")
    })
    .await;
    assert!(service.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_of_a_traced_request_name_its_trace() {
    let folder = TempDir::new().unwrap();
    let collector = Collector::start().await;
    let debug = ("FIRSTCOME_LOG_FILTER", "info,firstcome=debug".to_owned());
    let settings = [&collector.settings("0")[..], &with_secret(), &[debug]].concat();
    let mut service = Service::start(&folder, &settings).await;
    // The reason of a refused token is logged at level debug.
    let asked = service
        .post("/api/campaigns/1/participation")
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .bearer_auth("no.token.of-ours");
    assert_eq!(asked.json(&json!({})).send().await.unwrap().status(), 401);
    service.stop().await;
    let log = service.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of_trace = lines
        .iter()
        .filter(|line| line["span"]["trace.id"] == TRACE);
    assert!(of_trace.count() > 0, "{log}");
}

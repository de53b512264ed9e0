//! The problems a client gets when it exceeds a bound, on real sockets. Where time matters it is virtual: it
//! advances when nothing else can happen. The bounds themselves are tested in `bounded_http`.

use std::sync::Arc;

use bounded_http::listen;
use poem::{EndpointExt, IntoEndpoint};
use poem_openapi::{Object, OpenApi, OpenApiService};
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::*;
use crate::http::HttpConfig;
use crate::http::campaigns::Plain;
use crate::http::edge::Edge;
use crate::http::fields::{Fields, RequestObject};
use crate::http::json::{Json, JsonRequest};
use crate::http::policy::Policy;
use crate::http::problem::Failure;
use crate::http::routes::Routes;
use crate::runtime::telemetry::Telemetry;

#[derive(Serialize, Object)]
struct Reply {
    text: String,
}

struct Nothing;

impl RequestObject for Nothing {
    const NAME: &'static str = "Nothing";
    const DESCRIPTION: &'static str = "A text that is not used.";

    fn define(fields: &mut Fields) -> Self {
        fields.text(("text", "A text."), 1..=20_000_000).lenient();
        Self
    }
}

type Answer = Result<Json<Reply>, Failure<Plain>>;

struct Probe;

#[allow(clippy::unused_async, reason = "the framework awaits every operation")]
#[OpenApi]
impl Probe {
    #[oai(path = "/api/post", method = "post")]
    async fn post(&self, _body: JsonRequest<Nothing>) -> Answer {
        Ok(Json(Reply {
            text: "done".to_owned(),
        }))
    }

    #[oai(path = "/livez", method = "get")]
    async fn live(&self) -> Answer {
        Ok(Json(Reply {
            text: "up".to_owned(),
        }))
    }
}

struct Served {
    address: std::net::SocketAddr,
    telemetry: Telemetry,
}

fn served(settings: Settings) -> Served {
    let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let telemetry = Telemetry::new();
    let service = OpenApiService::new(Probe, "probe", "1");
    let routes = Routes::new(&service.spec(), &[], &telemetry.http);
    let edge = Edge::new(
        service.into_endpoint().boxed(),
        Arc::new(Policy::of(&settings)),
        &settings,
        routes,
        telemetry.http.clone(),
    );
    #[allow(clippy::disallowed_methods, reason = "the runtime of the test ends it")]
    tokio::spawn(async move { serve(listener, edge, &settings).await });
    Served { address, telemetry }
}

impl Served {
    async fn client(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }
}

struct Client(TcpStream);

/// One response: its status, its head, and its body.
struct Answered {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answered {
    fn rejection(&self) -> (u16, String) {
        let code = self.problem()["code"].as_str().unwrap().to_owned();
        (self.status, code)
    }

    fn problem(&self) -> Value {
        assert!(
            self.head.contains("application/problem+json"),
            "{}",
            self.head
        );
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Client {
    async fn send(&mut self, text: &str) -> &mut Self {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self
    }

    async fn get(&mut self, path: &str) -> Answered {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
            .await
            .answer()
            .await
            .unwrap()
    }

    async fn post(&mut self, headers: &str) -> Answered {
        let body = r#"{"text":"a"}"#;
        self.send(&post(headers, body.len(), body)).await;
        self.answer().await.unwrap()
    }

    /// The next response; none: the connection was closed.
    async fn answer(&mut self) -> Option<Answered> {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(bytes[..end].to_vec())
                    .unwrap()
                    .to_lowercase();
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                if bytes.len() >= end + 4 + length {
                    return Some(Answered {
                        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
                        head,
                        body: bytes[end + 4..].to_vec(),
                    });
                }
            }
            if self.0.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn is_closed(&mut self) -> bool {
        self.0.read_u8().await.is_err()
    }
}

fn post(headers: &str, length: usize, body: &str) -> String {
    format!(
        "POST /api/post HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n{headers}\r\n{body}"
    )
}

fn with_bounds(http: HttpConfig) -> Settings {
    Settings {
        http,
        ..Settings::default()
    }
}

#[tokio::test]
async fn connections_above_the_limit_get_503_and_may_only_probe() {
    let served = served(with_bounds(HttpConfig {
        connections_max: 1,
        ..HttpConfig::default()
    }));
    let mut first = served.client().await;
    assert_eq!(first.post("").await.status, 200);
    let mut second = served.client().await;
    let refused = second.post("").await;
    assert_eq!(refused.rejection(), (503, "BUSY".to_owned()));
    assert!(refused.head.contains("retry-after: "));
    assert!(second.is_closed().await);
    let mut page = served.client().await;
    assert_eq!(page.get("/metrics").await.status, 503, "it is not a probe");
    let mut probe = served.client().await;
    assert_eq!(probe.get("/livez").await.status, 200);
    assert!(
        probe.is_closed().await,
        "an excess connection is closed after one response"
    );
    assert_eq!(
        first.post("").await.status,
        200,
        "the first connection is still served"
    );
    drop(first);
    // The service notices the disconnection some time later.
    while served.client().await.post("").await.status == 503 {}
}

#[tokio::test]
async fn large_heads_get_431() {
    let served = served(with_bounds(HttpConfig {
        header_bytes_max: 4_096,
        headers_max: 8,
        ..HttpConfig::default()
    }));
    let field = |bytes: usize| format!("x: {}\r\n", "y".repeat(bytes));
    assert_eq!(served.client().await.post(&field(3_500)).await.status, 200);
    for over in [field(4_096), "x: y\r\n".repeat(6)] {
        let refused = served.client().await.post(&over).await;
        assert_eq!(refused.rejection(), (431, "HEADERS_TOO_LARGE".to_owned()));
    }
    let address = format!(
        "GET /livez?{} HTTP/1.1\r\nhost: x\r\n\r\n",
        "y".repeat(4_096)
    );
    let refused = served.client().await.send(&address).await.answer().await;
    assert_eq!(refused.unwrap().status, 431);
    // The parser itself rejects a head of more than twice the bound.
    let mut client = served.client().await;
    let cut = client
        .send(&post(&field(10_000), 0, ""))
        .await
        .answer()
        .await;
    assert_eq!(cut.unwrap().status, 431);
    assert!(client.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_body_times_out() {
    let served = served(Settings::default());
    let mut client = served.client().await;
    let began = Instant::now();
    let response = client
        .send(&post("", 100, "{\"te"))
        .await
        .answer()
        .await
        .unwrap();
    assert_eq!(response.rejection(), (408, "REQUEST_TIMEOUT".to_owned()));
    assert!(client.is_closed().await);
    let settings = Settings::default();
    assert!(
        began.elapsed() >= settings.http.body_timeout
            && began.elapsed() < settings.http.request_timeout
    );
}

#[tokio::test]
async fn a_disconnected_client_leaves_nothing_behind() {
    let served = served(with_bounds(HttpConfig {
        connections_max: 1,
        concurrent_requests_max: 1,
        ..HttpConfig::default()
    }));
    for sent in [
        "",
        "POST /api/post HT",
        &post("", 100, ""),
        &post("", 100, "{\"te"),
    ] {
        let mut client = served.client().await;
        client.send(sent).await;
        drop(client);
    }
    // The service notices the disconnections some time later; then the one connection and the one permit are free.
    while served.client().await.post("").await.status == 503 {}
    let figures = served.telemetry.encode().unwrap();
    assert!(figures.contains("http_requests_in_flight 0"), "{figures}");
}

/// These are constant bytes: nothing else checks their lengths and fields.
#[test]
fn responses_to_unread_connections_are_problems() {
    for (response, status, code) in [
        (TOTAL_LIMIT, 503, "BUSY"),
        (ADDRESS_LIMIT, 429, "ADDRESS_LIMIT"),
    ] {
        let text = std::str::from_utf8(response).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")));
        assert!(head.contains(&format!("content-length: {}", body.len())));
        assert!(head.contains("retry-after: 2"));
        let problem: Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["code"], code);
    }
}

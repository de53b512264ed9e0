//! What a client sees of the bounds on connections, heads and slowness, on real sockets. Where time
//! matters it is virtual: it passes when nothing else can happen.

use std::sync::Arc;
use std::time::Duration;

use poem::{EndpointExt, IntoEndpoint};
use poem_openapi::{Object, OpenApi, OpenApiService};
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::http::campaigns::Plain;
use crate::http::edge::Edge;
use crate::http::fields::{Fields, RequestObject};
use crate::http::json::{Json, JsonRequest};
use crate::http::policy::Policy;
use crate::http::problem::Failure;
use crate::http::routes::Routes;
use crate::runtime::telemetry::Telemetry;

#[derive(Serialize, Object)]
struct Wish {
    text: String,
}

struct Nothing;

impl RequestObject for Nothing {
    const NAME: &'static str = "Nothing";
    const DESCRIPTION: &'static str = "A text that is not used.";

    fn define(fields: &mut Fields) -> Self {
        fields.text("text", "A text.", 1..=20_000_000).lenient();
        Self
    }
}

type Answer = Result<Json<Wish>, Failure<Plain>>;

struct Probe;

#[allow(clippy::unused_async, reason = "the framework awaits every operation")]
#[OpenApi]
impl Probe {
    #[oai(path = "/api/say", method = "post")]
    async fn say(&self, _body: JsonRequest<Nothing>) -> Answer {
        Ok(Json(Wish {
            text: "said".to_owned(),
        }))
    }

    /// More than fits into what lies between a client and the service.
    #[oai(path = "/api/flood", method = "get")]
    async fn flood(&self) -> Answer {
        Ok(Json(Wish {
            text: "x".repeat(64 * 1024 * 1024),
        }))
    }

    #[oai(path = "/livez", method = "get")]
    async fn live(&self) -> Answer {
        Ok(Json(Wish {
            text: "up".to_owned(),
        }))
    }
}

struct Served {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    telemetry: Telemetry,
    serving: JoinHandle<io::Result<()>>,
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
    let stop = settings.stop.clone();
    #[allow(clippy::disallowed_methods, reason = "the test is who awaits it")]
    let serving = tokio::spawn(async move { serve(listener, edge, &settings).await });
    Served {
        address,
        stop,
        telemetry,
        serving,
    }
}

impl Served {
    async fn client(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }
}

struct Client(TcpStream);

/// One answer: its status, its head, and its body.
struct Said {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Said {
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

    async fn get(&mut self, path: &str) -> Said {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
            .await
            .answer()
            .await
            .unwrap()
    }

    async fn say(&mut self, headers: &str) -> Said {
        let body = r#"{"text":"a"}"#;
        self.send(&post(headers, body.len(), body)).await;
        self.answer().await.unwrap()
    }

    /// The next answer; none when the connection was closed instead.
    async fn answer(&mut self) -> Option<Said> {
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
                    return Some(Said {
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

    /// Reads so many answers to the end of the last one, which is JSON.
    async fn answers(&mut self, count: usize) {
        let mut bytes = Vec::new();
        let begun = |bytes: &[u8]| {
            bytes
                .windows(12)
                .filter(|line| line == b"HTTP/1.1 200")
                .count()
        };
        while begun(&bytes) < count || !bytes.ends_with(b"}") {
            assert!(self.0.read_buf(&mut bytes).await.unwrap() > 0);
        }
        assert_eq!(begun(&bytes), count);
    }

    async fn is_closed(&mut self) -> bool {
        self.0.read_u8().await.is_err()
    }
}

fn post(headers: &str, length: usize, body: &str) -> String {
    format!(
        "POST /api/say HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n{headers}\r\n{body}"
    )
}

fn of_one_connection() -> Settings {
    Settings {
        connections_max: 1,
        ..Settings::default()
    }
}

#[tokio::test]
async fn who_comes_beyond_the_connections_is_told_and_may_only_probe() {
    let served = served(of_one_connection());
    let mut first = served.client().await;
    assert_eq!(first.say("").await.status, 200);
    let mut second = served.client().await;
    let refused = second.say("").await;
    assert_eq!(
        (refused.status, refused.problem()["code"].as_str()),
        (503, Some("BUSY"))
    );
    assert!(refused.head.contains("retry-after: "));
    assert!(second.is_closed().await);
    let mut probe = served.client().await;
    assert_eq!(probe.get("/livez").await.status, 200);
    assert!(probe.is_closed().await, "and does not stay");
    assert_eq!(first.say("").await.status, 200, "who was there is served");
    drop(first);
    // The service learns in its own time that a seat is free.
    while served.client().await.say("").await.status == 503 {}
}

/// With the line as short as it usually is, the 130th would never get in here, and would wait for a second
/// where somebody accepts.
#[tokio::test]
async fn many_may_come_at_once() {
    let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while waiting.len() < 500 {
        let connecting = tokio::time::timeout(Duration::from_secs(60), TcpStream::connect(address));
        waiting.push(connecting.await.expect("a place in line").unwrap());
    }
}

#[tokio::test]
async fn a_connection_that_is_not_even_read_is_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = Client(
        TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap(),
    );
    let (stream, _) = listener.accept().await.unwrap();
    stream.writable().await.unwrap();
    turn_away(&stream, NO_SEAT);
    drop(stream);
    let told = client.answer().await.unwrap();
    assert_eq!(
        (told.status, told.problem()["code"].as_str()),
        (503, Some("BUSY"))
    );
    assert!(told.head.contains("retry-after: 2"));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn large_heads_are_refused() {
    let served = served(Settings {
        header_bytes_max: 4_096,
        headers_max: 8,
        ..Settings::default()
    });
    let field = |bytes: usize| format!("x: {}\r\n", "y".repeat(bytes));
    assert_eq!(served.client().await.say(&field(3_500)).await.status, 200);
    for over in [field(4_096), "x: y\r\n".repeat(6)] {
        let refused = served.client().await.say(&over).await;
        let code = refused.problem()["code"].clone();
        assert_eq!(
            (refused.status, code.as_str()),
            (431, Some("HEADERS_TOO_LARGE"))
        );
    }
    let address = format!(
        "GET /livez?{} HTTP/1.1\r\nhost: x\r\n\r\n",
        "y".repeat(4_096)
    );
    let refused = served.client().await.send(&address).await.answer().await;
    assert_eq!(refused.unwrap().status, 431);
    // Far beyond the bound the parser itself says no.
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
async fn half_a_head_is_not_waited_for_long() {
    let served = served(Settings::default());
    let defaults = Settings::default();
    for half in ["", "GET /livez HT", "GET /livez HTTP/1.1\r\nhost: x\r\n"] {
        let began = Instant::now();
        let mut client = served.client().await;
        assert!(client.send(half).await.answer().await.is_none(), "{half}");
        let waited = began.elapsed();
        assert!(waited >= defaults.head_timeout && waited < defaults.idle_timeout);
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_is_not_waited_for_longer() {
    let served = served(Settings::default());
    let mut client = served.client().await;
    assert_eq!(client.get("/livez").await.status, 200);
    let began = Instant::now();
    let mut sent = 0_u32;
    for byte in "GET /livez HTTP/1.1\r\nhost: a-client-that-has-time\r\n\r\n".chars() {
        // The time between two bytes is virtual, too.
        tokio::time::sleep(Duration::from_secs(1)).await;
        if client
            .0
            .write_all(byte.to_string().as_bytes())
            .await
            .is_err()
        {
            break;
        }
        sent += 1;
    }
    assert!(client.answer().await.is_none(), "after {sent} bytes");
    assert!(sent < 20 && began.elapsed() < Settings::default().idle_timeout);
}

/// By then it is the idle connection's time that runs, which is longer.
#[tokio::test(start_paused = true)]
async fn half_a_later_head_is_not_waited_for_longer() {
    let served = served(Settings::default());
    let defaults = Settings::default();
    let mut client = served.client().await;
    assert_eq!(client.get("/livez").await.status, 200);
    tokio::time::sleep(defaults.head_timeout * 2).await;
    let began = Instant::now();
    assert!(client.send("GET /livez HT").await.answer().await.is_none());
    let waited = began.elapsed();
    assert!(waited >= defaults.head_timeout && waited < defaults.head_timeout * 2);
}

/// Between two of them the protocol is made anew, and what it had read already is not lost.
#[tokio::test]
async fn requests_that_come_together_and_in_pieces_are_answered_one_by_one() {
    let served = served(Settings::default());
    let mut client = served.client().await;
    let get = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let stream = get.repeat(40) + &post("", 12, r#"{"text":"a"}"#).repeat(40);
    for length in [stream.len(), 61, 7, get.len()] {
        for piece in stream.as_bytes().chunks(length) {
            client.0.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        client.answers(80).await;
    }
    assert_eq!(client.get("/livez").await.status, 200);
}

/// The bytes of a body may look like anything, also when nobody wants them.
#[tokio::test]
async fn what_follows_an_early_answer_is_not_taken_for_a_request() {
    let served = served(Settings::default());
    let hidden = "POST /api/say HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    for begun in ["", "{", &hidden[..20]] {
        let mut client = served.client().await;
        let asked = post("", hidden.len(), begun).replacen("/api/say", "/api/nothing", 1);
        let early = client.send(&asked).await.answer().await.unwrap();
        assert_eq!(early.status, 404);
        // It may be closed by now.
        client
            .0
            .write_all(&hidden.as_bytes()[begun.len()..])
            .await
            .ok();
        assert!(client.answer().await.is_none(), "after {begun:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_nothing_is_closed() {
    let served = served(Settings::default());
    let mut client = served.client().await;
    assert_eq!(client.get("/livez").await.status, 200);
    assert_eq!(client.get("/livez").await.status, 200);
    let began = Instant::now();
    assert!(client.is_closed().await);
    let idle = Settings::default().idle_timeout;
    assert!(began.elapsed() >= idle && began.elapsed() < idle * 2);
}

/// Some clients end a body with a line break: it is not the beginning of anything.
#[tokio::test(start_paused = true)]
async fn a_line_break_after_a_body_is_not_half_a_head() {
    let served = served(Settings::default());
    let mut client = served.client().await;
    let began = Instant::now();
    let body = r#"{"text":"a"}"#;
    client.send(&(post("", body.len(), body) + "\r\n")).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert!(client.is_closed().await);
    assert!(began.elapsed() >= Settings::default().idle_timeout);
}

#[tokio::test(start_paused = true)]
async fn half_a_body_is_not_waited_for_long() {
    let served = served(Settings::default());
    let mut client = served.client().await;
    let began = Instant::now();
    let told = client
        .send(&post("", 100, "{\"te"))
        .await
        .answer()
        .await
        .unwrap();
    assert_eq!(told.status, 408);
    assert_eq!(told.problem()["code"], "REQUEST_TIMEOUT");
    assert!(client.is_closed().await);
    let settings = Settings::default();
    assert!(began.elapsed() >= settings.body_timeout && began.elapsed() < settings.request_timeout);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_taken_is_not_kept() {
    let served = served(of_one_connection());
    let mut client = served.client().await;
    client
        .send("GET /api/flood HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    // Virtual time: it passes when the service has nothing left that it can do.
    tokio::time::sleep(Settings::default().idle_timeout * 2).await;
    assert!(client.answer().await.is_none(), "cut off, not answered");
    while served.client().await.say("").await.status == 503 {}
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let served = served(Settings {
        concurrent_requests_max: 1,
        ..of_one_connection()
    });
    for gone_after in [
        "",
        "POST /api/say HT",
        &post("", 100, ""),
        &post("", 100, "{\"te"),
    ] {
        let mut client = served.client().await;
        client.send(gone_after).await;
        drop(client);
    }
    // The service learns in its own time that they are gone; then the one seat and the one permit are
    // both there.
    while served.client().await.say("").await.status == 503 {}
    let figures = served.telemetry.encode().unwrap();
    assert!(figures.contains("http_requests_in_flight 0"), "{figures}");
}

/// Its body never comes, and is waited for longer than a stop may take.
#[tokio::test(start_paused = true)]
async fn what_outlasts_a_stop_is_cut_off() {
    let settings = Settings {
        body_timeout: Duration::from_secs(3_600),
        request_timeout: Duration::from_secs(3_600),
        ..Settings::default()
    };
    let drain_timeout = settings.drain_timeout;
    let served = served(settings);
    let mut client = served.client().await;
    client.send(&post("", 100, "{\"te")).await;
    // Virtual time: the request has begun when nothing else can happen.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    served.stop.cancel();
    served.serving.await.unwrap().unwrap();
    assert!(began.elapsed() >= drain_timeout && began.elapsed() < drain_timeout * 2);
    assert!(client.answer().await.is_none());
}

#[tokio::test]
async fn a_stop_ends_connections_that_ask_nothing() {
    let served = served(Settings::default());
    let mut used = served.client().await;
    assert_eq!(used.get("/livez").await.status, 200);
    let mut unused = served.client().await;
    served.stop.cancel();
    assert!(used.is_closed().await && unused.is_closed().await);
    served.serving.await.unwrap().unwrap();
}

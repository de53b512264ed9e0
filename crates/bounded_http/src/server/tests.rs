//! What a client sees of the bounds, on real sockets. Where time matters it is virtual: it advances when nothing
//! else can happen.

use poem::http::StatusCode;
use poem::{IntoResponse, Request, Route, get, handler, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;

#[handler]
fn live() -> &'static str {
    "up"
}

#[handler]
fn echo_body(body: String) -> String {
    body
}

/// Larger than all buffers between the service and a client.
#[handler]
fn flood() -> String {
    "x".repeat(64 * 1024 * 1024)
}

/// Answers without the body.
#[handler]
fn refuse_unread(_request: &Request) -> impl IntoResponse {
    StatusCode::NOT_FOUND
}

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

fn start(connections_max: usize) -> Server {
    let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Route::new()
        .at("/live", get(live))
        .at("/echo", post(echo_body))
        .at("/flood", get(flood))
        .at("/refused", post(refuse_unread));
    let config = Config::default();
    let stop = config.stop.clone();
    let limit = TotalLimit::new(connections_max);
    #[allow(clippy::disallowed_methods, reason = "the test awaits it")]
    let task = tokio::spawn(async move { serve(listener, Finished(routes), &config, limit).await });
    Server {
        address,
        stop,
        task,
    }
}

/// Turns errors into responses and marks what arrived over the limit.
struct Finished(Route);

impl Endpoint for Finished {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        if request.data::<crate::OverLimit>().is_some() && request.uri().path() != "/live" {
            return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
        }
        Ok(self.0.get_response(request).await)
    }
}

impl Server {
    async fn client(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }
}

struct Client(TcpStream);

const LIVE: &str = "GET /live HTTP/1.1\r\nhost: x\r\n\r\n";

fn post_to(path: &str, length: usize, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}")
}

impl Client {
    async fn send(&mut self, text: &str) -> &mut Self {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self
    }

    /// The status of the next response; none when the connection was closed instead.
    async fn status(&mut self) -> Option<u16> {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(bytes[..end].to_vec())
                    .unwrap()
                    .to_lowercase();
                let mut lines = head.lines();
                let length = lines.find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.map_or(0, |length| length.parse().unwrap());
                if bytes.len() >= end + 4 + length {
                    return Some(head.split(' ').nth(1).unwrap().parse().unwrap());
                }
            }
            if self.0.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn get_live(&mut self) -> Option<u16> {
        self.send(LIVE).await.status().await
    }

    /// Reads this number of responses to the end of the last one, which ends in `end`.
    async fn responses(&mut self, count: usize, end: &[u8]) {
        let mut bytes = Vec::new();
        let begun = |bytes: &[u8]| {
            let windows = bytes.windows(12);
            windows.filter(|line| line == b"HTTP/1.1 200").count()
        };
        while begun(&bytes) < count || !bytes.ends_with(end) {
            assert!(self.0.read_buf(&mut bytes).await.unwrap() > 0);
        }
        assert_eq!(begun(&bytes), count);
    }

    async fn is_closed(&mut self) -> bool {
        self.0.read_u8().await.is_err()
    }
}

#[tokio::test]
async fn a_connection_over_the_limit_may_only_probe() {
    let server = start(1);
    let mut first = server.client().await;
    assert_eq!(first.get_live().await, Some(200));
    let mut second = server.client().await;
    let echo = post_to("/echo", 1, "a");
    assert_eq!(second.send(&echo).await.status().await, Some(503));
    assert!(second.is_closed().await);
    let mut probe = server.client().await;
    assert_eq!(probe.get_live().await, Some(200));
    assert!(probe.is_closed().await);
    assert_eq!(first.send(&echo).await.status().await, Some(200));
    drop(first);
    // The server notices the closed connection in its own time.
    while server.client().await.send(&echo).await.status().await == Some(503) {}
}

/// With the default backlog the 130th connection would not be established.
#[tokio::test]
async fn hundreds_of_clients_connect_before_the_first_accept() {
    let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while waiting.len() < 500 {
        let connecting = tokio::time::timeout(Duration::from_secs(60), TcpStream::connect(address));
        waiting.push(connecting.await.expect("a place in the queue").unwrap());
    }
}

#[tokio::test]
async fn an_unread_connection_gets_the_response_of_its_limit() {
    let config = Config::default();
    for (exceeded, status) in [(Exceeded::Total, 503), (Exceeded::Address, 429)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = Client(TcpStream::connect(address).await.unwrap());
        let (stream, _) = listener.accept().await.unwrap();
        stream.writable().await.unwrap();
        refuse(&stream, config.response_to(exceeded));
        drop(stream);
        assert_eq!(client.status().await, Some(status));
        assert!(client.is_closed().await);
    }
}

#[test]
fn the_response_to_an_unread_connection_has_the_time() {
    let dated = with_date(b"HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\n\r\n");
    let dated = String::from_utf8(dated).unwrap();
    let (first_line, rest) = dated.split_once("\r\ndate: ").unwrap();
    assert_eq!(first_line, "HTTP/1.1 429 Too Many Requests");
    let (date, rest) = rest.split_once("\r\n").unwrap();
    assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
    assert_eq!(rest, "connection: close\r\n\r\n");
}

#[tokio::test]
async fn the_parser_refuses_a_head_of_twice_the_limit() {
    let server = start(10);
    let field = "y".repeat(Config::default().header_bytes_max * 2);
    let head = format!("GET /live HTTP/1.1\r\nhost: x\r\nx: {field}\r\n\r\n");
    let mut client = server.client().await;
    assert_eq!(client.send(&head).await.status().await, Some(431));
    assert!(client.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn half_a_head_times_out() {
    let server = start(10);
    let config = Config::default();
    for half in ["", "GET /live HT", "GET /live HTTP/1.1\r\nhost: x\r\n"] {
        let began = Instant::now();
        let mut client = server.client().await;
        assert!(client.send(half).await.status().await.is_none(), "{half}");
        let waited = began.elapsed();
        assert!(waited >= config.head_timeout && waited < config.idle_timeout);
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_arrives_byte_by_byte_times_out() {
    let server = start(10);
    let mut client = server.client().await;
    assert_eq!(client.get_live().await, Some(200));
    let began = Instant::now();
    let mut sent = 0_u32;
    for byte in "GET /live HTTP/1.1\r\nhost: a-slow-client-with-a-long-name\r\n\r\n".chars() {
        // The time between two bytes is virtual, too.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let byte = byte.to_string();
        if client.0.write_all(byte.as_bytes()).await.is_err() {
            break;
        }
        sent += 1;
    }
    assert!(client.status().await.is_none(), "after {sent} bytes");
    assert!(sent < 20 && began.elapsed() < Config::default().idle_timeout);
}

/// The idle timeout, which is longer, runs when the head begins.
#[tokio::test(start_paused = true)]
async fn half_a_later_head_times_out() {
    let server = start(10);
    let config = Config::default();
    let mut client = server.client().await;
    assert_eq!(client.get_live().await, Some(200));
    tokio::time::sleep(config.head_timeout * 2).await;
    let began = Instant::now();
    assert!(client.send("GET /live HT").await.status().await.is_none());
    let waited = began.elapsed();
    assert!(waited >= config.head_timeout && waited < config.head_timeout * 2);
}

/// Between two requests the protocol is created anew, and bytes that it has read already are not lost.
#[tokio::test]
async fn pipelined_and_split_requests_are_answered_in_order() {
    let server = start(10);
    let mut client = server.client().await;
    let stream = LIVE.repeat(40) + &post_to("/echo", 4, "echo").repeat(40);
    for length in [stream.len(), 61, 7, LIVE.len()] {
        for piece in stream.as_bytes().chunks(length) {
            client.0.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        client.responses(80, b"echo").await;
    }
    assert_eq!(client.get_live().await, Some(200));
}

/// The bytes of a body may look like a request, also when the endpoint does not read them.
#[tokio::test]
async fn bytes_after_an_early_response_are_not_parsed_as_a_request() {
    let server = start(10);
    let hidden = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    for begun in ["", "{", &hidden[..20]] {
        let mut client = server.client().await;
        let request = post_to("/refused", hidden.len(), begun);
        assert_eq!(client.send(&request).await.status().await, Some(404));
        // The connection may be closed by now.
        client
            .0
            .write_all(&hidden.as_bytes()[begun.len()..])
            .await
            .ok();
        assert!(client.status().await.is_none(), "after {begun:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_times_out() {
    let server = start(10);
    let mut client = server.client().await;
    assert_eq!(client.get_live().await, Some(200));
    assert_eq!(client.get_live().await, Some(200));
    let began = Instant::now();
    assert!(client.is_closed().await);
    let idle = Config::default().idle_timeout;
    assert!(began.elapsed() >= idle && began.elapsed() < idle * 2);
}

/// Some clients end a body with a line break. It does not begin a head.
#[tokio::test(start_paused = true)]
async fn a_line_break_after_a_body_leaves_the_connection_idle() {
    let server = start(10);
    let mut client = server.client().await;
    let began = Instant::now();
    let request = post_to("/echo", 4, "echo") + "\r\n";
    assert_eq!(client.send(&request).await.status().await, Some(200));
    assert!(client.is_closed().await);
    assert!(began.elapsed() >= Config::default().idle_timeout);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_the_client_does_not_read_times_out() {
    let server = start(1);
    let mut client = server.client().await;
    client.send("GET /flood HTTP/1.1\r\nhost: x\r\n\r\n").await;
    // Virtual time: it advances when the server has nothing left to do.
    tokio::time::sleep(Config::default().idle_timeout * 2).await;
    assert!(client.status().await.is_none(), "cut off");
    let echo = post_to("/echo", 1, "a");
    while server.client().await.send(&echo).await.status().await == Some(503) {}
}

/// Its body never arrives, and the endpoint waits longer for it than the drain timeout.
#[tokio::test(start_paused = true)]
async fn a_request_that_outlasts_the_drain_timeout_is_aborted() {
    let drain_timeout = Config::default().drain_timeout;
    let server = start(10);
    let mut client = server.client().await;
    client.send(&post_to("/echo", 100, "ec")).await;
    // Virtual time: the request has begun when nothing else can happen.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    server.stop.cancel();
    server.task.await.unwrap().unwrap();
    assert!(began.elapsed() >= drain_timeout && began.elapsed() < drain_timeout * 2);
    assert!(client.status().await.is_none());
}

#[tokio::test]
async fn shutdown_closes_idle_connections() {
    let server = start(10);
    let mut used = server.client().await;
    assert_eq!(used.get_live().await, Some(200));
    let mut unused = server.client().await;
    server.stop.cancel();
    assert!(used.is_closed().await && unused.is_closed().await);
    server.task.await.unwrap().unwrap();
}

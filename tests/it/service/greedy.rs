//! Slow clients, and clients that take more than their share: others are not affected.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpSocket;

use super::process::{Service, body};
use super::tokens::{token_of, with_secret};
use crate::support::until;

const PATH: &str = "/api/campaigns/1/participation";

fn address(service: &Service) -> SocketAddr {
    let address = service.base.trim_start_matches("http://");
    address.parse().unwrap()
}

fn opened(service: &Service) -> TcpStream {
    let stream = TcpStream::connect(address(service)).unwrap();
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).unwrap();
    stream
}

/// Announces a body, and sends none of it.
fn slow_post(service: &Service, headers: &str) -> TcpStream {
    let mut stream = opened(service);
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: 14\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Requests a large page, and reads only what fits into a small buffer.
async fn request_large_page(service: &Service) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let stream = socket.connect(address(service)).await.unwrap();
    let mut stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
        .write_all(b"GET /swagger-ui HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    stream
}

/// The same, after the page has begun: the permits of earlier requests may still be in use for a moment.
async fn hold_large_page(service: &Service) -> TcpStream {
    let mut held = None;
    until("a page is begun", async || {
        let mut stream = request_large_page(service).await;
        let is_begun = status(&mut stream) == "200";
        held = Some(stream);
        is_begun
    })
    .await;
    held.unwrap()
}

/// The status line of the next response.
fn status(stream: &mut TcpStream) -> String {
    let mut answer = [0; 4_096];
    let length = stream.read(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer[..length]);
    text.get(9..12).unwrap_or_default().to_owned()
}

/// A client with another address of this machine.
fn from(other: &str) -> Client {
    let address: std::net::IpAddr = other.parse().unwrap();
    Client::builder().local_address(address).build().unwrap()
}

fn resident_bytes(service: &Service) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", service.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: usize = line.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    kib * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_posts_without_credentials_are_rejected_after_their_head() {
    let folder = TempDir::new().unwrap();
    let mut settings = with_secret();
    settings.push(("FIRSTCOME_HTTP_CONCURRENT_REQUESTS_MAX", "64".to_owned()));
    settings.push(("FIRSTCOME_HTTP_BODY_TIMEOUT", "60s".to_owned()));
    settings.push(("FIRSTCOME_HTTP_REQUEST_TIMEOUT", "60s".to_owned()));
    let service = Service::start(&folder, &settings).await;
    let mut slow: Vec<TcpStream> = (0..200).map(|_| slow_post(&service, "")).collect();
    let began = Instant::now();
    for user in 1..=50 {
        let request = service.post(PATH).bearer_auth(token_of(user));
        let answer = request.json(&json!({})).send().await.unwrap();
        assert_eq!(answer.status(), 201, "user {user}");
    }
    for stream in &mut slow {
        assert_eq!(status(stream), "401");
    }
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "nobody waited for a body"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_of_one_address_leave_capacity_for_others() {
    let folder = TempDir::new().unwrap();
    let settings = [
        ("FIRSTCOME_HTTP_CONCURRENT_REQUESTS_MAX", "64".to_owned()),
        ("FIRSTCOME_HTTP_ADDRESS_PENDING_BODIES_MAX", "16".to_owned()),
        ("FIRSTCOME_HTTP_BODY_TIMEOUT", "60s".to_owned()),
        ("FIRSTCOME_HTTP_REQUEST_TIMEOUT", "60s".to_owned()),
        ("FIRSTCOME_HTTP_TRUSTED_PROXIES", "127.0.0.9/32".to_owned()),
    ];
    let service = Service::start(&folder, &settings).await;
    let mut slow: Vec<TcpStream> = Vec::new();
    for _ in 0..16 {
        slow.push(slow_post(&service, ""));
    }
    // The excess request is answered at once; the earlier ones are pending by then or soon.
    until("the address has as many as it may have", async || {
        let mut one_more = slow_post(&service, "");
        one_more
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let mut answer = [0; 16];
        let is_refused = one_more.read(&mut answer).is_ok() && answer.starts_with(b"HTTP/1.1 429");
        if !is_refused {
            slow.push(one_more);
        }
        is_refused
    })
    .await;
    // A body that arrives with its head needs no permit, from the same address too.
    let mut quick = opened(&service);
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: 12\r\n\r\n{{\"userId\":1}}"
    );
    quick.write_all(request.as_bytes()).unwrap();
    assert_eq!(status(&mut quick), "201");
    let other = from("127.0.0.2").post(format!("{}{PATH}", service.base));
    let other = other.json(&json!({ "userId": 2 })).send().await.unwrap();
    assert_eq!(other.status(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_take_all_live_streams_and_a_proxy_is_not_one() {
    let folder = TempDir::new().unwrap();
    let settings = [
        ("FIRSTCOME_HTTP_CONCURRENT_STREAMS_MAX", "8".to_owned()),
        ("FIRSTCOME_HTTP_ADDRESS_STREAMS_MAX", "3".to_owned()),
        ("FIRSTCOME_HTTP_TRUSTED_PROXIES", "127.0.0.9/32".to_owned()),
    ];
    let service = Service::start(&folder, &settings).await;
    let follow = async |client: &Client, forwarded: &str| {
        let request = client.get(format!("{}/api/campaigns/1/stream", service.base));
        let request = request.header("x-forwarded-for", forwarded);
        request.send().await.unwrap()
    };
    let greedy = from("127.0.0.1");
    let mut held = Vec::new();
    for number in 0..3 {
        // The address that the client itself writes there is ignored.
        let stream = follow(&greedy, &format!("192.0.2.{number}")).await;
        assert_eq!(stream.status(), 200);
        held.push(stream);
    }
    let refused = follow(&greedy, "192.0.2.9").await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(body(refused).await["code"], "ADDRESS_LIMIT");
    let proxy = from("127.0.0.9");
    for client in ["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"] {
        let stream = follow(&proxy, client).await;
        assert_eq!(stream.status(), 200, "{client} behind the proxy");
        held.push(stream);
    }
    assert_eq!(follow(&proxy, "192.0.2.1").await.status(), 429);
    held.truncate(2);
    until("a place is free again", async || {
        follow(&greedy, "").await.status() == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_take_all_connections_and_a_proxy_is_not_one() {
    let folder = TempDir::new().unwrap();
    let settings = [
        ("FIRSTCOME_HTTP_ADDRESS_CONNECTIONS_MAX", "4".to_owned()),
        ("FIRSTCOME_HTTP_TRUSTED_PROXIES", "127.0.0.9/32".to_owned()),
    ];
    let service = Service::start(&folder, &settings).await;
    let held: Vec<TcpStream> = (0..4).map(|_| opened(&service)).collect();
    until("the fifth is told so", async || {
        let mut fifth = opened(&service);
        fifth
            .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .is_ok()
            && status(&mut fifth) == "429"
    })
    .await;
    for other in ["127.0.0.2", "127.0.0.9"] {
        let probe = from(other).get(format!("{}/livez", service.base));
        assert_eq!(probe.send().await.unwrap().status(), 200, "{other}");
    }
    let mut of_proxy = Vec::new();
    for _ in 0..20 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
        of_proxy.push(socket.connect(address(&service)).await.unwrap());
    }
    let probe = from("127.0.0.9").get(format!("{}/livez", service.base));
    assert_eq!(probe.send().await.unwrap().status(), 200);
    let metrics = from("127.0.0.2").get(format!("{}/metrics", service.base));
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    let refused = "firstcome_http_bounds_refused_total{of=\"connections\",bound=\"address\"} ";
    assert!(metrics.contains(refused), "{metrics}");
    drop(held);
    until("places are free again", async || {
        let mut again = opened(&service);
        again
            .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .is_ok()
            && status(&mut again) == "200"
    })
    .await;
}

/// A page of two megabytes is requested a hundred times by clients that do not read it.
#[tokio::test(flavor = "multi_thread")]
async fn unread_pages_use_no_memory_and_time_out() {
    let folder = TempDir::new().unwrap();
    let settings = [
        ("FIRSTCOME_HTTP_ADDRESS_PAGES_MAX", "100".to_owned()),
        ("FIRSTCOME_HTTP_IDLE_TIMEOUT", "2s".to_owned()),
    ];
    let service = Service::start(&folder, &settings).await;
    let page = service.get("/swagger-ui").send().await.unwrap();
    let length = page.text().await.unwrap().len();
    assert!(length > 1_000_000, "{length} bytes");
    let before = resident_bytes(&service);
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(request_large_page(&service).await);
    }
    for stream in &mut streams {
        let mut beginning = [0; 12];
        stream.read_exact(&mut beginning).unwrap();
        assert_eq!(&beginning[9..], b"200");
    }
    let grown = resident_bytes(&service).saturating_sub(before);
    assert!(
        grown < 32 * 1024 * 1024,
        "{} KiB for 100 pages",
        grown / 1024
    );
    until(
        "they are disconnected, and their places are free",
        async || {
            let page = service.get("/swagger-ui").send().await.unwrap();
            page.status() == 200
                && service.get("/openapi.json").send().await.unwrap().status() == 200
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_sent_compressed_and_once() {
    let folder = TempDir::new().unwrap();
    let settings = [("FIRSTCOME_HTTP_ADDRESS_PAGES_MAX", "2".to_owned())];
    let service = Service::start(&folder, &settings).await;
    for path in ["/openapi.json", "/dashboard", "/swagger-ui"] {
        let plain = service.get(path).send().await.unwrap();
        let plain = plain.bytes().await.unwrap();
        let asked = service.get(path).header("accept-encoding", "gzip");
        let packed = asked.send().await.unwrap();
        assert_eq!(packed.status(), 200, "{path}");
        let headers = packed.headers().clone();
        assert_eq!(headers["content-encoding"], "gzip", "{path}");
        assert_eq!(headers["vary"], "Accept-Encoding");
        assert_eq!(headers["cache-control"], "no-cache");
        let length = headers["content-length"].to_str().unwrap();
        let packed = packed.bytes().await.unwrap();
        assert_eq!(packed.len().to_string(), length);
        assert!(packed.len() < plain.len(), "{path}");
        let again = service
            .get(path)
            .header("accept-encoding", "gzip")
            .header("if-none-match", &headers["etag"]);
        let again = again.send().await.unwrap();
        assert_eq!(again.status(), 304, "{path}");
        assert_eq!(again.bytes().await.unwrap().len(), 0);
    }
    // A client that reads nothing holds two permits until it is disconnected.
    let held = [
        hold_large_page(&service).await,
        hold_large_page(&service).await,
    ];
    until("the address has as many as it may have", async || {
        service.get("/openapi.json").send().await.unwrap().status() == 429
    })
    .await;
    let other = from("127.0.0.2").get(format!("{}/openapi.json", service.base));
    assert_eq!(other.send().await.unwrap().status(), 200);
    assert_eq!(service.get("/metrics").send().await.unwrap().status(), 200);
    drop(held);
}

/// Pairs of letters: short names that all differ.
fn names(count: usize) -> Vec<String> {
    let letters = || 'a'..='z';
    let pairs = letters().flat_map(|first| letters().map(move |second| format!("{first}{second}")));
    pairs.take(count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_names_faults_has_a_bounded_size() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let repeated = names(575).into_iter();
    let repeated = repeated.map(|name| format!("\"{name}\":0,\"{name}\":0"));
    let repeated = repeated.collect::<Vec<_>>().join(",");
    let body_of = |fields: &str| format!("{{\"{}\":{{{fields}}}}}", "K".repeat(8_100));
    let unknown = names(600).into_iter().map(|name| format!("\"{name}\":0"));
    let unknown = format!("{{{}}}", unknown.collect::<Vec<_>>().join(","));
    let query = format!("/api/campaigns?{}", names(600).join("&"));
    let long = format!("/api/campaigns?{}=1", "n".repeat(9_000));
    let post = |body: String| {
        let request = service
            .post(PATH)
            .header("content-type", "application/json");
        request.body(body)
    };
    for (what, request) in [
        ("repeated keys", post(body_of(&repeated))),
        ("unknown keys", post(unknown)),
        ("unknown parameters", service.get(&query)),
        ("a long name", service.get(&long)),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 422, "{what}");
        let answer = answer.text().await.unwrap();
        assert!(answer.len() < 6_000, "{what}: {} bytes", answer.len());
    }
}

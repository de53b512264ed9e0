//! The operations for operators, on their own listener.

use reqwest::{Response, StatusCode};
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service};

/// Pages and operations for operators.
const MANAGED: [&str; 8] = [
    "/",
    "/asyncapi.json",
    "/dashboard",
    "/metrics",
    "/openapi.json",
    "/swagger-ui",
    "/api/admin/campaigns",
    "/api/admin/system",
];
/// Operations for everybody.
const PUBLIC: [&str; 5] = [
    "/livez",
    "/readyz",
    "/api/time",
    "/api/campaigns",
    "/api/campaigns/1",
];

async fn ask(service: &Service, base: &str, path: &str) -> Response {
    let client = reqwest::Client::builder();
    let client = client.redirect(reqwest::redirect::Policy::none());
    let request = client.build().unwrap().get(format!("{base}{path}"));
    let answer = request.bearer_auth(ADMIN_TOKEN).send().await;
    answer.unwrap_or_else(|error| panic!("{path}: {error}\n{}", service.log()))
}

fn is_there(answer: &Response) -> bool {
    answer.status().is_success() || answer.status() == StatusCode::TEMPORARY_REDIRECT
}

#[tokio::test(flavor = "multi_thread")]
async fn the_management_listener_serves_all_routes_and_the_public_one_those_of_participants() {
    let folder = TempDir::new().unwrap();
    let settings = [("FIRSTCOME_HTTP_MANAGEMENT_LISTEN", "127.0.0.1:0".to_owned())];
    let service = Service::start(&folder, &settings).await;
    let log = service.log();
    let (_, management) = log.split_once("management listener listen=").unwrap();
    let management = format!("http://{}", management.lines().next().unwrap().trim());
    for path in MANAGED {
        assert_eq!(
            ask(&service, &service.base, path).await.status(),
            404,
            "{path}"
        );
        assert!(is_there(&ask(&service, &management, path).await), "{path}");
    }
    for path in PUBLIC {
        assert!(
            is_there(&ask(&service, &service.base, path).await),
            "{path}"
        );
        assert!(is_there(&ask(&service, &management, path).await), "{path}");
    }
    let other = [
        "/api/%61dmin/campaigns",
        "//api/admin/campaigns",
        "/api/x/../admin/campaigns",
        "/api/Admin/campaigns",
        "/metrics/",
    ];
    for path in other {
        let address = service.base.trim_start_matches("http://");
        let answer = raw(address, path);
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    let made = service.take_part(1, 7).await;
    assert_eq!(made.status(), 201);
}

/// Requests exactly this address.
fn raw(address: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN_TOKEN}\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_management_listener_the_public_one_serves_everything() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    for path in MANAGED.into_iter().chain(PUBLIC) {
        assert!(
            is_there(&ask(&service, &service.base, path).await),
            "{path}"
        );
    }
}

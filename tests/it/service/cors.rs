//! Cross-origin resource sharing, with requests as browsers send them for pages of other origins.

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::json;
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service, body, command};
use super::sessions::scene::{PASSWORD, Scene, account, said};

const PAGE: &str = "https://shop.example";
const ORIGINS: (&str, &str) = (
    "FIRSTCOME_HTTP_CORS_ORIGINS",
    "https://shop.example,http://localhost:5173",
);

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map_or("", |value| value.to_str().unwrap());
    assert!(values.next().is_none(), "{name} is sent once");
    value
}

fn list<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    header(headers, name).split(", ").collect()
}

/// The headers of CORS that a response has.
fn cors(headers: &HeaderMap) -> Vec<&str> {
    let names = headers.keys().map(reqwest::header::HeaderName::as_str);
    names
        .filter(|name| name.starts_with("access-control-"))
        .collect()
}

fn preflight(service: &Service, path: &str, origin: &str) -> RequestBuilder {
    let url = format!("{}{path}", service.base);
    let request = service.client.request(Method::OPTIONS, url);
    request
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,content-type,idempotency-key",
        )
}

async fn sent(request: RequestBuilder) -> Response {
    request.send().await.unwrap()
}

async fn started(settings: &[(&'static str, &str)]) -> (TempDir, Service) {
    let folder = TempDir::new().unwrap();
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    let service = Service::start(&folder, &settings).await;
    (folder, service)
}

const PATHS: [&str; 5] = [
    "/api/campaigns",
    "/api/campaigns/1/participation",
    "/api/campaigns/1/participation-sync",
    "/api/admin/campaigns",
    "/api/nowhere",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_an_allowed_origin_may_send_requests_and_read_the_responses() {
    let (_folder, service) = started(&[ORIGINS, ("FIRSTCOME_HTTP_CORS_MAX_AGE", "2m")]).await;
    for (path, origin) in PATHS
        .iter()
        .flat_map(|path| [PAGE, "http://localhost:5173"].map(|origin| (path, origin)))
    {
        let answer = sent(preflight(&service, path, origin)).await;
        assert_eq!(answer.status(), 204, "{path}");
        let headers = answer.headers();
        assert_eq!(header(headers, "access-control-allow-origin"), origin);
        assert_eq!(header(headers, "access-control-max-age"), "120");
        assert_eq!(header(headers, "vary"), "Origin");
        let methods = list(headers, "access-control-allow-methods");
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            assert!(methods.contains(&method), "{method}");
        }
        let named = list(headers, "access-control-allow-headers");
        for name in [
            "authorization",
            "content-type",
            "idempotency-key",
            "x-csrf-token",
            "x-challenge-token",
            "traceparent",
        ] {
            assert!(named.contains(&name), "{name}");
        }
        // No cookies are used in this mode.
        assert!(!headers.contains_key("access-control-allow-credentials"));
        assert_eq!(answer.text().await.unwrap(), "");
    }
    let part = service.post("/api/campaigns/1/participation");
    let part = part.header("origin", PAGE).json(&json!({ "userId": 7 }));
    let made = sent(part).await;
    let unknown = sent(service.get("/api/nowhere").header("origin", PAGE)).await;
    let stock = sent(service.get("/api/campaigns/1/stock").header("origin", PAGE)).await;
    let admin = service.get("/api/admin/campaigns");
    let refused = sent(admin.header("origin", PAGE)).await;
    for (answer, status) in [
        (&made, 201),
        (&unknown, 404),
        (&stock, 200),
        (&refused, 401),
    ] {
        assert_eq!(answer.status(), status);
        let headers = answer.headers();
        assert_eq!(header(headers, "access-control-allow-origin"), PAGE);
        assert_eq!(header(headers, "vary"), "Origin");
        assert!(!headers.contains_key("access-control-allow-credentials"));
        let exposed = list(headers, "access-control-expose-headers");
        for name in [
            "location",
            "retry-after",
            "ratelimit",
            "ratelimit-policy",
            "idempotency-replayed",
            "etag",
        ] {
            assert!(exposed.contains(&name), "{name}");
        }
    }
    assert!(made.headers().contains_key("location"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_gets_no_header() {
    let (_folder, service) = started(&[ORIGINS]).await;
    for origin in [
        "null",
        "*",
        "https://evil.example",
        "http://shop.example",
        "https://shop.example:8443",
        "https://shop.example.evil.example",
        "https://SHOP.example",
        "http://localhost:5174",
    ] {
        for path in PATHS {
            let answer = sent(preflight(&service, path, origin)).await;
            let wanted = if path == "/api/nowhere" { 404 } else { 405 };
            assert_eq!(answer.status(), wanted, "{origin} {path}");
            assert_eq!(cors(answer.headers()), [""; 0], "{origin} {path}");
            assert_eq!(header(answer.headers(), "vary"), "Origin");
        }
        let read = sent(service.get("/api/campaigns").header("origin", origin)).await;
        assert_eq!(
            (read.status().as_u16(), cors(read.headers())),
            (200, vec![])
        );
    }
    // A cache must not give this response to a page of an allowed origin.
    let plain = sent(service.get("/api/campaigns")).await;
    assert_eq!(header(plain.headers(), "vary"), "Origin");
    assert_eq!(cors(plain.headers()), [""; 0]);
    let twice =
        preflight(&service, "/api/campaigns", PAGE).header("origin", "https://evil.example");
    assert_eq!(sent(twice).await.status(), 405);
    // Only the API is for other origins.
    for path in ["/metrics", "/dashboard", "/livez", "/openapi.json"] {
        let answer = sent(service.get(path).header("origin", PAGE)).await;
        assert_eq!(cors(answer.headers()), [""; 0], "{path}");
    }
    // Without the requested method, it is no preflight.
    let url = format!("{}/api/campaigns", service.base);
    let options = service.client.request(Method::OPTIONS, url);
    assert_eq!(sent(options.header("origin", PAGE)).await.status(), 405);
    // The check of the host comes first: DNS rebinding.
    let rebound = preflight(&service, "/api/campaigns", PAGE).header("host", "evil.example");
    assert_eq!(sent(rebound).await.status(), 421);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_no_origin_is_allowed() {
    let (_folder, service) = started(&[]).await;
    let answer = sent(preflight(&service, "/api/campaigns", PAGE)).await;
    assert_eq!(answer.status(), 405);
    assert_eq!(cors(answer.headers()), [""; 0]);
    let read = sent(service.get("/api/campaigns").header("origin", PAGE)).await;
    assert_eq!(cors(read.headers()), [""; 0]);
    assert!(!read.headers().contains_key("vary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_an_allowed_origin_uses_sessions_and_no_other_page_does() {
    let scene = Scene::embedded(&[ORIGINS]).await;
    account(&scene.service, "ada", &[]).await;
    let allowed = sent(preflight(&scene.service, "/api/session", PAGE)).await;
    let credentials = header(allowed.headers(), "access-control-allow-credentials");
    assert_eq!(credentials, "true");
    let mut browser = scene.browser();
    let from = |request: RequestBuilder, origin: &str, site: &str| {
        let request = request.header("sec-fetch-site", site.to_owned());
        request.header("origin", origin.to_owned())
    };
    let login = json!({ "login": "ada", "password": PASSWORD });
    for origin in ["https://evil.example", "null"] {
        let request = browser.bare(Method::POST, "/api/session").json(&login);
        let answer = sent(from(request, origin, "same-site")).await;
        assert_eq!(cors(answer.headers()), [""; 0]);
        assert_eq!(said(answer).await, (403, "CSRF".to_owned()), "{origin}");
    }
    let request = browser.bare(Method::POST, "/api/session").json(&login);
    let entered = sent(from(request, PAGE, "same-site")).await;
    let credentials = header(entered.headers(), "access-control-allow-credentials");
    assert_eq!(credentials, "true");
    browser.keep(entered.headers());
    browser.is_let_in(entered).await;
    let part = "/api/campaigns/1/participation";
    // The token of the session is still needed.
    let bare = browser.bare(Method::POST, part).json(&json!({}));
    let answer = sent(from(bare, PAGE, "same-site")).await;
    assert_eq!(said(answer).await, (403, "CSRF".to_owned()));
    for origin in ["https://evil.example", "null", "http://shop.example"] {
        let request = browser.request(Method::POST, part).json(&json!({}));
        let answer = sent(from(request, origin, "same-site")).await;
        assert_eq!(said(answer).await, (403, "CSRF".to_owned()), "{origin}");
    }
    let request = browser.request(Method::POST, part).json(&json!({}));
    assert_eq!(sent(from(request, PAGE, "same-site")).await.status(), 201);
    let request = browser.request(Method::DELETE, "/api/session");
    assert_eq!(sent(from(request, PAGE, "same-site")).await.status(), 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_is_answered_where_a_request_is_limited_and_its_rejection_can_be_read() {
    let (_folder, service) = started(&[
        ORIGINS,
        ("FIRSTCOME_LIMITS_ADDRESS_READS", "1/1h"),
        ("FIRSTCOME_HTTP_TRUSTED_PROXIES", "127.0.0.0/8"),
    ])
    .await;
    let from = |request: RequestBuilder| request.header("x-forwarded-for", "203.0.113.1");
    let read = async || sent(from(service.get("/api/campaigns").header("origin", PAGE))).await;
    assert_eq!(read().await.status(), 200);
    let limited = read().await;
    assert_eq!(limited.status(), 429);
    let headers = limited.headers();
    assert_eq!(header(headers, "access-control-allow-origin"), PAGE);
    assert!(headers.contains_key("retry-after"));
    assert_eq!(body(limited).await["code"], "RATE_LIMITED");
    for _ in 0..3 {
        let answer = sent(from(preflight(&service, "/api/campaigns", PAGE))).await;
        assert_eq!(answer.status(), 204);
    }
    let admin = service.get("/api/admin/system").bearer_auth(ADMIN_TOKEN);
    assert_eq!(sent(admin).await.status(), 200);
}

#[test]
fn an_origin_that_is_not_exact_is_named_at_start() {
    for origin in [
        "*",
        "https://*.shop.example",
        "https://shop.example/",
        "shop.example",
    ] {
        let folder = TempDir::new().unwrap();
        let settings = [("FIRSTCOME_HTTP_CORS_ORIGINS", origin.to_owned())];
        let ended = command(&folder, &settings).output().unwrap();
        assert!(!ended.status.success(), "{origin}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.contains("http.cors_origins"), "{said}");
    }
}

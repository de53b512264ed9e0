//! Response headers for browsers and caches, and cross-site requests, which are rejected.

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service, body};
use super::sessions::scene::{Browser, PASSWORD, Scene, account, set_cookies};

async fn caching(request: RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    let caching = answer.headers().get("cache-control");
    let caching = caching.map_or("", |value| value.to_str().unwrap());
    (answer.status().as_u16(), caching.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_with_personal_data_are_not_cached() {
    let scene = Scene::embedded(&[]).await;
    let service = &scene.service;
    let ada = account(service, "ada", &["campaign:read"]).await;
    let mut browser = scene.browser();
    let entering = browser.log_in("ada", PASSWORD, Some(true)).await;
    assert_eq!(entering.headers()["cache-control"], "no-store");
    browser.is_let_in(entering).await;
    let made = browser.takes_part(1).await;
    assert_eq!(made.headers()["cache-control"], "no-store");
    let id = body(made).await["participationId"].clone();
    let one = format!("/api/participations/{}", id.as_str().unwrap());
    for (path, status) in [
        ("/api/session", 200),
        ("/api/sessions", 200),
        (one.as_str(), 200),
        (&format!("/api/users/{ada}/participations"), 200),
        (&format!("/api/users/{ada}/rewards"), 200),
        ("/api/users/999/rewards", 403),
        ("/api/admin/campaigns", 200),
        ("/api/admin/audit", 403),
    ] {
        let asked = browser.request(Method::GET, path);
        let said = (status, "no-store".to_owned());
        assert_eq!(caching(asked).await, said, "{path}");
    }
    for path in [
        "/api/admin/accounts",
        "/api/admin/audit",
        "/api/admin/system",
        "/api/admin/outbox",
        "/api/admin/dead-letters",
        "/api/admin/campaigns/1/participations.csv",
    ] {
        let asked = service.get(path).bearer_auth(ADMIN_TOKEN);
        assert_eq!(caching(asked).await, (200, "no-store".to_owned()), "{path}");
    }
    let refused = service.post("/api/session");
    let refused = refused.json(&json!({ "login": "ada", "password": "a wrong password" }));
    assert_eq!(caching(refused).await, (401, "no-store".to_owned()));
    // Public responses may be cached.
    for path in ["/api/campaigns", "/api/campaigns/1", "/api/time"] {
        let (status, caching) = caching(service.get(path)).await;
        assert_eq!(
            (status, caching.contains("no-store")),
            (200, false),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_tls_proxy_cookies_are_secure_and_browsers_stay_on_tls() {
    let scene = Scene::embedded(&[("FIRSTCOME_HTTP_TLS_AT_PROXY", "true")]).await;
    account(&scene.service, "ada", &[]).await;
    let mut browser = Browser::at(&scene.service);
    let entering = browser.log_in("ada", PASSWORD, Some(true)).await;
    let cookies = set_cookies(&entering);
    assert_eq!(cookies.len(), 2);
    for cookie in &cookies {
        assert!(cookie.starts_with("__Host-firstcome-"), "{cookie}");
        assert!(cookie.contains("; Secure"), "{cookie}");
    }
    assert_eq!(
        entering.headers()["strict-transport-security"],
        "max-age=31536000"
    );
    browser.is_let_in(entering).await;
    assert!(browser.is_logged_in().await);
    for path in ["/dashboard", "/api/campaigns", "/api/nowhere", "/livez"] {
        let answer = scene.service.get(path).send().await.unwrap();
        let headers = answer.headers();
        assert!(headers.contains_key("strict-transport-security"), "{path}");
    }
    let plain = Scene::embedded(&[]).await;
    account(&plain.service, "ada", &[]).await;
    let entering = plain.browser().log_in("ada", PASSWORD, None).await;
    assert!(set_cookies(&entering)[0].starts_with("firstcome-session="));
    let headers = entering.headers();
    assert!(!headers.contains_key("strict-transport-security"));
}

async fn called(service: &Service, method: Method, path: &str, host: &str) -> (u16, String) {
    let url = format!("{}{path}", service.base);
    let request = service.client.request(method, url).header("host", host);
    let answer = request.json(&json!({ "userId": 7 })).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_authentication_rejects_foreign_host_names() {
    let folder = TempDir::new().unwrap();
    let names = "shop.example,*.internal.example";
    let settings = [("FIRSTCOME_HTTP_ALLOWED_HOSTS", names.to_owned())];
    let service = Service::start(&folder, &settings).await;
    let part = "/api/campaigns/1/participation";
    // A page of evil.example whose name resolves to 127.0.0.1.
    for host in [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "xshop.example",
        "internal.example",
        "",
    ] {
        for (method, path) in [
            (Method::POST, part),
            (Method::GET, "/api/campaigns"),
            (Method::GET, "/dashboard"),
            (Method::GET, "/metrics"),
        ] {
            let (status, text) = called(&service, method, path, host).await;
            assert_eq!(status, 421, "{host:?} {path}");
            assert!(text.contains("\"code\":\"HOST_NOT_ALLOWED\""), "{text}");
        }
        for probe in ["/livez", "/readyz"] {
            let (status, _) = called(&service, Method::GET, probe, host).await;
            assert_eq!(status, 200, "{host:?} {probe}");
        }
    }
    for host in [
        "localhost",
        "LOCALHOST:8080",
        "api.localhost",
        "127.0.0.1",
        "[::1]:8080",
        "192.0.2.1:80",
        "shop.example",
        "Shop.Example.:443",
        "a.internal.example",
    ] {
        let (status, text) = called(&service, Method::GET, "/api/campaigns", host).await;
        assert_eq!(status, 200, "{host} {text}");
    }
    let stock = service.get("/api/campaigns/1/stock").send().await.unwrap();
    let stock = body(stock).await;
    assert_eq!(stock["currentStock"], stock["totalStock"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_requires_credentials_accepts_any_host_name() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &super::tokens::with_secret()).await;
    let (status, _) = called(&service, Method::GET, "/api/campaigns", "shop.example").await;
    assert_eq!(status, 200);
}

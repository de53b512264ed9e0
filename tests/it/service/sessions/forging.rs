//! Requests that a browser sends for another site's page.

use reqwest::{Method, Response};
use serde_json::json;

use super::super::guessing::events;
use super::super::process::ADMIN_TOKEN;
use super::scene::{Browser, PASSWORD, Scene, account, campaign, refused, said};

async fn with(browser: &Browser<'_>, path: &str, headers: &[(&'static str, &str)]) -> Response {
    let mut request = browser.bare(Method::POST, path).json(&json!({}));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn modifying_requests_carry_the_csrf_token_of_their_session() {
    for scene in Scene::all(&[]).await {
        let service = &scene.service;
        let campaign = campaign(service).await;
        account(service, "ada", &["campaign:write"]).await;
        let (mut browser, mut other) = (scene.browser(), scene.browser());
        browser.enters("ada", None).await;
        other.enters("ada", None).await;
        let part = format!("/api/campaigns/{campaign}/participation");
        let sync = format!("/api/campaigns/{campaign}/participation-sync");
        let pause = format!("/api/admin/campaigns/{campaign}/pause");
        let own = browser.csrf.clone();
        for path in [&part, &sync, &pause] {
            for headers in [
                &[][..],
                &[("x-csrf-token", "")],
                &[("x-csrf-token", "x")],
                &[("x-csrf-token", other.csrf.as_str())],
                &[
                    ("x-csrf-token", own.as_str()),
                    ("x-csrf-token", own.as_str()),
                ],
            ] {
                let answer = with(&browser, path, headers).await;
                assert_eq!(
                    said(answer).await,
                    refused(403, "CSRF"),
                    "{path} {headers:?}"
                );
            }
        }
        let token = ("x-csrf-token", own.as_str());
        for path in [&part, &sync] {
            assert_eq!(with(&browser, path, &[token]).await.status(), 201, "{path}");
        }
        assert_eq!(with(&browser, &pause, &[token]).await.status(), 200);
        // A read needs no token, and neither does a request with a header that browsers never add by
        // themselves.
        let read = browser.bare(Method::GET, "/api/session").send().await;
        assert_eq!(read.unwrap().status(), 200);
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        let open = format!("/api/admin/campaigns/{campaign}/open");
        let answer = with(&browser, &open, &[("authorization", &bearer)]).await;
        assert_eq!(answer.status(), 200);
        let metrics = service.get("/metrics").send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        assert!(metrics.contains("firstcome_sessions_csrf_refused_total 15\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cross_site_requests_are_rejected_with_any_credentials() {
    let scene = Scene::embedded(&[]).await;
    let campaign = campaign(&scene.service).await;
    account(&scene.service, "ada", &[]).await;
    let mut browser = scene.browser();
    browser.enters("ada", Some(true)).await;
    let part = format!("/api/campaigns/{campaign}/participation");
    let token = ("x-csrf-token", browser.csrf.as_str());
    let host = scene.service.base.trim_start_matches("http://");
    let (ours, theirs) = (
        format!("https://{host}"),
        format!("https://{host}.evil.example"),
    );
    for foreign in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", theirs.as_str()),
        ("origin", "null"),
    ] {
        let answer = with(&browser, &part, &[token, foreign]).await;
        assert_eq!(said(answer).await, refused(403, "CSRF"), "{foreign:?}");
        // Logging in and logging out need protection as well.
        for (method, path) in [
            (Method::POST, "/api/session"),
            (Method::POST, "/api/session/resume"),
            (Method::DELETE, "/api/session"),
        ] {
            let request = browser.request(method, path).header(foreign.0, foreign.1);
            let request = request.json(&json!({ "login": "ada", "password": PASSWORD }));
            let answer = request.send().await.unwrap();
            assert_eq!(
                said(answer).await,
                refused(403, "CSRF"),
                "{path} {foreign:?}"
            );
        }
    }
    for fine in [
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-site", "none"),
        ("origin", ours.as_str()),
    ] {
        let answer = with(&browser, &part, &[token, fine]).await;
        assert_eq!(answer.status(), 201, "{fine:?}");
    }
    assert!(browser.is_logged_in().await, "nobody was logged out");
    let forged = browser.bare(Method::DELETE, "/api/session").send().await;
    assert_eq!(said(forged.unwrap()).await, refused(403, "CSRF"));
    assert!(browser.is_logged_in().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rejected_cross_site_request_is_a_security_event() {
    let scene = Scene::embedded(&[("FIRSTCOME_LOG_FORMAT", "json")]).await;
    let campaign = campaign(&scene.service).await;
    let ada = account(&scene.service, "ada", &[]).await;
    let mut browser = scene.browser();
    browser.enters("ada", None).await;
    // With a session it would be known whose request it is.
    let part = format!("/api/campaigns/{campaign}/participation");
    assert_eq!(with(&browser, &part, &[]).await.status(), 403);
    // Another site tries to log a user in or out.
    let foreign = [("origin", "https://evil.example")];
    assert_eq!(with(&browser, "/api/session", &foreign).await.status(), 422);
    let log_in = browser.bare(Method::POST, "/api/session");
    let log_in = log_in.header("origin", "https://evil.example");
    let log_in = log_in.json(&json!({ "login": "ada", "password": PASSWORD }));
    assert_eq!(log_in.send().await.unwrap().status(), 403);
    let resume = with(&browser, "/api/session/resume", &foreign).await;
    assert_eq!(resume.status(), 403);
    let log_out = browser.bare(Method::DELETE, "/api/session").send().await;
    assert_eq!(log_out.unwrap().status(), 403);
    let events = events(&scene.service);
    let refused: Vec<_> = events
        .iter()
        .filter(|event| event["security.event"] == "csrf.refused")
        .map(|event| {
            assert_eq!(event["level"], "WARN");
            assert_eq!(event["source.address"], "127.0.0.1");
            assert!(event["span"]["request.id"].is_string(), "{event}");
            event["security.actor"].as_str()
        })
        .collect();
    let known = format!("account:{ada}");
    assert_eq!(refused, [Some(known.as_str()), None, None, None]);
}

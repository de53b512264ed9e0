//! Admin tokens: which are accepted, and how guesses are throttled.

use reqwest::Response;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service, Settings, body, command};

const OLD_TOKEN: &str = "the admin token before";

async fn shows(service: &Service, token: &str, from: &str) -> Response {
    let request = service.get("/api/admin/campaigns").bearer_auth(token);
    let request = request.header("x-forwarded-for", from);
    request.send().await.unwrap()
}

fn behind_a_proxy() -> Vec<(&'static str, String)> {
    vec![
        ("FIRSTCOME_HTTP_TRUSTED_PROXIES", "127.0.0.0/8".to_owned()),
        ("FIRSTCOME_LOG_FORMAT", "json".to_owned()),
    ]
}

/// The security events that the service has logged.
pub fn events(service: &Service) -> Vec<Value> {
    let lines = service.log();
    let lines = lines
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines
        .filter(|line: &Value| line["target"] == "security")
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guessable_admin_token_is_rejected_at_start() {
    let folder = TempDir::new().unwrap();
    let said = |settings: Settings<'_>| {
        let output = command(&folder, settings).arg("migrate").output().unwrap();
        assert!(!output.status.success(), "{settings:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    for token in [
        "x",
        "choose-one",
        "fifteen letters",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        let text = said(&[("FIRSTCOME_ADMIN_TOKEN", token.to_owned())]);
        assert!(
            text.contains("FIRSTCOME_ADMIN_TOKEN must have at least 16 characters"),
            "{text}"
        );
        assert!(!text.contains(&format!("{token:?}")), "{text}");
        let text = said(&[("FIRSTCOME_ADMIN_TOKEN_PREVIOUS", token.to_owned())]);
        assert!(
            text.contains("FIRSTCOME_ADMIN_TOKEN_PREVIOUS must have at least 16"),
            "{text}"
        );
    }
    let same = said(&[("FIRSTCOME_ADMIN_TOKEN_PREVIOUS", ADMIN_TOKEN.to_owned())]);
    assert!(same.contains("admin.token_previous"), "{same}");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_of_the_admin_token_are_delayed_and_logged() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &behind_a_proxy()).await;
    for nth in 0..11 {
        let answer = shows(&service, &format!("guess {nth} of many"), "192.0.2.1").await;
        assert_eq!(answer.status(), 401, "{nth}");
    }
    // Now even the correct token is not checked, so a guess reveals nothing.
    for token in ["another guess of many", ADMIN_TOKEN] {
        let answer = shows(&service, token, "192.0.2.1").await;
        assert_eq!(answer.status(), 429);
        let after = answer.headers()["retry-after"].to_str().unwrap();
        assert!((1..=60).contains(&after.parse::<u64>().unwrap()), "{after}");
        let problem = body(answer).await;
        assert_eq!(
            (&problem["code"], &problem["limit"]),
            (&json!("RATE_LIMITED"), &json!("admin_token"))
        );
    }
    // Other addresses are not affected.
    assert_eq!(
        shows(&service, ADMIN_TOKEN, "192.0.2.2").await.status(),
        200
    );
    let events = events(&service);
    let count = |name: &str| {
        let of = events
            .iter()
            .filter(|event| event["security.event"] == name);
        of.filter(|event| event["source.address"] == "192.0.2.1")
            .count()
    };
    assert_eq!(count("admin_token.refused"), 11);
    assert_eq!(count("admin_token.throttled"), 2);
    assert!(!service.log().contains("guess 3"));
    let metrics = service.get("/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let line = "firstcome_security_events_total{event=\"admin_token.refused\"} 11\n";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_admin_tokens_are_accepted_while_one_replaces_the_other() {
    let folder = TempDir::new().unwrap();
    let previous = [("FIRSTCOME_ADMIN_TOKEN_PREVIOUS", OLD_TOKEN.to_owned())];
    let service = Service::start(&folder, &previous).await;
    for token in [ADMIN_TOKEN, OLD_TOKEN] {
        let made = service.post("/api/admin/campaigns").bearer_auth(token);
        let made = made.json(&json!({ "name": "one" })).send().await.unwrap();
        assert_eq!(made.status(), 201);
    }
    let log = service.get("/api/admin/audit").bearer_auth(ADMIN_TOKEN);
    let log = body(log.send().await.unwrap()).await;
    let actors = [&log["items"][0]["actor"], &log["items"][1]["actor"]];
    assert_eq!(
        actors,
        [&json!("admin-token:previous"), &json!("admin-token")]
    );
}

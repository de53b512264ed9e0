//! Security events: their content and their rate.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::guessing::events;
use super::process::{ADMIN_TOKEN, Service, body};
use super::tokens::{token, with_secret};

const FROM: &str = "192.0.2.7";

fn settings() -> Vec<(&'static str, String)> {
    let mut settings = with_secret();
    settings.extend([
        ("FIRSTCOME_HTTP_TRUSTED_PROXIES", "127.0.0.0/8".to_owned()),
        ("FIRSTCOME_LOG_FORMAT", "json".to_owned()),
        ("FIRSTCOME_LIMITS_USER", "1/1h".to_owned()),
    ]);
    settings
}

async fn get_with_token(service: &Service, path: &str, bearer: &str) -> u16 {
    let request = service.get(path).bearer_auth(bearer);
    let answer = request.header("x-forwarded-for", FROM).send().await;
    answer.unwrap().status().as_u16()
}

async fn audit(service: &Service) -> Vec<Value> {
    let log = service.get("/api/admin/audit").bearer_auth(ADMIN_TOKEN);
    let log = body(log.send().await.unwrap()).await;
    log["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_reads_of_other_users_data_are_security_events() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &settings()).await;
    let campaign = service
        .create(json!({ "name": "one", "perUserLimit": 9 }))
        .await;
    let user = token(&json!({ "sub": "7" }));
    let reader = token(&json!({ "sub": "a reader", "scope": "campaign:read pii:read" }));
    let take_part = async || {
        let path = format!("/api/campaigns/{campaign}/participation");
        let request = service.post(&path).bearer_auth(&user).json(&json!({}));
        let answer = request.header("x-forwarded-for", FROM).send().await;
        answer.unwrap()
    };
    let made = take_part().await;
    assert_eq!(made.status(), 201);
    let made = body(made).await["participationId"].clone();
    assert_eq!(take_part().await.status(), 429);
    let one = format!("/api/participations/{}", made.as_str().unwrap());
    let export = format!("/api/admin/campaigns/{campaign}/participations.csv");
    for (path, bearer, status) in [
        ("/api/users/7/participations", "eyJ.no.token", 401),
        ("/api/admin/outbox", user.as_str(), 403),
        ("/api/users/8/participations", &user, 403),
        ("/api/users/7/participations", &user, 200),
        (&one, &user, 200),
        ("/api/users/7/participations", &reader, 200),
        ("/api/users/7/rewards", &reader, 200),
        (&one, &reader, 200),
        (&export, &reader, 200),
    ] {
        assert_eq!(
            get_with_token(&service, path, bearer).await,
            status,
            "{path}"
        );
    }
    let told: Vec<_> = events(&service).iter().map(line).collect();
    assert_eq!(
        told,
        [
            "rate.limited  user ".to_owned(),
            "token.refused  malformed ".to_owned(),
            "scope.missing jwt:7 campaign:read ".to_owned(),
            "access.denied jwt:7  user:8".to_owned(),
            "data.read jwt:a reader history user:7".to_owned(),
            "data.read jwt:a reader rewards user:7".to_owned(),
            "data.read jwt:a reader participation user:7".to_owned(),
            format!("data.exported jwt:a reader participations campaign:{campaign}"),
        ]
    );
    is_in_the_audit_log(&service, made.as_str().unwrap()).await;
}

/// The fields of an event, in one line.
fn line(event: &Value) -> String {
    assert_eq!(event["source.address"], FROM, "{event}");
    assert!(event["span"]["request.id"].is_string(), "{event}");
    let text = |name: &str| event[name].as_str().unwrap_or("").to_owned();
    let (actor, reason) = (text("security.actor"), text("security.reason"));
    let subject = text("security.subject");
    format!("{} {actor} {reason} {subject}", text("security.event"))
}

/// Each read of the reader has its entry, with the address.
async fn is_in_the_audit_log(service: &Service, participation: &str) {
    let told = audit(service).await;
    let told: Vec<_> = told
        .iter()
        .filter(|entry| entry["actor"] == "jwt:a reader")
        .map(|entry| {
            assert_eq!(entry["address"], FROM, "{entry}");
            (entry["action"].as_str().unwrap(), entry["subject"].as_str())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("participation.export", None),
            ("participation.read", Some(participation)),
            ("rewards.read", Some("7")),
            ("history.read", Some("7")),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_rejections_is_counted_and_logged_in_part() {
    let folder = TempDir::new().unwrap();
    let mut settings = settings();
    settings.push(("FIRSTCOME_LOG_SECURITY_EVENTS_PER_MINUTE", "5".to_owned()));
    let service = Service::start(&folder, &settings).await;
    for _ in 0..50 {
        let status = get_with_token(&service, "/api/admin/outbox", "eyJ.no.token").await;
        assert_eq!(status, 401);
    }
    let written = events(&service)
        .iter()
        .filter(|event| event["security.event"] == "token.refused")
        .count();
    assert!((5..=10).contains(&written), "{written}");
    let metrics = service.get("/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("firstcome_security_events_total{event=\"token.refused\"} 50\n"));
    let dropped = "firstcome_security_events_dropped_total{event=\"token.refused\"} 4";
    assert!(metrics.contains(dropped), "{metrics}");
    crate::support::until("the log says how many are missing", async || {
        let dropped = events(&service).into_iter();
        let dropped = dropped.filter_map(|event| event["security.dropped"].as_u64());
        dropped.sum::<u64>() >= 40
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_beyond_the_rate_of_its_address_is_a_security_event() {
    let folder = TempDir::new().unwrap();
    let mut settings = settings();
    settings.push(("FIRSTCOME_LIMITS_ADDRESS_READS", "1/1h".to_owned()));
    let service = Service::start(&folder, &settings).await;
    let read = async || {
        let request = service
            .get("/api/campaigns")
            .header("x-forwarded-for", FROM);
        request.send().await.unwrap().status()
    };
    assert_eq!(read().await, 200);
    assert_eq!(read().await, 429);
    let told = events(&service);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["security.event"], "rate.limited");
    assert_eq!(told[0]["source.address"], FROM);
}

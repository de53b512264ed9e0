//! Rate limits: a client above its rate gets 429 with `Retry-After`, and others are not affected.

use reqwest::Response;
use serde_json::json;
use tempfile::TempDir;

use super::away::through_proxy;
use super::guessing::events;
use super::process::{Service, body};
use super::real::parts;
use crate::proxy::Mode;

async fn said(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body = body(answer).await;
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    let value = answer.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

fn plenty() -> serde_json::Value {
    json!({ "name": "plenty", "kind": "general", "perUserLimit": 100 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_above_the_rate_gets_retry_after() {
    let folder = TempDir::new().unwrap();
    let settings = [("FIRSTCOME_LIMITS_USER", "2/1h".to_owned())];
    let service = Service::start(&folder, &settings).await;
    let campaign = service.create(plenty()).await;
    let first = service.take_part(campaign, 1).await;
    assert_eq!(first.status(), 201);
    assert_eq!(header(&first, "ratelimit-policy"), r#""user";q=2;w=3600"#);
    assert_eq!(header(&first, "ratelimit"), r#""user";r=1;t=1800"#);
    // A rejected request counts as well, and has the headers.
    let unknown = service.take_part(campaign + 1_000, 1).await;
    assert_eq!(unknown.status(), 404);
    assert!(header(&unknown, "ratelimit").starts_with(r#""user";r=0;t="#));
    let third = service.take_part(campaign, 1).await;
    let wait: u32 = header(&third, "retry-after").parse().unwrap();
    assert!((1..=1_800).contains(&wait), "{wait}");
    assert!(header(&third, "ratelimit").starts_with(r#""user";r=0;t="#));
    assert_eq!(third.status(), 429);
    let problem = body(third).await;
    assert_eq!(
        (&problem["code"], &problem["limit"]),
        (&json!("RATE_LIMITED"), &json!("user"))
    );
    assert_eq!(service.take_part(campaign, 2).await.status(), 201);
    let metrics = service.get("/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains(r#"firstcome_limits_refused_total{of="user"} 1"#));
}

async fn place_order(service: &Service, user: i64, lines: &[i64]) -> Response {
    let lines: Vec<_> = lines
        .iter()
        .map(|campaign| json!({ "campaignId": campaign }))
        .collect();
    let request = service.post("/api/orders");
    let request = request.json(&json!({ "userId": user, "lines": lines }));
    request.send().await.unwrap()
}

/// A rejected order returns what it reserved, so it could be repeated without end.
#[tokio::test(flavor = "multi_thread")]
async fn rejected_orders_count_against_the_rate_of_their_user() {
    let folder = TempDir::new().unwrap();
    let settings = [("FIRSTCOME_LIMITS_ORDERS", "2/1h".to_owned())];
    let service = Service::start(&folder, &settings).await;
    let campaign = service.create(plenty()).await;
    let single = json!({ "name": "single", "kind": "general", "perUserLimit": 1 });
    let single = service.create(single).await;
    assert_eq!(service.take_part(single, 1).await.status(), 201);
    for _ in 0..2 {
        let rejected = place_order(&service, 1, &[campaign, single]).await;
        assert_eq!(
            said(rejected).await,
            (409, "ALREADY_PARTICIPATED".to_owned())
        );
    }
    let third = place_order(&service, 1, &[campaign, single]).await;
    assert_eq!(third.status(), 429);
    assert_eq!(body(third).await["limit"], "orders");
    assert_eq!(
        place_order(&service, 2, &[campaign, single]).await.status(),
        201
    );
    assert_eq!(service.take_part(campaign, 1).await.status(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_of_an_order_counts_as_a_request() {
    let folder = TempDir::new().unwrap();
    let settings = [
        ("FIRSTCOME_LIMITS_USER", "3/1h".to_owned()),
        ("FIRSTCOME_LIMITS_ORDERS", "100/1h".to_owned()),
    ];
    let service = Service::start(&folder, &settings).await;
    let mut campaigns = Vec::new();
    for _ in 0..4 {
        campaigns.push(service.create(plenty()).await);
    }
    let first = place_order(&service, 1, &campaigns[..2]).await;
    assert_eq!(first.status(), 201);
    assert!(header(&first, "ratelimit").contains(r#""user";r=1;t="#));
    let second = place_order(&service, 1, &campaigns[..2]).await;
    assert_eq!(second.status(), 429);
    assert_eq!(body(second).await["limit"], "user");
    let single = place_order(&service, 1, &campaigns[..1]).await;
    assert_eq!(single.status(), 201, "one request is left");
    // An order with more lines than the rate allows at once counts as all of them.
    let long = place_order(&service, 2, &campaigns).await;
    assert_eq!(long.status(), 201);
    assert!(header(&long, "ratelimit").contains(r#""user";r=0;t="#));
}

/// Public addresses have default rates; this machine and private networks have none.
#[tokio::test(flavor = "multi_thread")]
async fn reads_of_a_public_address_are_limited() {
    let folder = TempDir::new().unwrap();
    let settings = [
        ("FIRSTCOME_LIMITS_ADDRESS_READS", "2/1h".to_owned()),
        ("FIRSTCOME_HTTP_TRUSTED_PROXIES", "127.0.0.0/8".to_owned()),
    ];
    let service = Service::start(&folder, &settings).await;
    for (from, wanted) in [
        ("203.0.113.1", vec![200, 200, 429, 429]),
        ("203.0.113.2", vec![200, 200, 429]),
        ("10.1.2.3", vec![200; 4]),
    ] {
        let mut statuses = Vec::new();
        for _ in &wanted {
            let request = service
                .get("/api/campaigns")
                .header("x-forwarded-for", from);
            let answer = request.send().await.unwrap();
            statuses.push(answer.status().as_u16());
            if answer.status() == 429 {
                assert!(answer.headers().contains_key("retry-after"));
                assert_eq!(body(answer).await["limit"], "address_reads");
            }
        }
        assert_eq!(statuses, wanted, "{from}");
    }
    for change in ["confirm", "cancel"] {
        let path = format!("/api/participations/{}/{change}", uuid::Uuid::now_v7());
        let mut statuses = Vec::new();
        for _ in 0..2 {
            let request = service.post(&path).header("authorization", "7");
            let answer = request.header("x-forwarded-for", "203.0.113.3").send();
            statuses.push(answer.await.unwrap().status().as_u16());
        }
        let wanted = if change == "confirm" { 404 } else { 429 };
        assert_eq!(statuses, [wanted; 2], "a {change} reads the participation");
    }
    let metrics = service.get("/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains(r#"firstcome_limits_refused_total{of="address_reads"} 5"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_address_is_the_one_named_by_a_trusted_proxy() {
    let folder = TempDir::new().unwrap();
    let settings = [
        ("FIRSTCOME_LIMITS_ADDRESS", "1/1h".to_owned()),
        ("FIRSTCOME_HTTP_TRUSTED_PROXIES", "127.0.0.0/8".to_owned()),
    ];
    let service = Service::start(&folder, &settings).await;
    let campaign = service.create(plenty()).await;
    let path = format!("/api/campaigns/{campaign}/participation");
    let mut statuses = Vec::new();
    for (user, from) in [
        (1, "203.0.113.1"),
        (2, "203.0.113.1"),
        (3, "203.0.113.2"),
        (4, "203.0.113.1, 203.0.113.3"),
        (5, "203.0.113.9, 203.0.113.3"),
    ] {
        let request = service.post(&path).header("x-forwarded-for", from);
        let answer = request.json(&json!({ "userId": user })).send().await;
        statuses.push(answer.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [201, 429, 201, 201, 429]);
}

/// A client must not be able to pass as the proxy, which has no limits, by writing its address into the header.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_an_unreadable_forwarded_address_has_limits() {
    let folder = TempDir::new().unwrap();
    let settings = [
        ("FIRSTCOME_LIMITS_ADDRESS_READS", "2/1h".to_owned()),
        ("FIRSTCOME_HTTP_TRUSTED_PROXIES", "127.0.0.0/8".to_owned()),
        ("FIRSTCOME_LOG_FORMAT", "json".to_owned()),
    ];
    let service = Service::start(&folder, &settings).await;
    let read = async |forwarded: &[u8]| {
        let value = reqwest::header::HeaderValue::from_bytes(forwarded).unwrap();
        let request = service
            .get("/api/campaigns")
            .header("x-forwarded-for", value);
        request.send().await.unwrap().status().as_u16()
    };
    for [first, second, third] in [
        ["\u{ff}, 203.0.113.1"; 3],
        ["203.0.113.2:4000", "203.0.113.2:4001", "x, 203.0.113.2"],
        ["[2001:db8::1]:80", "[2001:db8::2]", "2001:db8::3"],
    ] {
        let statuses = [
            read(first.as_bytes()).await,
            read(second.as_bytes()).await,
            read(third.as_bytes()).await,
        ];
        assert_eq!(statuses, [200, 200, 429], "{first}");
    }
    assert_eq!(read(b"\xff\xfe, 203.0.113.1").await, 429);
    // All clients whose address the proxy does not name share one address.
    let mut statuses = Vec::new();
    for unknown in [
        "unknown",
        "203.0.113.3,",
        "203.0.113.4, \u{ff}",
        "1.1.1.1, x",
    ] {
        statuses.push(read(unknown.as_bytes()).await);
    }
    assert_eq!(statuses, [200, 200, 429, 429]);
    let events = events(&service);
    let unknown = events
        .iter()
        .filter(|event| event["security.event"] == "address.unknown");
    assert_eq!(unknown.count(), 4);
    let metrics = service.get("/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let counted = "firstcome_security_events_total{event=\"address.unknown\"} 4\n";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_the_rate_of_a_campaign_and_without_redis_nobody_is_limited() {
    let parts = parts().await;
    let rate = ("FIRSTCOME_LIMITS_CAMPAIGN", "5/1h".to_owned());
    let scene = through_proxy(&parts, std::slice::from_ref(&rate)).await;
    let mut settings = parts.settings.clone();
    settings.push(rate);
    let folder = TempDir::new().unwrap();
    let other = Service::start(&folder, &settings).await;
    let campaign = scene.service.create(plenty()).await;
    let unlimited = scene.service.create(plenty()).await;
    let mut answers = Vec::new();
    for user in 1..=8 {
        let service = if user % 2 == 0 {
            &other
        } else {
            &scene.service
        };
        answers.push(said(service.take_part(campaign, user).await).await.0);
    }
    assert_eq!(answers, [201, 201, 201, 201, 201, 429, 429, 429]);
    assert_eq!(other.take_part(unlimited, 1).await.status(), 201);
    // This time on the database path.
    scene.proxy.set(Mode::Refuse);
    scene.proxy.cut();
    for user in 11..=18 {
        let answer = said(scene.service.take_part(campaign, user).await).await;
        assert_eq!(answer, (201, String::new()));
    }
    assert_eq!(said(other.take_part(campaign, 19).await).await.0, 429);
}

#[test]
fn an_invalid_rate_is_named_at_start() {
    let folder = TempDir::new().unwrap();
    let settings = [
        ("FIRSTCOME_LIMITS_USER", "many".to_owned()),
        ("FIRSTCOME_HTTP_TRUSTED_PROXIES", "everybody".to_owned()),
    ];
    let ended = super::process::command(&folder, &settings)
        .output()
        .unwrap();
    assert!(!ended.status.success());
    let said = String::from_utf8(ended.stderr).unwrap();
    for name in ["limits.user", "http.trusted_proxies"] {
        assert!(said.contains(name), "{said}");
    }
}

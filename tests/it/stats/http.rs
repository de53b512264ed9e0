//! Statistics over HTTP, on a service that has just been started.

use chrono::TimeDelta;
use firstcome::runtime::clock::Clock;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::service::process::{ADMIN_TOKEN, Service, body};
use crate::support::until;

pub async fn ask(service: &Service, path: &str) -> (u16, Value) {
    let asked = service
        .get(&format!("/api/admin{path}"))
        .bearer_auth(ADMIN_TOKEN);
    let answer = asked.send().await.unwrap();
    (answer.status().as_u16(), body(answer).await)
}

pub fn date(days_ago: i64) -> String {
    let at = Clock::System.now() - TimeDelta::days(days_ago);
    at.date_naive().to_string()
}

/// A sold-out campaign of three units, with two rejections, today.
pub async fn sold_out(service: &Service) -> i64 {
    let campaign = service
        .create(json!({ "name": "three", "kind": "general", "totalStock": 3 }))
        .await;
    for user in 1..=5 {
        let expected = if user <= 3 { 201 } else { 409 };
        assert_eq!(service.take_part(campaign, user).await.status(), expected);
    }
    campaign
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_of_a_day_are_served_raw_aggregated_and_by_campaign() {
    let folder = TempDir::new().unwrap();
    let mut service = Service::start(&folder, &[]).await;
    let today = date(0);
    let campaign = sold_out(&service).await;
    let raw = format!("/stats/raw?date={today}");
    until("the refusals are written", async || {
        ask(&service, &raw).await.1["summary"]["failCount"] == json!(2)
    })
    .await;
    let (status, raw) = ask(&service, &raw).await;
    assert_eq!(
        (status, &raw["method"], &raw["zone"]),
        (200, &json!("RAW_QUERY"), &json!("UTC"))
    );
    assert_eq!(
        (&raw["date"], &raw["aggregatedAt"]),
        (&json!(today), &Value::Null)
    );
    assert!(raw["queryTimeMs"].as_f64().unwrap() > 0.0);
    let of = &raw["campaigns"][0];
    assert_eq!(
        (
            &of["campaignId"],
            &of["campaignName"],
            &of["successCount"],
            &of["failCount"]
        ),
        (&json!(campaign), &json!("three"), &json!(3), &json!(2))
    );
    assert_eq!(of["successRate"], json!("60.00%"));
    assert_eq!(of["failures"], json!({ "SOLD_OUT": 2 }));

    let daily = format!("/stats/daily?date={today}");
    let (status, never) = ask(&service, &daily).await;
    assert_eq!((status, &never["code"]), (404, &json!("NOT_AGGREGATED")));
    let path = format!("/batch/aggregate?date={today}");
    let begun = service.admin(&path).send().await.unwrap();
    assert_eq!(begun.status(), 202);
    let id = body(begun).await["jobExecutionId"].as_i64().unwrap();
    let run = format!("/batch/status/{id}");
    until("it is done", async || {
        ask(&service, &run).await.1["status"] == json!("COMPLETED")
    })
    .await;
    let (status, daily) = ask(&service, &daily).await;
    assert_eq!(
        (status, &daily["method"]),
        (200, &json!("BATCH_AGGREGATED"))
    );
    assert_eq!(
        (&daily["campaigns"], &daily["summary"]),
        (&raw["campaigns"], &raw["summary"])
    );
    assert!(daily["aggregatedAt"].is_string());
    assert_eq!(daily["complete"], json!(false), "the day is not over");

    a_period_is_reported(&service, campaign, &raw["campaigns"][0]).await;
    an_order_is_reported(&service, campaign).await;
    assert!(service.stop().await.success());
}

async fn a_period_is_reported(service: &Service, campaign: i64, today: &Value) {
    let period = format!(
        "/stats/campaign/{campaign}?startDate={}&endDate={}",
        date(2),
        date(0)
    );
    let (status, period) = ask(service, &period).await;
    assert_eq!((status, &period["campaignName"]), (200, &json!("three")));
    assert_eq!(
        (&period["days"][0], &period["days"][1]),
        (today, &Value::Null)
    );
    assert_eq!(period["summary"]["successCount"], json!(3));
    let missing = json!([date(2), date(1), date(0)]);
    assert_eq!(period["missingDates"], missing);
}

async fn an_order_is_reported(service: &Service, campaign: i64) {
    let (status, order) = ask(service, &format!("/stats/order-analysis/{campaign}")).await;
    assert_eq!(
        (status, &order["participations"], &order["inOrder"]),
        (200, &json!(3), &json!(3))
    );
    assert_eq!(
        (
            &order["items"][2]["rank"],
            &order["items"][2]["processedAs"]
        ),
        (&json!(3), &json!(3))
    );
    let (status, violations) = ask(service, &format!("/stats/order-violations/{campaign}")).await;
    assert_eq!(
        (status, violations),
        (200, json!({ "items": [], "nextCursor": null }))
    );
}

/// Requests, with the status, the code and the named parameter of each response.
fn refused() -> Vec<(String, u16, &'static str, &'static str)> {
    let (future, old, today) = (date(-2), date(367), date(0));
    let days = [
        ("raw", &future, "DATE_IN_FUTURE"),
        ("raw", &old, "DATE_TOO_OLD"),
        ("daily", &future, "DATE_IN_FUTURE"),
    ];
    let values = [
        (format!("/stats/daily?date={today}&zone=UTC"), "zone"),
        (format!("/stats/raw?date={today}&zone=Mars"), "zone"),
        ("/stats/raw?date=2026-02-30".to_owned(), "date"),
        ("/stats/raw".to_owned(), "date"),
        (
            format!("/stats/campaign/1?startDate={today}&endDate={}", date(3)),
            "endDate",
        ),
        ("/stats/order-violations/1?cursor=x".to_owned(), "cursor"),
        ("/batch/history?limit=101".to_owned(), "limit"),
    ];
    let period = format!("/stats/campaign/1?startDate={old}&endDate={today}");
    days.into_iter()
        .map(|(way, day, code)| (format!("/stats/{way}?date={day}"), 400, code, "date"))
        .chain([(period, 400, "DATE_TOO_OLD", "startDate")])
        .chain(values.map(|(path, field)| (path, 422, "INVALID", field)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn unsupported_selections_are_rejected_with_the_parameter() {
    let folder = TempDir::new().unwrap();
    let settings = [("FIRSTCOME_AGGREGATION_ZONE", "Asia/Seoul".to_owned())];
    let service = Service::start(&folder, &settings).await;
    for (path, status, code, field) in refused() {
        let (answered, problem) = ask(&service, &path).await;
        assert_eq!(
            (answered, problem["code"].as_str()),
            (status, Some(code)),
            "{path}"
        );
        assert_eq!(problem["errors"][0]["field"], json!(field), "{path}");
    }
    for (days_ago, code) in [(-2, "DATE_IN_FUTURE"), (367, "DATE_TOO_OLD")] {
        let path = format!("/batch/aggregate?date={}", date(days_ago));
        let refused = service.admin(&path).send().await.unwrap();
        assert_eq!(refused.status(), 400);
        assert_eq!(body(refused).await["code"], json!(code));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_statistics_get_404_and_admins_read_raw_ones_in_any_zone() {
    let folder = TempDir::new().unwrap();
    let settings = [("FIRSTCOME_AGGREGATION_ZONE", "Asia/Seoul".to_owned())];
    let service = Service::start(&folder, &settings).await;
    let today = date(0);
    for (path, code) in [
        ("/batch/status/999", "NOT_FOUND"),
        ("/stats/order-analysis/999", "NOT_FOUND"),
    ] {
        let (answered, problem) = ask(&service, path).await;
        assert_eq!(
            (answered, problem["code"].as_str()),
            (404, Some(code)),
            "{path}"
        );
    }
    let (status, seoul) = ask(&service, &format!("/stats/raw?date={today}")).await;
    assert_eq!((status, &seoul["zone"]), (200, &json!("Asia/Seoul")));
    assert!(seoul["from"].as_str().unwrap().ends_with("T15:00:00Z"));
    let (status, any) = ask(
        &service,
        &format!("/stats/raw?date={today}&zone=Europe/Berlin"),
    )
    .await;
    assert_eq!((status, &any["zone"]), (200, &json!("Europe/Berlin")));
    for path in ["/stats/raw", "/batch/history"] {
        let nobody = service
            .get(&format!("/api/admin{path}"))
            .send()
            .await
            .unwrap();
        assert_eq!(nobody.status(), 401, "{path}");
    }
}

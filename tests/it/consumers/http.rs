//! Rewards over HTTP.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::scene::Scene;
use crate::service::process::{ADMIN_TOKEN, Service, body, command};
use crate::support::until;

pub(super) async fn rewards(service: &Service, user: i64) -> Value {
    let path = format!("/api/users/{user}/rewards");
    let asked = service.get(&path).header("Authorization", user.to_string());
    body(asked.send().await.unwrap()).await
}

pub(super) async fn coupon_of(service: &Service, campaign: i64, user: i64) -> Value {
    assert_eq!(service.take_part(campaign, user).await.status(), 201);
    until("the coupon is there", async || {
        let coupons = rewards(service, user).await["coupons"].clone();
        let of = |coupon: &Value| coupon["campaignId"] == json!(campaign);
        coupons.as_array().unwrap().iter().any(of)
    })
    .await;
    let all = rewards(service, user).await["coupons"].clone();
    let of = |coupon: &&Value| coupon["campaignId"] == json!(campaign);
    all.as_array().unwrap().iter().find(of).unwrap().clone()
}

pub(super) async fn use_it(
    service: &Service,
    coupon: &Value,
    user: &str,
    order: Value,
) -> (u16, Value) {
    let path = format!("/api/coupons/{}/use", coupon["id"].as_str().unwrap());
    let asked = service
        .post(&path)
        .header("Authorization", user)
        .json(&json!({ "orderAmount": order }));
    let answer = asked.send().await.unwrap();
    (answer.status().as_u16(), body(answer).await)
}

fn coupon(name: &str, more: &Value) -> Value {
    let mut terms = json!({ "discountAmount": 500, "minimumOrderAmount": 1_000 });
    for (key, value) in more.as_object().unwrap() {
        terms[key] = value.clone();
    }
    json!({ "name": name, "kind": "coupon", "reward": { "coupon": terms } })
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_default_configuration_points_are_granted() {
    let folder = TempDir::new().unwrap();
    let mut service = Service::start(&folder, &[]).await;
    let made = body(service.take_part(1, 42).await).await;
    let id = made["participationId"].as_str().unwrap().to_owned();
    until("points arrive", async || {
        rewards(&service, 42).await["points"] == json!(100)
    })
    .await;
    let seen = rewards(&service, 42).await;
    let entry = &seen["ledger"]["items"][0];
    assert_eq!(
        (&entry["kind"], &entry["amount"], &entry["participationId"]),
        (&json!("granted"), &json!(100), &json!(id))
    );
    assert_eq!(seen["ledger"]["nextCursor"], Value::Null);
    let history = service.get("/api/users/42/participations");
    until("the participation is marked", async || {
        let asked = history.try_clone().unwrap().header("Authorization", "42");
        let page = body(asked.send().await.unwrap()).await;
        let item = &page["items"][0];
        let reward = json!({ "points": 100, "reversed": false });
        item["rewardedAt"].is_string() && item["reward"] == reward
    })
    .await;
    until("the funnel counts it", async || {
        let status = service.get("/api/campaigns/1/status").send().await.unwrap();
        body(status).await["funnel"]["rewarded"] == json!(1)
    })
    .await;
    let ready = service.get("/readyz?verbose").send().await.unwrap();
    let parts = body(ready).await["parts"].clone();
    let rewards_part = json!({ "name": "rewards", "status": "up" });
    assert!(parts.as_array().unwrap().contains(&rewards_part), "{parts}");
    assert!(service.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_use_a_coupon_once() {
    let scene = Scene::new().await;
    let folder = TempDir::new().unwrap();
    let mut settings = scene.settings();
    settings.push(("FIRSTCOME_CONSUMERS_ENABLED", "coupons".to_owned()));
    let mut service = Service::start(&folder, &settings).await;
    let campaign = service.create(coupon("race", &json!({}))).await;
    let mine = coupon_of(&service, campaign, 7).await;
    let racers = (0..50).map(|_| use_it(&service, &mine, "7", json!(1_200)));
    let answers = join_all(racers).await;
    let used: Vec<_> = answers
        .iter()
        .filter(|(status, _)| *status == 200)
        .collect();
    assert_eq!(used.len(), 1, "{answers:?}");
    assert_eq!(
        (&used[0].1["discountAmount"], &used[0].1["amountToPay"]),
        (&json!(500), &json!(700))
    );
    for (status, answer) in answers.iter().filter(|(status, _)| *status != 200) {
        assert_eq!((*status, &answer["code"]), (409, &json!("COUPON_USED")));
    }
    assert!(service.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_and_ownership_of_coupons_are_kept() {
    let folder = TempDir::new().unwrap();
    let mut service = Service::start(&folder, &[]).await;
    let plain = service.create(coupon("plain", &json!({}))).await;
    let early = service
        .create(coupon(
            "early",
            &json!({ "validFrom": "2999-01-01T00:00:00Z" }),
        ))
        .await;
    let late = service
        .create(coupon(
            "late",
            &json!({ "validUntil": "2001-01-01T00:00:00Z" }),
        ))
        .await;
    let mine = coupon_of(&service, plain, 7).await;
    assert_eq!(mine["code"].as_str().unwrap().len(), 26);
    for (campaign, code) in [(early, "COUPON_NOT_YET_VALID"), (late, "COUPON_EXPIRED")] {
        let coupon = coupon_of(&service, campaign, 7).await;
        let (status, answer) = use_it(&service, &coupon, "7", json!(2_000)).await;
        assert_eq!((status, &answer["code"]), (409, &json!(code)));
    }
    let (status, answer) = use_it(&service, &mine, "7", json!(999)).await;
    assert_eq!(
        (status, &answer["code"]),
        (409, &json!("ORDER_BELOW_MINIMUM"))
    );
    for order in [
        json!(-1),
        json!(0),
        json!(1.5),
        json!("1000"),
        json!(1_u64 << 53),
        json!(null),
    ] {
        let (status, answer) = use_it(&service, &mine, "7", order.clone()).await;
        assert_eq!(
            (status, &answer["errors"][0]["field"]),
            (422, &json!("orderAmount")),
            "{order}"
        );
    }
    let admin = format!("Bearer {ADMIN_TOKEN}");
    for (caller, expected) in [("8", 404), (admin.as_str(), 403), ("Bearer x", 401)] {
        let (status, _) = use_it(&service, &mine, caller, json!(2_000)).await;
        assert_eq!(status, expected, "{caller}");
    }
    let path = format!("/api/coupons/{}/use", mine["id"].as_str().unwrap());
    let nobody = service.post(&path).json(&json!({ "orderAmount": 2_000 }));
    assert_eq!(nobody.send().await.unwrap().status(), 401);
    let unknown = json!({ "id": uuid::Uuid::nil() });
    assert_eq!(use_it(&service, &unknown, "7", json!(2_000)).await.0, 404);
    assert_eq!(use_it(&service, &mine, "7", json!(2_000)).await.0, 200);
    assert!(service.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn rewards_are_shown_to_their_user_and_to_admins_in_pages() {
    let folder = TempDir::new().unwrap();
    let mut service = Service::start(&folder, &[]).await;
    for name in ["one", "two", "three"] {
        let campaign = service.create(coupon(name, &json!({}))).await;
        let made = coupon_of(&service, campaign, 7).await;
        if name == "one" {
            assert_eq!(use_it(&service, &made, "7", json!(2_000)).await.0, 200);
        }
    }
    let admin = format!("Bearer {ADMIN_TOKEN}");
    let path = "/api/users/7/rewards";
    for (caller, expected) in [("7", 200), (admin.as_str(), 200), ("8", 403)] {
        let asked = service.get(path).header("Authorization", caller);
        assert_eq!(asked.send().await.unwrap().status(), expected, "{caller}");
    }
    assert_eq!(service.get(path).send().await.unwrap().status(), 401);
    for (query, field) in [
        ("cursor=x", "cursor"),
        ("couponCursor=x", "couponCursor"),
        ("limit=0", "limit"),
    ] {
        let asked = service.get(&format!("{path}?{query}"));
        let answer = asked.header("Authorization", "7").send().await.unwrap();
        assert_eq!(answer.status(), 422);
        assert_eq!(body(answer).await["errors"][0]["field"], json!(field));
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let asked = service.get(&format!("{path}?limit=1{cursor}"));
        let answer = asked.header("Authorization", "7").send().await.unwrap();
        let page = body(answer).await;
        seen.extend(page["coupons"].as_array().unwrap().clone());
        let Some(next) = page["nextCouponCursor"].as_str() else {
            break;
        };
        cursor = format!("&couponCursor={next}");
    }
    let statuses: Vec<&str> = seen
        .iter()
        .map(|one| one["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["issued", "issued", "used"]);
    assert!(service.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_rewards_reports_it() {
    let scene = Scene::new().await;
    let folder = TempDir::new().unwrap();
    let mut settings = scene.settings();
    settings.retain(|(name, _)| *name != "FIRSTCOME_REWARDS_DATABASE_URL");
    let mut service = Service::start(&folder, &settings).await;
    let asked = service
        .get("/api/users/7/rewards")
        .header("Authorization", "7");
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert_eq!(body(answer).await["code"], json!("REWARDS_OFF"));
    assert!(service.stop().await.success());
}

#[test]
fn an_unknown_consumer_is_named_at_start() {
    let folder = TempDir::new().unwrap();
    let settings = [("FIRSTCOME_CONSUMERS_ENABLED", "points,stamps".to_owned())];
    let output = command(&folder, &settings).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("FIRSTCOME_CONSUMERS_ENABLED") && said.contains("stamps"),
        "{said}"
    );
}

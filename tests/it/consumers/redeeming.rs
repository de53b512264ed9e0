//! Shops redeem the coupons of customers.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{coupon_of, rewards, use_it};
use crate::service::process::{ADMIN_TOKEN, Service, body};
use crate::service::tokens::{token, with_secret};

const REDEEM: &str = "/api/admin/coupons/redeem";

fn couponing(more: &Value) -> Value {
    let mut terms = json!({ "discountAmount": 500, "minimumOrderAmount": 1_000 });
    for (key, value) in more.as_object().unwrap() {
        terms[key] = value.clone();
    }
    json!({ "name": "coupons", "kind": "coupon", "reward": { "coupon": terms } })
}

async fn redeem(service: &Service, token: &str, asked: &Value) -> (u16, Value) {
    let request = service.post(REDEEM).bearer_auth(token).json(asked);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), body(answer).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_requests_of_a_shop_use_a_coupon_once_per_order() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let campaign = service.create(couponing(&json!({}))).await;
    let coupon = coupon_of(&service, campaign, 7).await;
    let code = coupon["code"].as_str().unwrap();
    let (status, answer) = redeem(&service, ADMIN_TOKEN, &asked(code, "o-1", 999)).await;
    assert_eq!(
        (status, &answer["code"]),
        (409, &json!("ORDER_BELOW_MINIMUM"))
    );

    // Many concurrent requests for two orders: one order gets the coupon, and all of its requests are accepted.
    let all: Vec<_> = (0..20)
        .map(|nth| {
            let order = if nth % 2 == 0 { "o-1" } else { "o-2" };
            let (service, asked) = (&service, asked(code, order, 2_000));
            async move { (order, redeem(service, ADMIN_TOKEN, &asked).await) }
        })
        .collect();
    let answers = join_all(all).await;
    let won: Vec<&str> = answers
        .iter()
        .filter(|(_, (status, _))| *status == 200)
        .map(|(order, _)| *order)
        .collect();
    assert_eq!(won.len(), 10, "{answers:?}");
    assert!(won.iter().all(|order| *order == won[0]), "{won:?}");
    let first = &answers
        .iter()
        .find(|(order, _)| *order == won[0])
        .unwrap()
        .1
        .1;
    let paid = json!([500, 1_500, won[0]]);
    assert_eq!(
        json!([
            first["discountAmount"],
            first["amountToPay"],
            first["orderId"]
        ]),
        paid
    );
    for (order, (status, answer)) in &answers {
        if *order == won[0] {
            assert_eq!(answer, first, "the same answer");
        } else {
            assert_eq!((*status, &answer["code"]), (409, &json!("COUPON_USED")));
        }
    }
    is_as_asked_for(&service, code, won[0]).await;
    // The holder can no longer use it.
    let (status, answer) = use_it(&service, &coupon, "7", json!(2_000)).await;
    assert_eq!((status, &answer["code"]), (409, &json!("COUPON_USED")));
    assert_eq!(rewards(&service, 7).await["coupons"][0]["status"], "used");
}

fn asked(code: &str, order: &str, amount: u64) -> Value {
    json!({ "code": code, "orderId": order, "orderAmount": amount })
}

/// Repeated uses of a coupon that was used for `order` with an amount of 2,000.
async fn is_as_asked_for(service: &Service, code: &str, order: &str) {
    let lower = asked(&code.to_ascii_lowercase(), order, 2_000);
    assert_eq!(redeem(service, ADMIN_TOKEN, &lower).await.0, 200);
    let (status, answer) = redeem(service, ADMIN_TOKEN, &asked(code, order, 2_001)).await;
    assert_eq!(
        (status, &answer["errors"][0]["field"]),
        (422, &json!("orderAmount"))
    );
    let (status, _) = redeem(service, ADMIN_TOKEN, &asked(&"0".repeat(26), "o-1", 2_000)).await;
    assert_eq!(status, 404);
    for (field, wrong) in [
        ("code", json!("short")),
        ("code", json!(null)),
        ("orderId", json!("")),
        ("orderId", json!("é")),
        ("orderId", json!("x".repeat(65))),
        ("orderAmount", json!(0)),
    ] {
        let mut asked = asked(code, "o-3", 2_000);
        asked[field] = wrong;
        let (status, answer) = redeem(service, ADMIN_TOKEN, &asked).await;
        assert_eq!(
            (status, &answer["errors"][0]["field"]),
            (422, &json!(field)),
            "{asked}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holders_cannot_use_coupons_reserved_for_shops() {
    let folder = TempDir::new().unwrap();
    let mut settings = with_secret();
    settings.push(("FIRSTCOME_REWARDS_REDEEMERS", "shops".to_owned()));
    let service = Service::start(&folder, &settings).await;
    let campaign = service.create(couponing(&json!({}))).await;
    let holder = token(&json!({ "sub": "7" }));
    let shop = token(&json!({ "sub": "shop-3", "scope": "coupon:redeem" }));
    let path = format!("/api/campaigns/{campaign}/participation");
    let made = service.post(&path).bearer_auth(&holder).json(&json!({}));
    assert_eq!(made.send().await.unwrap().status(), 201);
    let mut coupon = Value::Null;
    crate::support::until("the coupon is there", async || {
        let asked = service.get("/api/users/7/rewards").bearer_auth(&holder);
        coupon = body(asked.send().await.unwrap()).await["coupons"][0].clone();
        coupon.is_object()
    })
    .await;
    let bearer = format!("Bearer {holder}");
    let (status, answer) = use_it(&service, &coupon, &bearer, json!(2_000)).await;
    assert_eq!((status, &answer["code"]), (403, &json!("SHOPS_ONLY")));
    let order = json!({ "code": coupon["code"], "orderId": "o-1", "orderAmount": 2_000 });
    assert_eq!(redeem(&service, &holder, &order).await.0, 403);
    assert_eq!(redeem(&service, &shop, &order).await.0, 200);
}

/// A coupon of user 7, whose credentials are `holder`.
async fn coupon_for(service: &Service, campaign: i64, holder: &str) -> Value {
    let path = format!("/api/campaigns/{campaign}/participation");
    let made = service.post(&path).bearer_auth(holder).json(&json!({}));
    assert_eq!(made.send().await.unwrap().status(), 201);
    let mut coupon = Value::Null;
    crate::support::until("the coupon is there", async || {
        let asked = service.get("/api/users/7/rewards").bearer_auth(holder);
        let all = body(asked.send().await.unwrap()).await["coupons"].clone();
        let of = |coupon: &&Value| coupon["campaignId"] == json!(campaign);
        coupon = all.as_array().unwrap().iter().find(of).cloned().into();
        coupon.is_object()
    })
    .await;
    coupon
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_used_by_one_shop_is_used_for_all() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &with_secret()).await;
    let holder = token(&json!({ "sub": "7" }));
    let shop = |name: &str| token(&json!({ "sub": name, "scope": "coupon:redeem" }));
    // Subjects of the maximum length: shops are distinguished by the last letter as well.
    let (long, longer) = ("s".repeat(255), format!("{}t", "s".repeat(254)));
    let used = json!("COUPON_USED");
    for (first, second) in [("shop-a", "shop-b"), (&long, &longer)] {
        let campaign = service.create(couponing(&json!({}))).await;
        let coupon = coupon_for(&service, campaign, &holder).await;
        let code = coupon["code"].as_str().unwrap();
        let order = asked(code, "1001", 2_000);
        for _ in 0..2 {
            assert_eq!(redeem(&service, &shop(first), &order).await.0, 200);
        }
        for amount in [2_000, 2_001] {
            let order = asked(code, "1001", amount);
            let (status, answer) = redeem(&service, &shop(second), &order).await;
            assert_eq!((status, &answer["code"]), (409, &used), "{first} {amount}");
        }
        let (status, answer) = uses(&service, &coupon, &holder).await;
        assert_eq!((status, &answer["code"]), (409, &used));
    }
    let campaign = service.create(couponing(&json!({}))).await;
    let coupon = coupon_for(&service, campaign, &holder).await;
    for _ in 0..2 {
        assert_eq!(uses(&service, &coupon, &holder).await.0, 200);
    }
    let order = asked(coupon["code"].as_str().unwrap(), "1001", 2_000);
    let (status, answer) = redeem(&service, &shop("shop-a"), &order).await;
    assert_eq!((status, &answer["code"]), (409, &used));
}

/// The holder uses it for the order 1001.
async fn uses(service: &Service, coupon: &Value, holder: &str) -> (u16, Value) {
    let path = format!("/api/coupons/{}/use", coupon["id"].as_str().unwrap());
    let order = json!({ "orderAmount": 2_000, "orderId": "1001" });
    let asked = service.post(&path).bearer_auth(holder).json(&order);
    let answer = asked.send().await.unwrap();
    (answer.status().as_u16(), body(answer).await)
}

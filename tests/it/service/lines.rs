//! Orders of several lines: all or none, also concurrently and with crashes; carts and reviews.

mod carts;
#[cfg(feature = "failpoints")]
mod crashes;
mod input;
mod isolation;
mod races;
mod reviews;
mod unfinished;

use reqwest::Response;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::orders::said;
use super::process::{Service, body};
use super::real::parts;
use crate::support::until;

/// A campaign with a price, or a free one.
fn sale(stock: u64, price: Option<u64>) -> Value {
    json!({
        "name": "lines", "kind": "general", "totalStock": stock, "price": price,
        "perUserLimit": 3, "maxQuantity": 3, "holdSeconds": 60
    })
}

fn lines(lines: &[(i64, u32)]) -> Value {
    let line =
        |(campaign, quantity): &(i64, u32)| json!({ "campaignId": campaign, "quantity": quantity });
    json!({ "lines": lines.iter().map(line).collect::<Vec<_>>() })
}

async fn place(service: &Service, user: i64, wanted: &[(i64, u32)]) -> Response {
    let request = service.post("/api/orders").json(&lines(wanted));
    let request = request.header("Authorization", user.to_string());
    request.send().await.unwrap()
}

async fn placed(service: &Service, user: i64, wanted: &[(i64, u32)]) -> Value {
    let answer = place(service, user, wanted).await;
    let (status, location) = (answer.status(), answer.headers().get("location").cloned());
    let order = body(answer).await;
    assert_eq!(status, 201, "{order}");
    let id = order["orderId"].as_str().unwrap();
    assert_eq!(location.unwrap(), format!("/api/orders/{id}").as_str());
    order
}

async fn change(
    service: &Service,
    order: &Value,
    what: &str,
    user: i64,
    content: Value,
) -> Response {
    let id = order["orderId"].as_str().unwrap();
    let request = service.post(&format!("/api/orders/{id}/{what}"));
    let request = request.header("Authorization", user.to_string());
    request.json(&content).send().await.unwrap()
}

async fn order(service: &Service, order: &Value, user: i64) -> Value {
    let id = order["orderId"].as_str().unwrap();
    let request = service.get(&format!("/api/orders/{id}"));
    let request = request.header("Authorization", user.to_string());
    body(request.send().await.unwrap()).await
}

/// The statuses of the lines' participations.
async fn statuses(service: &Service, order: &Value, user: i64) -> Vec<String> {
    let mut statuses = Vec::new();
    for line in order["lines"].as_array().unwrap() {
        let id = line["participationId"].as_str().unwrap();
        let request = service.get(&format!("/api/participations/{id}"));
        let request = request.header("Authorization", user.to_string());
        let line = body(request.send().await.unwrap()).await;
        statuses.push(line["status"].as_str().unwrap().to_owned());
    }
    statuses
}

async fn stock(service: &Service, campaign: i64) -> u64 {
    let answer = service.get(&format!("/api/campaigns/{campaign}/stock"));
    let stock = body(answer.send().await.unwrap()).await;
    stock["currentStock"].as_u64().unwrap()
}

async fn embedded(folder: &TempDir) -> Service {
    let settings = [("FIRSTCOME_PAYMENT_ALLOW_SIMULATED", "true".to_owned())];
    Service::start(folder, &settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_gets_all_its_lines_or_none() {
    let folder = TempDir::new().unwrap();
    let service = embedded(&folder).await;
    let (one, two) = (
        service.create(sale(3, None)).await,
        service.create(sale(2, None)).await,
    );
    let first = placed(&service, 7, &[(two, 2), (one, 1)]).await;
    assert_eq!(first["status"], "confirmed");
    assert_eq!(first["lines"][0]["campaignId"], two);
    assert_eq!(first.get("amount"), None);
    assert_eq!(
        statuses(&service, &first, 7).await,
        ["confirmed", "confirmed"]
    );
    assert_eq!(
        (stock(&service, one).await, stock(&service, two).await),
        (2, 0)
    );
    let refused = place(&service, 8, &[(one, 1), (two, 1)]).await;
    assert_eq!(refused.status(), 409);
    let refused = body(refused).await;
    assert_eq!(refused["code"], "SOLD_OUT");
    assert_eq!(refused["errors"][0]["field"], "lines[1]");
    let kept = order(&service, &refused, 8).await;
    assert_eq!(kept["status"], "refused");
    assert_eq!(kept["refusal"], json!({ "line": 1, "code": "SOLD_OUT" }));
    assert_eq!(kept["lines"][0].get("participationId"), None);
    // The reserved units are returned, and free.
    assert_eq!(stock(&service, one).await, 2);
    placed(&service, 8, &[(one, 2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_with_a_price_is_paid_once_for_all_lines() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    let (one, two) = (
        service.create(sale(5, Some(100))).await,
        service.create(sale(5, Some(30))).await,
    );
    let reserved = placed(&service, 7, &[(one, 2), (two, 1)]).await;
    assert_eq!(
        (&reserved["status"], &reserved["amount"]),
        (&json!("reserved"), &json!(230))
    );
    assert!(reserved["expiresAt"].is_string());
    assert_eq!(
        statuses(&service, &reserved, 7).await,
        ["reserved", "reserved"]
    );
    // A line is paid and cancelled with its order only.
    let line = reserved["lines"][0]["participationId"].as_str().unwrap();
    for what in ["confirm", "cancel"] {
        let alone = super::orders::change(&service, line, what, 7, json!({})).await;
        let alone = body(alone).await;
        assert_eq!(alone["code"], "PART_OF_ORDER");
        assert_eq!(alone["orderId"], reserved["orderId"]);
    }
    let wrong = change(&service, &reserved, "confirm", 7, json!({ "amount": 229 })).await;
    assert_eq!(body(wrong).await["errors"][0]["field"], "amount");
    let declined = json!({ "paymentReference": "declined-1" });
    let declined = change(&service, &reserved, "confirm", 7, declined).await;
    assert_eq!(said(declined).await, (402, "PAYMENT_DECLINED".to_owned()));
    let paid = json!({ "paymentReference": "pi_1", "amount": 230 });
    for _ in 0..2 {
        let paid = change(&service, &reserved, "confirm", 7, paid.clone()).await;
        assert_eq!(said(paid).await, (200, "confirmed".to_owned()));
    }
    assert_eq!(
        statuses(&service, &reserved, 7).await,
        ["confirmed", "confirmed"]
    );
    let other = json!({ "paymentReference": "pi_2" });
    let other = change(&service, &reserved, "confirm", 7, other).await;
    assert_eq!(said(other).await, (409, "ALREADY_PAID".to_owned()));
    // The payment pays for nothing else: neither an order nor a participation.
    let second = placed(&service, 8, &[(one, 1), (two, 1)]).await;
    let used = change(
        &service,
        &second,
        "confirm",
        8,
        json!({ "paymentReference": "pi_1" }),
    )
    .await;
    assert_eq!(said(used).await, (409, "PAYMENT_REFERENCE_USED".to_owned()));
    let single = super::orders::reserve(&service, one, 9, 1).await;
    let used = json!({ "paymentReference": "pi_1" });
    let used = super::orders::change(&service, &single, "confirm", 9, used).await;
    assert_eq!(said(used).await, (409, "PAYMENT_REFERENCE_USED".to_owned()));
    parts.is_sound(&folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_order_expires_as_a_whole() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    let (mut short, long) = (sale(2, Some(1)), sale(2, Some(1)));
    short["holdSeconds"] = json!(1);
    let (one, two) = (service.create(long).await, service.create(short).await);
    let reserved = placed(&service, 7, &[(one, 2), (two, 2)]).await;
    until("the units are free", async || {
        (stock(&service, one).await, stock(&service, two).await) == (2, 2)
    })
    .await;
    assert_eq!(order(&service, &reserved, 7).await["status"], "expired");
    assert_eq!(
        statuses(&service, &reserved, 7).await,
        ["expired", "expired"]
    );
    let late = change(&service, &reserved, "confirm", 7, json!({})).await;
    assert_eq!(said(late).await, (409, "EXPIRED".to_owned()));
    placed(&service, 7, &[(one, 1), (two, 1)]).await;
    parts.until_sound(&folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_cancelled_as_a_whole() {
    let folder = TempDir::new().unwrap();
    let service = embedded(&folder).await;
    let cancellable = |price| {
        let mut campaign = sale(3, price);
        campaign["cancellable"] = json!(true);
        campaign
    };
    let (one, two) = (
        service.create(cancellable(None)).await,
        service.create(cancellable(None)).await,
    );
    let firm = service.create(sale(3, None)).await;
    let confirmed = placed(&service, 7, &[(one, 1), (two, 2)]).await;
    for _ in 0..2 {
        let cancelled = change(&service, &confirmed, "cancel", 7, json!({})).await;
        assert_eq!(said(cancelled).await, (200, "cancelled".to_owned()));
    }
    assert_eq!(
        statuses(&service, &confirmed, 7).await,
        ["cancelled", "cancelled"]
    );
    assert_eq!(
        (stock(&service, one).await, stock(&service, two).await),
        (3, 3)
    );
    // One campaign without cancellation is enough.
    let mixed = placed(&service, 7, &[(one, 1), (firm, 1)]).await;
    let refused = change(&service, &mixed, "cancel", 7, json!({})).await;
    assert_eq!(said(refused).await, (409, "NOT_CANCELLABLE".to_owned()));
    assert_eq!(
        statuses(&service, &mixed, 7).await,
        ["confirmed", "confirmed"]
    );
    // A reservation can always be cancelled.
    let paid = service.create(sale(3, Some(5))).await;
    let reserved = placed(&service, 7, &[(paid, 3)]).await;
    let cancelled = change(&service, &reserved, "cancel", 7, json!({})).await;
    assert_eq!(said(cancelled).await, (200, "cancelled".to_owned()));
    assert_eq!(stock(&service, paid).await, 3);
    let late = change(&service, &reserved, "confirm", 7, json!({})).await;
    assert_eq!(said(late).await, (409, "CANCELLED".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_another_user_gets_the_answer_of_an_unknown_one() {
    let folder = TempDir::new().unwrap();
    let service = embedded(&folder).await;
    let paid = service.create(sale(3, Some(5))).await;
    let reserved = placed(&service, 7, &[(paid, 3)]).await;
    for what in ["confirm", "cancel"] {
        let foreign = change(&service, &reserved, what, 8, json!({})).await;
        assert_eq!(said(foreign).await, (404, "NOT_FOUND".to_owned()));
    }
    assert_eq!(order(&service, &reserved, 8).await["code"], "NOT_FOUND");
    let list = async |user: i64, of: i64| {
        let request = service.get(&format!("/api/users/{of}/orders"));
        let request = request.header("Authorization", user.to_string());
        body(request.send().await.unwrap()).await
    };
    assert_eq!(list(8, 7).await["code"], "FORBIDDEN");
    assert_eq!(list(7, 7).await["items"][0]["orderId"], reserved["orderId"]);
    assert_eq!(list(8, 8).await["items"], json!([]));
}

//! Carts.

use reqwest::Response;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{embedded, lines, sale, stock};
use crate::service::process::{Service, body};

async fn replace(service: &Service, user: i64, content: &Value) -> Response {
    let path = format!("{}/api/users/{user}/cart", service.base);
    let request = reqwest::Client::new().put(path).json(content);
    request
        .header("Authorization", user.to_string())
        .send()
        .await
        .unwrap()
}

async fn cart(service: &Service, user: i64) -> Value {
    let request = service.get(&format!("/api/users/{user}/cart"));
    let request = request.header("Authorization", user.to_string());
    body(request.send().await.unwrap()).await["lines"].clone()
}

async fn check_out(service: &Service, user: i64, key: &str) -> Response {
    let request = service.post(&format!("/api/users/{user}/cart/checkout"));
    let request = request.header("Authorization", user.to_string());
    request.header("Idempotency-Key", key).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_is_filled_ordered_and_empty() {
    let folder = TempDir::new().unwrap();
    let service = embedded(&folder).await;
    let (one, two) = (
        service.create(sale(3, None)).await,
        service.create(sale(1, None)).await,
    );
    assert_eq!(cart(&service, 7).await, json!([]));
    let content = lines(&[(two, 1), (one, 2)]);
    assert_eq!(replace(&service, 7, &content).await.status(), 200);
    assert_eq!(cart(&service, 7).await, content["lines"]);
    // Nothing in a cart is reserved.
    assert_eq!(stock(&service, one).await, 3);
    let first = check_out(&service, 7, "a").await;
    assert_eq!(first.status(), 201);
    let first = body(first).await;
    assert_eq!(first["status"], "confirmed");
    assert_eq!(cart(&service, 7).await, json!([]));
    assert_eq!(body(check_out(&service, 7, "a").await).await, first);
    let empty = check_out(&service, 7, "b").await;
    assert_eq!(empty.status(), 409);
    assert_eq!(body(empty).await["code"], "CART_EMPTY");
    // The cart stays when the order is refused.
    assert_eq!(replace(&service, 8, &content).await.status(), 200);
    let refused = body(check_out(&service, 8, "a").await).await;
    assert_eq!(refused["code"], "SOLD_OUT");
    assert_eq!(cart(&service, 8).await, content["lines"]);
    let client = reqwest::Client::new();
    let path = format!("{}/api/users/8/cart", service.base);
    let emptied = client
        .delete(path)
        .header("Authorization", "8")
        .send()
        .await;
    assert_eq!(emptied.unwrap().status(), 200);
    assert_eq!(cart(&service, 8).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_carts_are_named_and_those_of_others_are_refused() {
    let folder = TempDir::new().unwrap();
    let service = embedded(&folder).await;
    let one = service.create(sale(3, None)).await;
    for (content, field) in [
        (json!({}), "lines"),
        (lines(&[(one, 1), (one, 1)]), "lines[1].campaignId"),
        (lines(&[(999, 1)]), "lines[0].campaignId"),
    ] {
        let answer = replace(&service, 7, &content).await;
        assert_eq!(answer.status(), 422);
        assert_eq!(body(answer).await["errors"][0]["field"], field);
    }
    for path in ["/api/users/7/cart", "/api/users/7/cart/checkout"] {
        let request = if path.ends_with("cart") {
            service.get(path)
        } else {
            service.post(path)
        };
        let answer = request.header("Authorization", "8").send().await.unwrap();
        assert_eq!(answer.status(), 403, "{path}");
    }
    assert_eq!(cart(&service, 7).await, json!([]));
}

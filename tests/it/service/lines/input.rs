//! Bad input, and requests that are repeated.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{embedded, lines, order, placed, sale, stock};
use crate::service::process::{Service, body};

async fn fields(service: &Service, content: &Value) -> (u16, Vec<String>) {
    let request = service.post("/api/orders").header("Authorization", "7");
    let answer = request.json(content).send().await.unwrap();
    let status = answer.status().as_u16();
    let problem = body(answer).await;
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    let field = |error: &Value| error["field"].as_str().unwrap().to_owned();
    (status, errors.iter().map(field).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_lines_are_named_and_nothing_is_handed_out() {
    let folder = TempDir::new().unwrap();
    let service = embedded(&folder).await;
    let free = service.create(sale(3, None)).await;
    let paid = service.create(sale(3, Some(5))).await;
    let many: Vec<(i64, u32)> = (1..=21).map(|campaign| (campaign, 1)).collect();
    for (content, expected) in [
        (json!({}), "lines"),
        (json!({ "lines": 3 }), "lines"),
        (json!({ "lines": [] }), "lines"),
        (lines(&many), "lines"),
        (json!({ "lines": [3] }), "lines[0]"),
        (
            json!({ "lines": [{ "quantity": 1 }] }),
            "lines[0].campaignId",
        ),
        (lines(&[(free, 0)]), "lines[0].quantity"),
        (
            json!({ "lines": [{ "campaignId": free, "price": 1 }] }),
            "lines[0].price",
        ),
        (lines(&[(free, 1), (free, 1)]), "lines[1].campaignId"),
        (lines(&[(free, 1), (999, 1)]), "lines[1].campaignId"),
        (lines(&[(free, 1), (paid, 1)]), "lines"),
    ] {
        let answer = fields(&service, &content).await;
        assert_eq!(answer, (422, vec![expected.to_owned()]), "{content}");
    }
    // The rules refuse more units than one request may ask for.
    let answer = fields(&service, &lines(&[(free, 4)])).await;
    assert_eq!(answer, (409, vec!["lines[0]".to_owned()]));
    assert_eq!(
        (stock(&service, free).await, stock(&service, paid).await),
        (3, 3)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_places_one_order() {
    let folder = TempDir::new().unwrap();
    let service = embedded(&folder).await;
    let one = service.create(sale(3, Some(5))).await;
    let two = service.create(sale(1, Some(5))).await;
    let place = async |key: &str, wanted: &[(i64, u32)]| {
        let request = service.post("/api/orders").header("Authorization", "7");
        let request = request.header("Idempotency-Key", key).json(&lines(wanted));
        let answer = request.send().await.unwrap();
        let replayed = answer.headers().contains_key("idempotency-replayed");
        (answer.status().as_u16(), replayed, body(answer).await)
    };
    let (status, replayed, first) = place("a", &[(one, 1), (two, 1)]).await;
    assert_eq!((status, replayed), (201, false));
    let (status, replayed, again) = place("a", &[(one, 1), (two, 1)]).await;
    assert_eq!((status, replayed), (201, true));
    assert_eq!(first, again);
    assert_eq!(stock(&service, one).await, 2);
    let (status, _, second) = place("a", &[(one, 2), (two, 1)]).await;
    assert_eq!(
        (status, &second["code"]),
        (422, &json!("IDEMPOTENCY_KEY_REUSED"))
    );
    // A refusal is an answer, too: units that become free later do not change it.
    let (status, _, refused) = place("b", &[(one, 1), (two, 1)]).await;
    assert_eq!((status, &refused["code"]), (409, &json!("SOLD_OUT")));
    let cancelled = super::change(&service, &first, "cancel", 7, json!({})).await;
    assert_eq!(cancelled.status(), 200);
    let (status, _, again) = place("b", &[(one, 1), (two, 1)]).await;
    assert_eq!((status, &again["orderId"]), (409, &refused["orderId"]));
    assert_eq!(order(&service, &refused, 7).await["status"], "refused");
    let (status, _, _) = place("c", &[(one, 1), (two, 1)]).await;
    assert_eq!(status, 201);
    placed(&service, 8, &[(one, 1)]).await;
}

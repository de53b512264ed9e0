//! Reviews.

use reqwest::Response;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{embedded, sale};
use crate::service::orders::reserve;
use crate::service::process::{Service, body};

async fn review(service: &Service, participation: &str, user: i64, content: &Value) -> Response {
    let request = service.post(&format!("/api/participations/{participation}/review"));
    let request = request.header("Authorization", user.to_string());
    request.json(content).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_participation_is_reviewed_once() {
    let folder = TempDir::new().unwrap();
    let service = embedded(&folder).await;
    let campaign = service.create(sale(10, None)).await;
    let read = async |path: String| body(service.get(&path).send().await.unwrap()).await;
    let before = read(format!("/api/campaigns/{campaign}")).await;
    assert_eq!(
        (&before["reviewCount"], &before["averageRating"]),
        (&json!(0), &Value::Null)
    );
    let mut ids = Vec::new();
    for user in [7, 8, 9] {
        let yes = body(service.take_part(campaign, user).await).await;
        ids.push(yes["participationId"].as_str().unwrap().to_owned());
    }
    for (id, user, rating) in [(&ids[0], 7, 5), (&ids[1], 8, 4), (&ids[2], 9, 4)] {
        let content = json!({ "rating": rating, "text": format!("by {user}") });
        let written = review(&service, id, user, &content).await;
        assert_eq!(written.status(), 201);
        let again = review(&service, id, user, &content).await;
        assert_eq!(again.status(), 409);
        assert_eq!(body(again).await["code"], "ALREADY_REVIEWED");
    }
    let after = read(format!("/api/campaigns/{campaign}")).await;
    assert_eq!(
        (&after["reviewCount"], &after["averageRating"]),
        (&json!(3), &json!(4.33))
    );
    let page = read(format!("/api/campaigns/{campaign}/reviews?limit=2")).await;
    let texts = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|one| one["text"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(texts(&page), ["by 9", "by 8"]);
    assert_eq!(page["items"][0].get("userId"), None);
    let cursor = page["nextCursor"].as_str().unwrap();
    let next = read(format!(
        "/api/campaigns/{campaign}/reviews?limit=2&cursor={cursor}"
    ))
    .await;
    assert_eq!(texts(&next), ["by 7"]);
    assert_eq!(next["nextCursor"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_participant_reviews_and_only_what_is_confirmed() {
    let folder = TempDir::new().unwrap();
    let service = embedded(&folder).await;
    let campaign = service.create(sale(10, Some(5))).await;
    let id = reserve(&service, campaign, 7, 1).await;
    let good = json!({ "rating": 5 });
    let early = review(&service, &id, 7, &good).await;
    assert_eq!(body(early).await["code"], "NOT_CONFIRMED");
    let paid = super::super::orders::change(&service, &id, "confirm", 7, json!({})).await;
    assert_eq!(paid.status(), 200);
    let foreign = review(&service, &id, 8, &good).await;
    assert_eq!(foreign.status(), 404);
    let long = "x".repeat(2_001);
    for (content, field) in [
        (json!({}), "rating"),
        (json!({ "rating": 0 }), "rating"),
        (json!({ "rating": 6 }), "rating"),
        (json!({ "rating": 5, "text": long }), "text"),
        (json!({ "rating": 5, "stars": 5 }), "stars"),
    ] {
        let answer = review(&service, &id, 7, &content).await;
        assert_eq!(answer.status(), 422, "{content}");
        assert_eq!(body(answer).await["errors"][0]["field"], field);
    }
    assert_eq!(review(&service, &id, 7, &good).await.status(), 201);
}

use poem::IntoResponse;
use poem::http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::domain::{Participation, Status, Timestamp};
use crate::http::fields::read;
use crate::sale::participate::Replayed;

#[tokio::test]
async fn an_accepted_participation_has_the_documented_shape_and_a_location() {
    let accepted = Accepted {
        view: ParticipationView::from(&Participation::example()),
        replayed: Replayed::First,
        rates: None,
    };
    let response = accepted.into_response();
    assert_eq!(response.status(), StatusCode::CREATED);
    let id = "00000000-0000-0000-0000-000000000001";
    assert_eq!(
        response.header("location").unwrap(),
        format!("/api/participations/{id}")
    );
    assert!(response.header("idempotency-replayed").is_none());
    let body: Value = response.into_body().into_json().await.unwrap();
    assert_eq!(
        body,
        json!({
            "participationId": id, "campaignId": 2, "userId": 3, "quantity": 1, "rank": 4,
            "status": "confirmed", "remaining": 5
        })
    );
}

#[tokio::test]
async fn a_repeated_key_gets_the_same_response_marked_as_replayed() {
    let answer = |replayed| {
        Accepted {
            view: ParticipationView::from(&Participation::example()),
            replayed,
            rates: None,
        }
        .into_response()
    };
    let again = answer(Replayed::Again);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.status(), StatusCode::CREATED);
    let first = answer(Replayed::First).into_body().into_string().await;
    let again = again.into_body().into_string().await;
    assert_eq!(first.unwrap(), again.unwrap());
}

#[test]
fn a_reservation_has_its_expiry() {
    let view = ParticipationView::from(&Participation {
        status: Status::Reserved,
        expires_at: Some(Timestamp::UNIX_EPOCH),
        remaining: None,
        ..Participation::example()
    });
    let view = serde_json::to_value(view).unwrap();
    assert_eq!(view["expiresAt"], "1970-01-01T00:00:00Z");
    assert_eq!(view["remaining"], Value::Null);
}

#[test]
fn requests_have_their_defaults_and_bounds() {
    let request: ParticipationRequest = read(json!({})).unwrap();
    assert_eq!((request.user, request.quantity), (None, 1));
    for (body, field) in [
        (json!({"quantity": 0}), "quantity"),
        (json!({"quantity": -1}), "quantity"),
        (json!({"quantity": null}), "quantity"),
        (json!({"userId": 0}), "userId"),
        (json!({"userId": 9_007_199_254_740_992_u64}), "userId"),
        (json!({"userId": "42"}), "userId"),
        (json!({"userid": 42}), "userid"),
    ] {
        let problem = read::<ParticipationRequest>(body.clone()).unwrap_err();
        assert_eq!(problem.errors.first().unwrap().field, field, "{body}");
    }
}

#[tokio::test]
async fn idempotency_keys_are_visible_ascii() {
    let read = async |values: &[&str]| {
        let mut request = Request::builder();
        for value in values {
            request = request.header("idempotency-key", *value);
        }
        let (request, mut body) = request.finish().split();
        let options = poem_openapi::ExtractParamOptions::default();
        let key = <IdempotencyKey as poem_openapi::ApiExtractor>::from_request(
            &request, &mut body, options,
        )
        .await;
        key.map(|key| key.0)
    };
    assert_eq!(read(&[]).await.unwrap(), None);
    assert_eq!(read(&["a-1"]).await.unwrap().unwrap(), "a-1");
    let longest = "k".repeat(255);
    assert!(read(&[&longest]).await.is_ok());
    for bad in [
        &[""][..],
        &["a b"],
        &["schlüssel"],
        &["a", "b"],
        &[&"k".repeat(256)],
    ] {
        let error = read(bad).await.unwrap_err();
        let problem = error.downcast_ref::<Problem>().unwrap();
        assert_eq!(problem.errors.first().unwrap().field, "Idempotency-Key");
    }
}

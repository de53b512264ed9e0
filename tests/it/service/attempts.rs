//! The admin's reads about attempts: participations of a campaign, rejections by minute, events with their offsets.

use reqwest::Response;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service, body};
use super::real::parts;
use crate::support::until;

async fn ask(service: &Service, path: &str) -> (u16, Value) {
    let path = format!("/api/admin{path}");
    let answer: Response = service
        .get(&path)
        .bearer_auth(ADMIN_TOKEN)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), body(answer).await)
}

async fn field_at_fault(service: &Service, path: &str) -> (u16, Value) {
    let (status, problem) = ask(service, path).await;
    (status, problem["errors"][0]["field"].clone())
}

fn users(page: &Value) -> Vec<i64> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|one| one["userId"].as_i64().unwrap()).collect()
}

async fn participations(service: &Service) {
    let new = json!({ "name": "list", "kind": "general", "price": 500, "totalStock": 50, "perUserLimit": 2 });
    let campaign = service.create(new).await;
    let mut ids = Vec::new();
    for user in 1..=5 {
        let made = body(service.take_part(campaign, user).await).await;
        ids.push(made["participationId"].as_str().unwrap().to_owned());
    }
    service.take_part(campaign, 3).await;
    let paid = service.post(&format!("/api/participations/{}/confirm", ids[1]));
    let paid = paid.header("authorization", "2").json(&json!({}));
    assert_eq!(paid.send().await.unwrap().status(), 200);
    let path = format!("/campaigns/{campaign}/participations");
    let (status, first) = ask(service, &format!("{path}?limit=4")).await;
    assert_eq!((status, users(&first)), (200, vec![1, 2, 3, 4]));
    let one = &first["items"][1];
    assert_eq!(
        (&one["participationId"], &one["status"], &one["rank"]),
        (&json!(ids[1]), &json!("confirmed"), &json!(2))
    );
    assert!(one["createdAt"].is_string() && one["rewardedAt"].is_null());
    let cursor = first["nextCursor"].as_str().unwrap();
    let (_, rest) = ask(service, &format!("{path}?limit=4&cursor={cursor}")).await;
    assert_eq!(
        (users(&rest), &rest["nextCursor"]),
        (vec![5, 3], &Value::Null)
    );
    for (query, wanted) in [
        ("status=confirmed", vec![2]),
        ("status=expired", vec![]),
        ("userId=3", vec![3, 3]),
        ("userId=3&status=confirmed", vec![]),
        ("userId=3&limit=1", vec![3]),
        ("userId=99", vec![]),
    ] {
        let (status, page) = ask(service, &format!("{path}?{query}")).await;
        assert_eq!((status, users(&page)), (200, wanted), "{query}");
    }
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("status=lost", "status"),
        ("userId=0", "userId"),
        ("cursor=x", "cursor"),
    ] {
        let fault = field_at_fault(service, &format!("{path}?{query}")).await;
        assert_eq!(fault, (422, json!(field)), "{query}");
    }
    let (status, _) = ask(service, "/campaigns/999/participations").await;
    assert_eq!(status, 404);
    let (_, audit) = ask(service, "/audit?action=participation.read").await;
    assert_eq!(audit["items"][0]["campaignId"], campaign);
}

async fn refusals(service: &Service) {
    let new = json!({ "name": "few", "kind": "general", "totalStock": 1 });
    let campaign = service.create(new).await;
    for user in 1..=4 {
        service.take_part(campaign, user).await;
    }
    service.take_part(campaign, 1).await;
    let path = format!("/stats/refusals/{campaign}");
    let mut found = Value::Null;
    until("the refusals are stored", async || {
        found = ask(service, &path).await.1;
        found["total"] == 4
    })
    .await;
    let items = found["items"].as_array().unwrap();
    let counted = |code: &str| -> u64 {
        let of_code = items.iter().filter(|one| one["code"] == code);
        of_code.map(|one| one["count"].as_u64().unwrap()).sum()
    };
    assert_eq!(counted("SOLD_OUT") + counted("ALREADY_PARTICIPATED"), 4);
    assert!(counted("SOLD_OUT") >= 3);
    let minute = items[0]["minute"].as_str().unwrap();
    assert!(minute.ends_with(":00Z"), "{minute}");
    let before = format!("{path}?to={minute}");
    assert_eq!(ask(service, &before).await.1["items"], json!([]));
    let from = format!("{path}?from={minute}");
    assert_eq!(ask(service, &from).await.1["total"], 4);
    for range in [
        "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:01Z",
        "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
    ] {
        let fault = field_at_fault(service, &format!("{path}?{range}")).await;
        assert_eq!(fault, (422, json!("from")), "{range}");
    }
    assert_eq!(
        field_at_fault(service, &format!("{path}?to=soon")).await.0,
        422
    );
    assert_eq!(ask(service, "/stats/refusals/999").await.0, 404);
}

/// Events of a participation that was reserved and cancelled, once they are published.
async fn events(service: &Service, keeps: bool) {
    let new = json!({ "name": "events", "kind": "general", "price": 500 });
    let campaign = service.create(new).await;
    let mut ids = Vec::new();
    for (user, way) in [(1, "participation"), (2, "participation-sync")] {
        let path = format!("/api/campaigns/{campaign}/{way}");
        let made = service.post(&path).json(&json!({ "userId": user }));
        let made = body(made.send().await.unwrap()).await;
        ids.push(made["participationId"].as_str().unwrap().to_owned());
    }
    let cancel = service.post(&format!("/api/participations/{}/cancel", ids[0]));
    let cancel = cancel.header("authorization", "1").json(&json!({}));
    assert_eq!(cancel.send().await.unwrap().status(), 200);
    for (id, wanted) in [(&ids[0], 2), (&ids[1], 1)] {
        let path = format!("/participations/{id}/events");
        let mut found = Value::Null;
        until("all are published", async || {
            found = ask(service, &path).await.1;
            let items = found["items"].as_array().unwrap();
            items.len() == wanted && items.iter().all(|one| one["state"] == "published")
        })
        .await;
        assert_eq!(
            (&found["participationId"], &found["campaignId"]),
            (&json!(id), &json!(campaign))
        );
        assert_eq!(
            (&found["offsetsKept"], &found["purgedEvents"]),
            (&json!(keeps), &json!(0))
        );
        let items = found["items"].as_array().unwrap();
        assert_eq!(items[0]["type"], "firstcome.participation.reserved");
        for one in items {
            assert_eq!(one["parked"], Value::Null);
            if keeps {
                let topic = one["topic"].as_str().unwrap();
                assert!(topic.ends_with(".participation.v1"), "{topic}");
                assert!(one["partition"].as_i64().unwrap() >= 0);
                assert!(one["offset"].as_i64().unwrap() >= 0);
                assert!(one["publishedAt"].is_string());
            } else {
                for field in ["topic", "partition", "offset", "publishedAt"] {
                    assert_eq!(one[field], Value::Null, "{field}");
                }
            }
        }
    }
    let nobody = uuid::Uuid::nil();
    let (status, _) = ask(service, &format!("/participations/{nobody}/events")).await;
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_shown_on_embedded_parts() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    participations(&service).await;
    refusals(&service).await;
    events(&service, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_shown_on_the_real_parts() {
    let mut parts = parts().await;
    let keep = ("FIRSTCOME_RELAY_KEEP_OFFSETS", "true".to_owned());
    parts.settings.push(keep);
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    participations(&service).await;
    refusals(&service).await;
    events(&service, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_shown_on_embedded_parts() {
    let folder = TempDir::new().unwrap();
    let settings = [("FIRSTCOME_RELAY_KEEP_OFFSETS", "true".to_owned())];
    let service = Service::start(&folder, &settings).await;
    events(&service, true).await;
}

/// The relay dies after an offset is written and before its position is: the event is published again, and the offset is
/// that of the last time.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_offset_and_position_repeats_the_event() {
    let mut parts = parts().await;
    let keep = ("FIRSTCOME_RELAY_KEEP_OFFSETS", "true".to_owned());
    parts.settings.push(keep);
    let folder = TempDir::new().unwrap();
    let mut service = Service::start(&folder, parts.settings()).await;
    let campaign = service
        .create(json!({ "name": "crash", "kind": "general" }))
        .await;
    // The events about the campaign are published by then.
    assert!(service.stop().await.success());
    let mut settings = parts.settings.clone();
    settings.push(("FAILPOINTS", "relay.offsets_kept=return".to_owned()));
    let mut service = Service::start(&folder, &settings).await;
    let made = body(service.take_part(campaign, 1).await).await;
    until("it dies", async || service.has_died()).await;
    let service = Service::start(&folder, parts.settings()).await;
    let id = made["participationId"].as_str().unwrap();
    let path = format!("/participations/{id}/events");
    let mut found = Value::Null;
    until("it is published", async || {
        found = ask(&service, &path).await.1;
        found["items"][0]["state"] == "published"
    })
    .await;
    let records = parts.records(2).await;
    assert_eq!(records[0].ce_id, records[1].ce_id);
    let first = &found["items"][0];
    assert_eq!(first["eventId"], json!(records[0].ce_id));
    assert_eq!(first["offset"], 1, "the second record of its partition");
}

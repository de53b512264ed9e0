//! Real records against the schemas of the AsyncAPI document.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use firstcome::runtime::clock::Clock;
use jsonschema::{Draft, Validator};
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service, body};
use super::real::{Parts, parts};
use super::records::{Seen, admin, read};
use crate::support::real;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// One message of the document: its headers and its value, each as a schema.
struct Message {
    headers: Validator,
    value: Validator,
    described: BTreeSet<String>,
}

impl Message {
    fn of(name: &str) -> Self {
        let document: Value =
            serde_json::from_str(firstcome::events::asyncapi::document()).unwrap();
        let message = &document["components"]["messages"][name];
        let validator = |schema: &Value| {
            // References are relative to the document, so the schema is used with the whole document.
            let mut whole = document.clone();
            whole["allOf"] = json!([schema]);
            jsonschema::options()
                .with_draft(Draft::Draft7)
                .should_validate_formats(true)
                .build(&whole)
                .unwrap()
        };
        let schemas = &document["components"]["schemas"];
        let headers = match name {
            "campaignChanged" | "campaignDead" => "campaignEventHeaders",
            "orderChanged" | "orderDead" => "orderEventHeaders",
            _ => "eventHeaders",
        };
        let mut described = names(&schemas[headers]["properties"]);
        if name.ends_with("Dead") {
            described.extend(names(&schemas["deadLetterReasons"]["properties"]));
        }
        Self {
            headers: validator(&message["headers"]),
            value: validator(&message["payload"]),
            described,
        }
    }

    /// The differences of a record from the document; empty: it matches.
    fn mistakes(&self, headers: &Value, value: &Value) -> Vec<String> {
        let said = |error: jsonschema::ValidationError<'_>| error.to_string();
        let mut mistakes: Vec<String> = self.headers.iter_errors(headers).map(said).collect();
        mistakes.extend(self.value.iter_errors(value).map(said));
        let unknown = names(headers)
            .difference(&self.described)
            .cloned()
            .collect();
        let unknown: Vec<String> = unknown;
        mistakes.extend(
            unknown
                .iter()
                .map(|name| format!("{name} is not described")),
        );
        mistakes
    }

    fn describes(&self, record: &Seen) {
        let mistakes = self.mistakes(&json!(record.headers), &record.value);
        assert!(mistakes.is_empty(), "{record:?}: {mistakes:?}");
    }
}

fn names(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

/// A sale of two: one free, with a trace, and one with a price.
async fn sell_two(service: &Service) {
    for price in [Value::Null, json!(500)] {
        let campaign =
            json!({ "name": "described", "kind": "general", "totalStock": 9, "price": price });
        let campaign = service.create(campaign).await;
        let answer = service
            .post(&format!("/api/campaigns/{campaign}/participation"))
            .header("traceparent", TRACE)
            .json(&json!({ "userId": 7 }))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 201, "{}", body(answer).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_serves_the_document() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[]).await;
    let served = service.get("/asyncapi.json").send().await.unwrap();
    assert_eq!(served.headers()["content-type"], "application/json");
    let document: Value = serde_json::from_str(firstcome::events::asyncapi::document()).unwrap();
    assert_eq!(body(served).await, document);
}

#[tokio::test(flavor = "multi_thread")]
async fn published_records_match_the_asyncapi_document() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    sell_two(&service).await;
    let records = parts.records(2).await;
    let types: BTreeSet<&str> = records.iter().map(|one| one.ce_type.as_str()).collect();
    assert_eq!(
        types,
        BTreeSet::from([
            "firstcome.participation.confirmed",
            "firstcome.participation.reserved"
        ])
    );
    let changed = Message::of("participationChanged");
    for record in &records {
        changed.describes(record);
        // An untrusted sender does not decide whether it is traced.
        let unsampled = TRACE.replace("-01", "-00");
        assert_eq!(record.headers["traceparent"], unsampled);
        assert_eq!(names(&record.value).len(), 7, "{record:?}");
    }
}

/// Orders of two campaigns, one for each type of event beside `reserved`.
async fn change_orders(service: &Service) {
    let mut campaigns = Vec::new();
    for hold_seconds in [60, 1] {
        let campaign = json!({
            "name": "ordered", "kind": "general", "totalStock": 9, "perUserLimit": 9, "price": 500,
            "holdSeconds": hold_seconds,
        });
        campaigns.push(service.create(campaign).await);
    }
    let place = async |lines: &[i64]| {
        let lines: Vec<Value> = lines.iter().map(|id| json!({ "campaignId": id })).collect();
        let order = service.post("/api/orders").header("authorization", "7");
        let order = order
            .header("traceparent", TRACE)
            .json(&json!({ "lines": lines }));
        let order = body(order.send().await.unwrap()).await;
        order["orderId"].as_str().unwrap().to_owned()
    };
    for what in ["confirm", "cancel"] {
        let id = place(&campaigns[..1]).await;
        let request = service.post(&format!("/api/orders/{id}/{what}"));
        let request = request.header("authorization", "7").json(&json!({}));
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    // Nobody pays for it.
    place(&campaigns).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_about_orders_match_the_asyncapi_document() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    change_orders(&service).await;
    let topic = format!("{}.order.v1", parts.prefix);
    let records = read(real("FIRSTCOME_KAFKA_BROKERS"), topic, 6).await;
    let mut types: Vec<&str> = records.iter().map(|one| one.ce_type.as_str()).collect();
    types.sort_unstable();
    assert_eq!(
        types,
        [
            "firstcome.order.cancelled",
            "firstcome.order.confirmed",
            "firstcome.order.expired",
            "firstcome.order.reserved",
            "firstcome.order.reserved",
            "firstcome.order.reserved",
        ]
    );
    let changed = Message::of("orderChanged");
    for record in &records {
        changed.describes(record);
        assert_eq!(record.value["orderId"], record.key.as_str());
        assert_eq!(names(&record.value).len(), 6, "{record:?}");
    }
    parts.until_sound(&folder).await;
}

/// A campaign whose events have all types, in order.
async fn change_a_campaign(service: &Service) -> [&'static str; 10] {
    let opens_at = Clock::System.now() + TimeDelta::hours(1);
    let new = json!({
        "name": "Erste \"hundert\" 첫", "kind": "points", "totalStock": 1, "opensAt": opens_at,
        "reward": { "points": 1 },
    });
    let id = service.create(new).await;
    let change = async |change: Value| {
        let path = format!("{}/api/admin/campaigns/{id}", service.base);
        let request = service.client.patch(path).bearer_auth(ADMIN_TOKEN);
        let changed = request.json(&change).send().await.unwrap();
        assert_eq!(changed.status(), 200, "{}", body(changed).await);
    };
    let go = async |to: &str| {
        let path = format!("/campaigns/{id}/{to}");
        let moved = service.admin(&path).send().await.unwrap();
        assert_eq!(moved.status(), 200, "{}", body(moved).await);
    };
    change(json!({ "closesAt": opens_at + TimeDelta::hours(1) })).await;
    go("open").await;
    go("pause").await;
    go("open").await;
    assert_eq!(service.take_part(id, 7).await.status(), 201);
    change(json!({ "totalStock": 2 })).await;
    go("close").await;
    go("archive").await;
    [
        "created",
        "changed",
        "opened",
        "paused",
        "opened",
        "sold_out",
        "changed",
        "back_in_stock",
        "closed",
        "archived",
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn published_records_about_campaigns_match_the_asyncapi_document() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    let words = change_a_campaign(&service).await;
    let records = parts.campaign_records(words.len()).await;
    let types: Vec<&str> = records.iter().map(|one| one.ce_type.as_str()).collect();
    assert_eq!(
        types,
        words.map(|word| format!("firstcome.campaign.{word}"))
    );
    let changed = Message::of("campaignChanged");
    for (record, sequence) in records.iter().zip(1..) {
        changed.describes(record);
        assert_eq!(record.headers["ce_sequence"], sequence.to_string());
        assert_eq!(record.key, record.value["campaignId"].to_string());
        let fields = 9 + usize::from(record.ce_type.ends_with(".changed"));
        assert_eq!(names(&record.value).len(), fields, "{record:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_about_campaigns_match_the_asyncapi_document() {
    let parts = parts().await;
    refuse_records(&parts, "campaign").await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    let words = change_a_campaign(&service).await;
    dead_letters_match(&parts, "campaign", words.len()).await;
}

#[test]
fn the_examples_of_the_document_match_its_schemas() {
    let document: Value = serde_json::from_str(firstcome::events::asyncapi::document()).unwrap();
    for name in ["participationChanged", "campaignChanged"] {
        let message = Message::of(name);
        let examples = &document["components"]["messages"][name]["examples"];
        for example in examples.as_array().unwrap() {
            let mistakes = message.mistakes(&example["headers"], &example["payload"]);
            assert_eq!(mistakes, [""; 0], "{example}");
        }
    }
}

/// Creates a topic that rejects our records.
async fn refuse_records(parts: &Parts, topic: &str) {
    let name = format!("{}.{topic}.v1", parts.prefix);
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1)).set("max.message.bytes", "100");
    let created = admin().create_topics(&[topic], &AdminOptions::new()).await;
    assert!(created.unwrap().iter().all(Result::is_ok));
}

/// Reads this many dead letters of a topic and requires that the document describes them.
async fn dead_letters_match(parts: &Parts, topic: &str, count: usize) {
    let dead = Message::of(&format!("{topic}Dead"));
    let topic = format!("{}.{topic}.v1.dlq", parts.prefix);
    let records = read(real("FIRSTCOME_KAFKA_BROKERS"), topic, count).await;
    assert_eq!(records.len(), count);
    for record in &records {
        dead.describes(record);
        assert_eq!(record.headers["firstcome-dead-class"], "record");
        let mut headers = json!(record.headers);
        headers["firstcome-dead-payload"] = json!("omitted");
        assert!(dead.mistakes(&headers, &Value::Null).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_match_the_asyncapi_document() {
    let parts = parts().await;
    refuse_records(&parts, "participation").await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    sell_two(&service).await;
    dead_letters_match(&parts, "participation", 2).await;
}

#[test]
fn a_record_that_violates_its_schema_is_detected() {
    let document: Value = serde_json::from_str(firstcome::events::asyncapi::document()).unwrap();
    let example = &document["components"]["messages"]["participationChanged"]["examples"][0];
    let (headers, value) = (&example["headers"], &example["payload"]);
    let changed = Message::of("participationChanged");
    assert_eq!(changed.mistakes(headers, value), [""; 0]);
    // As a dead letter it lacks the reasons.
    assert_eq!(
        Message::of("participationDead")
            .mistakes(headers, value)
            .len(),
        4
    );

    let broken_headers = [
        ("ce_id", json!("17")),
        ("ce_type", json!("firstcome.participation.lost")),
        ("ce_keysequence", json!("0")),
        ("ce_rank", Value::Null),
        ("ce_time", json!("yesterday")),
        ("traceparent", json!("00-1-2-3")),
        ("content-type", json!("text/plain")),
        ("ce_colour", json!("red")),
    ];
    for (name, wrong) in broken_headers {
        let mut headers = headers.clone();
        headers[name] = wrong;
        assert!(!changed.mistakes(&headers, value).is_empty(), "{name}");
    }
    let broken_fields = [
        ("participationId", json!("x")),
        ("campaignId", json!("1")),
        ("userId", json!(0)),
        ("quantity", json!(1.5)),
        ("rank", json!(0)),
        ("status", json!("sold")),
        ("occurredAt", json!("2026-11-21")),
    ];
    for (name, wrong) in broken_fields {
        let mut other = value.clone();
        other[name] = wrong;
        assert!(!changed.mistakes(headers, &other).is_empty(), "{name}");
        let mut lacking = value.clone();
        lacking.as_object_mut().unwrap().remove(name);
        assert!(!changed.mistakes(headers, &lacking).is_empty(), "{name}");
    }
    assert!(!changed.mistakes(headers, &Value::Null).is_empty());
}

//! Real records against the schemas of the AsyncAPI document.

use std::collections::BTreeSet;

use jsonschema::{Draft, Validator};
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Service, body};
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
            // References point into the document, so the schema is looked at with all of it around.
            let mut whole = document.clone();
            whole["allOf"] = json!([schema]);
            jsonschema::options()
                .with_draft(Draft::Draft7)
                .should_validate_formats(true)
                .build(&whole)
                .unwrap()
        };
        let schemas = &document["components"]["schemas"];
        let mut described = names(&schemas["eventHeaders"]["properties"]);
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

/// A sale of two: one free, with a trace, and one to be paid for.
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
        // Whether it is traced, a stranger does not say.
        let unsampled = TRACE.replace("-01", "-00");
        assert_eq!(record.headers["traceparent"], unsampled);
        assert_eq!(names(&record.value).len(), 7, "{record:?}");
    }
}

/// Creates the topic of participations so that it takes no record of ours.
async fn refuse_records(parts: &Parts) {
    let name = format!("{}.participation.v1", parts.prefix);
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1)).set("max.message.bytes", "100");
    let created = admin().create_topics(&[topic], &AdminOptions::new()).await;
    assert!(created.unwrap().iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_match_the_asyncapi_document() {
    let parts = parts().await;
    refuse_records(&parts).await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    sell_two(&service).await;
    let topic = format!("{}.participation.v1.dlq", parts.prefix);
    let records = read(real("FIRSTCOME_KAFKA_BROKERS"), topic, 2).await;
    assert_eq!(records.len(), 2);
    let dead = Message::of("participationDead");
    for record in &records {
        dead.describes(record);
        assert_eq!(record.headers["firstcome-dead-class"], "record");
        let mut headers = json!(record.headers);
        headers["firstcome-dead-payload"] = json!("omitted");
        assert!(dead.mistakes(&headers, &Value::Null).is_empty());
    }
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

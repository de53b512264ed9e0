//! The topics as an AsyncAPI document: which records are on them, what they hold, in what order they
//! come. Describes what `broker` and `relay` write and decides nothing; that the two agree is for the
//! tests that read real records.

use serde_json::{Map, Value, json};

use crate::domain::{EventType, Status, Stream};

const INTRODUCTION: &str = "The records that firstcome publishes to Kafka: CloudEvents in Kafka's \
    binary mode, attributes in headers that begin with `ce_`, JSON as the value. Delivery is at least \
    once: a record may come again at any time, with the same `ce_id`. Remember `ce_id` in the \
    transaction of the effect, and leave out what is remembered already. Ignore headers and fields \
    that are not described here: more may come without a new version in the topic's name.";

const ORDER: &str = "What the key of a record is, and so what Kafka keeps in order, is a setting of the \
    installation (`kafka.key`). `participation` (the default): the participation's id; the changes of \
    one participation come in order, and the partitions work side by side. `user`: the user's id; the \
    changes of one user in a campaign come in order of their commits, those in different campaigns in \
    order of the replicas' clocks. `campaign`: the campaign's id; all changes in one campaign come in \
    order of their commits, on one partition, one at a time: slower. A record may come again after \
    later ones of its key; its first coming is what is in order. With any key, the order of arrival is \
    `rank`, which is in each record, and `ce_keysequence` counts the changes of one participation from \
    1. Partitions are chosen as Java \
    producers do (murmur2).";

/// The document, as JSON for people and programs.
#[must_use]
pub fn document() -> String {
    format!("{:#}", value())
}

fn value() -> Value {
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "firstcome",
            "version": env!("CARGO_PKG_VERSION"),
            "description": INTRODUCTION,
            "license": { "name": env!("CARGO_PKG_LICENSE") },
        },
        "defaultContentType": "application/json",
        "channels": {
            "participation": channel(
                &Stream::Participation.topic("{prefix}"),
                "Changes of participations",
                &format!("Each committed change of a participation, once its relay has published it. {ORDER}"),
                Some("participationChanged"),
            ),
            "participationDeadLetters": channel(
                &Stream::Participation.dead_letter_topic("{prefix}"),
                "Changes of participations that could not be published",
                "A copy of each event that the relay has given up, with headers that say why. The truth is the row in the \
                 database: `firstcome dead-letters` lists it, publishes it again or discards it, and nothing is taken back \
                 from here.",
                Some("participationDead"),
            ),
            "campaign": channel(
                &Stream::Campaign.topic("{prefix}"),
                "Changes of campaigns",
                "Kept for events about campaigns. The topic has to be there; nothing is written to it yet.",
                None,
            ),
            "campaignDeadLetters": channel(
                &Stream::Campaign.dead_letter_topic("{prefix}"),
                "Changes of campaigns that could not be published",
                "Kept for events about campaigns. The topic has to be there; nothing is written to it yet.",
                None,
            ),
        },
        "operations": {
            "publishParticipation": operation(
                "participation",
                "participationChanged",
                "Publishes what was committed, at least once, one record of a key at a time.",
            ),
            "publishParticipationDeadLetter": operation(
                "participationDeadLetters",
                "participationDead",
                "Copies what was given up, at least once.",
            ),
        },
        "components": {
            "messages": { "participationChanged": changed(), "participationDead": dead() },
            "schemas": {
                "participation": participation(),
                "eventHeaders": event_headers(),
                "deadLetterHeaders": dead_letter_headers(),
            },
            "parameters": {
                "prefix": {
                    "description": "Tells installations that share a cluster apart: `kafka.topic_prefix`.",
                    "default": "firstcome",
                },
            },
        },
    })
}

fn channel(address: &str, title: &str, description: &str, message: Option<&str>) -> Value {
    let mut channel = json!({
        "address": address,
        "title": title,
        "description": description,
        "parameters": { "prefix": { "$ref": "#/components/parameters/prefix" } },
    });
    if let (Some(message), Some(fields)) = (message, channel.as_object_mut()) {
        let reference = json!({ "$ref": format!("#/components/messages/{message}") });
        let messages = Map::from_iter([(message.to_owned(), reference)]);
        fields.insert("messages".to_owned(), messages.into());
    }
    channel
}

fn operation(channel: &str, message: &str, summary: &str) -> Value {
    json!({
        "action": "send",
        "channel": { "$ref": format!("#/channels/{channel}") },
        "summary": summary,
        "messages": [{ "$ref": format!("#/channels/{channel}/messages/{message}") }],
    })
}

fn changed() -> Value {
    json!({
        "name": "participationChanged",
        "title": "A participation changed",
        "summary": "How a participation stands after a committed change.",
        "contentType": "application/json",
        "headers": { "$ref": "#/components/schemas/eventHeaders" },
        "payload": { "$ref": "#/components/schemas/participation" },
        "bindings": key(),
        "examples": [{
            "name": "confirmed",
            "headers": example_headers(),
            "payload": example_payload(),
        }],
    })
}

fn dead() -> Value {
    json!({
        "name": "participationDead",
        "title": "A change that could not be published",
        "summary": "The record as it was meant for its topic, and why it is not there.",
        "contentType": "application/json",
        "headers": { "$ref": "#/components/schemas/deadLetterHeaders" },
        "payload": {
            "description": "The value, or `null` where this topic does not take it either; the row has it.",
            "oneOf": [{ "$ref": "#/components/schemas/participation" }, { "type": "null" }],
        },
        "bindings": key(),
    })
}

fn key() -> Value {
    json!({
        "kafka": {
            "key": {
                "type": "string",
                "minLength": 1,
                "description": "The id of the participation, the user or the campaign, by `kafka.key`; UTF-8.",
            },
            "bindingVersion": "0.5.0",
        },
    })
}

fn words() -> [Status; 4] {
    [
        Status::Reserved,
        Status::Confirmed,
        Status::Cancelled,
        Status::Expired,
    ]
}

fn participation() -> Value {
    let statuses = words().map(Status::as_str);
    json!({
        "type": "object",
        "required": ["participationId", "campaignId", "userId", "quantity", "rank", "status", "occurredAt"],
        "properties": {
            "participationId": uuid("Which participation."),
            "campaignId": { "type": "integer", "minimum": 1, "description": "What it takes part in." },
            "userId": { "type": "integer", "minimum": 1, "description": "Whose it is." },
            "quantity": { "type": "integer", "minimum": 1, "description": "Units it holds, or held." },
            "rank": {
                "type": "integer", "minimum": 1,
                "description": "Place in line in its campaign. No two participations have the same; some stay empty.",
            },
            "status": { "type": "string", "enum": statuses, "description": "How it stands after the change." },
            "occurredAt": { "type": "string", "format": "date-time", "description": "When it changed, UTC." },
        },
    })
}

fn event_headers() -> Value {
    let types = words().map(|status| EventType(status).as_str());
    json!({
        "type": "object",
        "description": "Values are UTF-8 text.",
        "required": [
            "content-type", "ce_specversion", "ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "ce_keysequence",
            "ce_rank",
        ],
        "properties": {
            "content-type": { "type": "string", "const": "application/json" },
            "ce_specversion": { "type": "string", "const": "1.0" },
            "ce_id": uuid("Identifies the event, also when it comes again: what consumers deduplicate by."),
            "ce_type": { "type": "string", "enum": types, "description": "What happened." },
            "ce_source": { "type": "string", "pattern": "^/.+$", "description": "The installation: `/` and its prefix." },
            "ce_subject": uuid("The id of the participation."),
            "ce_time": { "type": "string", "format": "date-time", "description": "When it happened, UTC." },
            "ce_keysequence": counter("Position among the changes of its participation: 1, 2, 3, …"),
            "ce_rank": counter("Place in line of the participation."),
            "traceparent": {
                "type": "string",
                "pattern": "^[0-9a-fA-F]{2}-[0-9a-fA-F]{32}-[0-9a-fA-F]{16}-[0-9a-fA-F]{2}$",
                "description": "W3C trace context of the request that caused it, where it had one.",
            },
        },
    })
}

fn dead_letter_headers() -> Value {
    json!({
        "allOf": [
            { "$ref": "#/components/schemas/eventHeaders" },
            {
                "type": "object",
                "required": [
                    "firstcome-dead-topic", "firstcome-dead-class", "firstcome-dead-error", "firstcome-dead-attempts",
                ],
                "properties": {
                    "firstcome-dead-topic": { "type": "string", "minLength": 1, "description": "Where it was meant to go." },
                    "firstcome-dead-class": {
                        "type": "string", "pattern": "^[a-z_]+$",
                        "description": "The kind of the last failure in one word: `record` is one the broker refuses.",
                    },
                    "firstcome-dead-error": { "type": "string", "description": "The last failure, for people." },
                    "firstcome-dead-attempts": counter("How often it was tried."),
                    "firstcome-dead-payload": {
                        "type": "string", "const": "omitted",
                        "description": "There where the value is `null` because this topic does not take it.",
                    },
                },
            },
        ],
    })
}

/// Version 7. The pattern says what the format would, which is unknown to the draft of JSON Schema that
/// AsyncAPI builds on.
fn uuid(description: &str) -> Value {
    let pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$";
    json!({ "type": "string", "format": "uuid", "pattern": pattern, "description": description })
}

fn counter(description: &str) -> Value {
    json!({ "type": "string", "pattern": "^[1-9][0-9]*$", "description": description })
}

fn example_headers() -> Value {
    json!({
        "content-type": "application/json",
        "ce_specversion": "1.0",
        "ce_id": "01a1feba-3f0a-7c31-8a7e-6d0d0d8fb2a4",
        "ce_type": EventType(Status::Confirmed).as_str(),
        "ce_source": "/firstcome",
        "ce_subject": "01a1feba-3f07-77b5-99d4-8de188915739",
        "ce_time": "2026-11-21T12:00:00.123456Z",
        "ce_keysequence": "1",
        "ce_rank": "1",
    })
}

fn example_payload() -> Value {
    json!({
        "participationId": "01a1feba-3f07-77b5-99d4-8de188915739",
        "campaignId": 1,
        "userId": 42,
        "quantity": 1,
        "rank": 1,
        "status": Status::Confirmed.as_str(),
        "occurredAt": "2026-11-21T12:00:00.123456Z",
    })
}

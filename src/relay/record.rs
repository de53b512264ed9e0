//! An outbox event as a Kafka record: CloudEvents 1.0 in binary mode. Pure.

use chrono::SecondsFormat;

use crate::broker::Record;
use crate::domain::OutboxEvent;
use crate::store::Parked;

/// The record of `event`.
pub(super) fn of(event: &OutboxEvent, topic_prefix: &str, source: &str) -> Record {
    let time = event
        .created_at
        .to_rfc3339_opts(SecondsFormat::Micros, true);
    let mut headers = vec![
        ("ce_specversion", "1.0".to_owned()),
        ("ce_id", event.id.to_string()),
        ("ce_type", event.event_type.clone()),
        ("ce_source", source.to_owned()),
        ("ce_subject", event.aggregate_id.clone()),
        ("ce_time", time),
        ("content-type", "application/json".to_owned()),
        ("ce_keysequence", event.key_sequence.to_string()),
    ];
    if let Some(rank) = event.rank {
        headers.push(("ce_rank", rank.to_string()));
    }
    if let Some(traceparent) = &event.traceparent {
        headers.push(("traceparent", traceparent.clone()));
    }
    Record {
        topic: event.stream.topic(topic_prefix),
        key: event.key.clone(),
        payload: event.payload.clone(),
        headers,
    }
}

/// The copy of a dead row for the dead letter topic: the record, and why it is there.
pub(super) fn dead_letter(dead: &Parked, topic_prefix: &str, source: &str) -> Record {
    let mut record = of(&dead.event, topic_prefix, source);
    let topic = dead.event.stream.dead_letter_topic(topic_prefix);
    let meant_for = std::mem::replace(&mut record.topic, topic);
    record.headers.extend([
        ("firstcome-dead-topic", meant_for),
        ("firstcome-dead-class", dead.error_class.clone()),
        ("firstcome-dead-error", dead.error.clone()),
        ("firstcome-dead-attempts", dead.attempts.to_string()),
    ]);
    record
}

/// The same without its value, for a dead letter topic that does not take that either: the value is
/// in the row.
pub(super) fn without_payload(mut record: Record) -> Record {
    "null".clone_into(&mut record.payload);
    record
        .headers
        .push(("firstcome-dead-payload", "omitted".to_owned()));
    record
}

//! A dead outbox event as a Kafka record. Pure.

use crate::parts::broker::Record;
use crate::parts::store::Parked;

/// The copy of a dead row for the dead letter topic: the record, and why it is there.
pub(super) fn dead_letter(dead: &Parked, topic_prefix: &str) -> Record {
    let mut record = Record::of(&dead.event, topic_prefix);
    let topic = dead.event.topic.dead_letter_name(topic_prefix);
    let meant_for = std::mem::replace(&mut record.topic, topic);
    record.headers.extend([
        ("firstcome-dead-topic", meant_for),
        ("firstcome-dead-class", dead.error_class.clone()),
        ("firstcome-dead-error", dead.error.clone()),
        ("firstcome-dead-attempts", dead.attempts.to_string()),
    ]);
    record
}

/// The same without its value, for a dead letter topic that rejects the value, too. The value is in the row.
pub(super) fn without_payload(mut record: Record) -> Record {
    "null".clone_into(&mut record.payload);
    record
        .headers
        .push(("firstcome-dead-payload", "omitted".to_owned()));
    record
}

//! What the outbox holds: one immutable event for each committed change of a participation.

use std::sync::Arc;

use chrono::SecondsFormat;
use sha2::{Digest, Sha256};

use super::words::words;
use super::{CampaignId, EventId, Instant, Participation, Status};

/// Shares of the outbox; each is owned by one relay at a time.
pub const BUCKETS: u16 = 64;

/// Some of the buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketSet(pub u64);

impl BucketSet {
    /// These buckets; those that do not exist are left out.
    #[must_use]
    pub fn of(buckets: impl IntoIterator<Item = u16>) -> Self {
        let bits = buckets.into_iter().filter(|bucket| *bucket < BUCKETS);
        Self(bits.fold(0, |set, bucket| set | 1 << bucket))
    }

    /// Whether the two have a bucket in common.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Events just committed together, on their way to whoever publishes them.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// The events.
    pub events: Vec<OutboxEvent>,
    /// When their commit was known.
    pub committed_at: std::time::Instant,
}

words! {
    /// The topic of an event.
    pub enum Stream {
        /// `PREFIX.participation.v1`
        Participation = "participation",
        /// `PREFIX.campaign.v1`
        Campaign = "campaign",
    }
}

impl Stream {
    /// The topic of this stream for an installation.
    #[must_use]
    pub fn topic(self, prefix: &str) -> String {
        [prefix, ".", self.as_str(), ".v1"].concat()
    }

    /// Where records of this stream go that cannot be delivered.
    #[must_use]
    pub fn dead_letter_topic(self, prefix: &str) -> String {
        format!("{}.dlq", self.topic(prefix))
    }

    /// All topics of an installation.
    #[must_use]
    pub fn topics(prefix: &str) -> Vec<String> {
        let streams = Self::ALL.into_iter();
        streams
            .flat_map(|stream| [stream.topic(prefix), stream.dead_letter_topic(prefix)])
            .collect()
    }
}

/// What happened to a participation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventType(pub Status);

impl EventType {
    /// The `ce_type` of the event.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self.0 {
            Status::Reserved => "firstcome.participation.reserved",
            Status::Confirmed => "firstcome.participation.confirmed",
            Status::Cancelled => "firstcome.participation.cancelled",
            Status::Expired => "firstcome.participation.expired",
        }
    }
}

words! {
    /// The key of records, within which the order is kept.
    #[derive(Default)]
    pub enum KeyChoice {
        /// Each participation on its own: most parallel.
        #[default]
        Participation = "participation",
        /// All of one user in order.
        User = "user",
        /// All of one campaign in order.
        Campaign = "campaign",
    }
}

impl KeyChoice {
    /// The key of the records about a participation.
    #[must_use]
    pub fn key(self, participation: &Participation) -> String {
        match self {
            Self::Participation => participation.id.to_string(),
            Self::User => participation.user_id.to_string(),
            Self::Campaign => participation.campaign_id.to_string(),
        }
    }
}

/// A row of the outbox: written in the transaction of its change, never altered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEvent {
    /// Becomes `ce_id`.
    pub id: EventId,
    /// Share of the outbox, from the key.
    pub bucket: u16,
    /// Its topic.
    pub stream: Stream,
    /// The campaign it belongs to.
    pub campaign_id: CampaignId,
    /// Id of the participation or campaign it is about; becomes `ce_subject`.
    pub aggregate_id: String,
    /// Becomes `ce_type`.
    pub event_type: String,
    /// Key of the Kafka record.
    pub key: Arc<str>,
    /// Position among the events of its participation, from 1.
    pub key_sequence: u32,
    /// Place in line of the participation; none for events about campaigns.
    pub rank: Option<u64>,
    /// W3C trace context of the request that caused it.
    pub traceparent: Option<String>,
    /// Value of the Kafka record, JSON.
    pub payload: String,
    /// Becomes `ce_time`.
    pub created_at: Instant,
}

impl OutboxEvent {
    /// The event that tells of `participation` as it now stands, its `sequence`-th change.
    #[must_use]
    pub fn about(
        participation: &Participation,
        sequence: u32,
        choice: KeyChoice,
        at: Instant,
    ) -> Self {
        let key = choice.key(participation);
        Self {
            id: EventId::made_at(at),
            bucket: bucket_of(&key),
            stream: Stream::Participation,
            campaign_id: participation.campaign_id,
            aggregate_id: participation.id.to_string(),
            event_type: EventType(participation.status).as_str().to_owned(),
            key: key.into(),
            key_sequence: sequence,
            rank: Some(participation.rank),
            traceparent: None,
            payload: payload(participation, at),
            created_at: at,
        }
    }

    /// Whether events of other participations have the same key.
    #[must_use]
    pub fn shares_its_key(&self) -> bool {
        *self.key != *self.aggregate_id
    }
}

/// The value of the record. Numbers, ids and words of ours alone: nothing in it has to be escaped.
fn payload(participation: &Participation, at: Instant) -> String {
    let Participation {
        id,
        campaign_id,
        user_id,
        quantity,
        rank,
        ..
    } = participation;
    let status = participation.status.as_str();
    let at = at.to_rfc3339_opts(SecondsFormat::Micros, true);
    format!(
        r#"{{"campaignId":{campaign_id},"occurredAt":"{at}","participationId":"{id}","quantity":{quantity},"rank":{rank},"status":"{status}","userId":{user_id}}}"#
    )
}

/// The share of the outbox a key belongs to: the same on every machine and in every release.
#[must_use]
pub fn bucket_of(key: &str) -> u16 {
    let digest = Sha256::digest(key.as_bytes());
    let [high, low, ..] = *digest.as_slice() else {
        return 0;
    };
    u16::from_be_bytes([high, low]) % BUCKETS
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{ParticipationId, UserId};

    #[test]
    fn the_value_of_a_record_is_json() {
        let at = DateTime::from_timestamp_micros(1_795_000_000_000_001).unwrap();
        for status in Status::ALL {
            let participation = Participation {
                id: ParticipationId::generate(),
                campaign_id: CampaignId(7),
                user_id: UserId(i64::MAX),
                quantity: 2,
                rank: 3,
                status,
                remaining: None,
                amount: None,
                payment_reference: None,
                expires_at: None,
                created_at: at,
            };
            let event = OutboxEvent::about(&participation, 1, KeyChoice::Participation, at);
            let expected = json!({
                "participationId": participation.id.to_string(),
                "campaignId": 7,
                "userId": i64::MAX,
                "quantity": 2,
                "rank": 3,
                "status": status,
                "occurredAt": "2026-11-18T11:06:40.000001Z",
            });
            let said: Value = serde_json::from_str(&event.payload).unwrap();
            assert_eq!(said, expected);
        }
    }
}

//! The events of the outbox: one immutable event for each committed change of a participation, and those of
//! campaigns.

use std::sync::Arc;

use chrono::SecondsFormat;
use serde_json::json;

use super::words::words;
use super::{
    CampaignEvent, CampaignId, Consumer, EventId, Order, Participation, Status, Timestamp, home_of,
};

/// Newly committed events: a range of one stream, on its way to the relay.
#[derive(Clone, Debug)]
pub struct CommittedEvents {
    /// Their stream.
    pub stream: StreamId,
    /// The events, in order of sequence without a gap; none: they must be read from the database.
    pub events: Vec<OutboxEvent>,
    /// Whether their requests publish them, so that the relay does not.
    pub is_held: bool,
    /// When the commit became known.
    pub committed_at: std::time::Instant,
}

/// The place of an event in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogPlace {
    /// The stream.
    pub stream: StreamId,
    /// The number in the stream.
    pub sequence: u64,
}

/// A stream of the outbox: the events of one campaign for one topic. Each stream has its own sequences and position,
/// so none waits for the topic of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// The campaign.
    pub campaign: CampaignId,
    /// The topic.
    pub topic: Topic,
}

impl StreamId {
    /// The events about the participations of a campaign.
    #[must_use]
    pub const fn of_participations(campaign: CampaignId) -> Self {
        Self {
            campaign,
            topic: Topic::Participation,
        }
    }

    /// The events about a campaign itself.
    #[must_use]
    pub const fn of_campaign(campaign: CampaignId) -> Self {
        Self {
            campaign,
            topic: Topic::Campaign,
        }
    }

    /// The events about orders whose first line is of a campaign.
    #[must_use]
    pub const fn of_orders(campaign: CampaignId) -> Self {
        Self {
            campaign,
            topic: Topic::Order,
        }
    }

    /// The bucket of its campaign: one relay publishes all its streams.
    #[must_use]
    pub fn bucket(self) -> u16 {
        self.campaign.bucket()
    }
}

words! {
    /// The topic of an event.
    #[derive(PartialOrd, Ord)]
    pub enum Topic {
        /// `PREFIX.participation.v1`
        Participation = "participation",
        /// `PREFIX.campaign.v1`
        Campaign = "campaign",
        /// `PREFIX.order.v1`
        Order = "order",
    }
}

impl Topic {
    /// Its name in an installation.
    #[must_use]
    pub fn name(self, prefix: &str) -> String {
        [prefix, ".", self.as_str(), ".v1"].concat()
    }

    /// The topic of its records that cannot be delivered.
    #[must_use]
    pub fn dead_letter_name(self, prefix: &str) -> String {
        format!("{}.dlq", self.name(prefix))
    }

    /// The topic of its records that a consumer cannot apply.
    #[must_use]
    pub fn dead_letter_name_of(self, consumer: Consumer, prefix: &str) -> String {
        format!("{}.{}.dlq", self.name(prefix), consumer.as_str())
    }

    /// All topics of an installation.
    #[must_use]
    pub fn names(prefix: &str) -> Vec<String> {
        let mut names = Vec::new();
        for topic in Self::ALL {
            names.extend([topic.name(prefix), topic.dead_letter_name(prefix)]);
            if topic == Self::Participation {
                let consumers = Consumer::ALL.into_iter();
                names.extend(consumers.map(|one| topic.dead_letter_name_of(one, prefix)));
            }
        }
        names
    }
}

/// The change of a participation.
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
    /// The key of records. Events with the same key are published in order.
    #[derive(Default)]
    pub enum KeyChoice {
        /// Each participation separately: most parallel.
        #[default]
        Participation = "participation",
        /// All events of one user in order.
        User = "user",
        /// All events of one campaign in order.
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
    /// The campaign whose stream it belongs to.
    pub campaign_id: CampaignId,
    /// Its number in that stream, from 1 without a gap, in the order of commits; 0 until it is committed.
    pub sequence: u64,
    /// Its topic.
    pub topic: Topic,
    /// Id of the participation, campaign or order it is about; becomes `ce_subject`.
    pub aggregate_id: String,
    /// Becomes `ce_type`.
    pub event_type: String,
    /// Key of the Kafka record.
    pub key: Arc<str>,
    /// Position among the events of its participation, campaign or order, from 1.
    pub key_sequence: u32,
    /// Rank of the participation; none for events about campaigns.
    pub rank: Option<u64>,
    /// W3C trace context of the request that caused it.
    pub traceparent: Option<String>,
    /// Value of the Kafka record, JSON.
    pub payload: String,
    /// Becomes `ce_time`.
    pub created_at: Timestamp,
}

impl OutboxEvent {
    /// The event of the `sequence`-th change of `participation`, with its state after the change.
    #[must_use]
    pub fn about(
        participation: &Participation,
        sequence: u32,
        choice: KeyChoice,
        at: Timestamp,
    ) -> Self {
        let key = choice.key(participation);
        Self {
            id: EventId::made_at(at),
            campaign_id: participation.campaign_id,
            sequence: 0,
            topic: Topic::Participation,
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

    /// An event about a campaign, the `sequence`-th one.
    #[must_use]
    pub fn about_campaign(event: &CampaignEvent, sequence: u64, at: Timestamp) -> Self {
        let id = event.campaign.id;
        Self {
            id: EventId::made_at(at),
            campaign_id: id,
            sequence,
            topic: Topic::Campaign,
            aggregate_id: id.to_string(),
            event_type: event.what.ce_type(),
            key: id.to_string().into(),
            key_sequence: u32::try_from(sequence).unwrap_or(u32::MAX),
            rank: None,
            traceparent: None,
            payload: event.payload(at),
            created_at: at,
        }
    }

    /// The event of a decision of an order, in the stream of its first campaign; none: an order in this status has no
    /// event.
    #[must_use]
    pub fn about_order(order: &Order, sequence: u64, at: Timestamp) -> Option<Self> {
        let event_type = order.status.event_type()?;
        let id = order.id.to_string();
        Some(Self {
            id: EventId::made_at(at),
            campaign_id: home_of(&order.lines)?,
            sequence,
            topic: Topic::Order,
            aggregate_id: id.clone(),
            event_type: event_type.to_owned(),
            key: id.into(),
            key_sequence: order.version,
            rank: None,
            traceparent: None,
            payload: order_payload(order, at),
            created_at: at,
        })
    }

    /// Whether events of other participations have the same key.
    #[must_use]
    pub fn shares_its_key(&self) -> bool {
        *self.key != *self.aggregate_id
    }

    /// Its stream.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        StreamId {
            campaign: self.campaign_id,
            topic: self.topic,
        }
    }

    /// Where it is in the outbox.
    #[must_use]
    pub const fn place(&self) -> LogPlace {
        LogPlace {
            stream: self.stream(),
            sequence: self.sequence,
        }
    }
}

/// The value of the record. It has only numbers, ids and words of the service, so nothing needs to be escaped.
fn payload(participation: &Participation, at: Timestamp) -> String {
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

/// The value of the record of an order.
fn order_payload(order: &Order, at: Timestamp) -> String {
    let lines = order.lines.iter().map(|line| {
        json!({
            "campaignId": line.campaign_id,
            "participationId": line.participation_id,
            "quantity": line.quantity,
        })
    });
    json!({
        "amount": order.amount,
        "lines": lines.collect::<Vec<_>>(),
        "occurredAt": at.to_rfc3339_opts(SecondsFormat::Micros, true),
        "orderId": order.id,
        "status": order.status,
        "userId": order.user_id,
    })
    .to_string()
}

#[cfg(test)]
mod tests;

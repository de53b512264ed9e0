//! Reads a change of a participation from a record. Pure. Any record gives a change, or the reason why it is poison.

use serde::Deserialize;
use serde_json::error::Category;
use uuid::Uuid;

use super::poison::{Flaw, Poison};
use crate::domain::{CampaignId, Change, EventId, EventType, ParticipationId, Status, UserId};
use crate::parts::broker::Delivered;

/// Largest quantity that the service accepts.
const QUANTITY_MAX: u32 = 1_000_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    participation_id: Uuid,
    campaign_id: i64,
    user_id: i64,
    quantity: u32,
    status: String,
}

/// The change that a record describes.
pub(super) fn change(record: &Delivered) -> Result<Change, Poison> {
    let header = |name: &str| {
        let missing = || Poison::new(Flaw::Headers, format!("{name} is missing or not text"));
        record.header(name).ok_or_else(missing)
    };
    let uuid = |name: &str| {
        let wrong = |_| Poison::new(Flaw::Headers, format!("{name} is not a UUID"));
        Uuid::try_parse(header(name)?).map_err(wrong)
    };
    let event = uuid("ce_id")?;
    let subject = uuid("ce_subject")?;
    let sequence = header("ce_keysequence")?.parse::<i32>().unwrap_or(0);
    let sequence = u32::try_from(sequence).unwrap_or(0);
    if sequence == 0 {
        let text = "ce_keysequence is not a number from 1";
        return Err(Poison::new(Flaw::Headers, text));
    }
    let event_type = header("ce_type")?;
    let value = record.payload.as_deref().unwrap_or_default();
    let value: Value = serde_json::from_slice(value)
        .map_err(|error| Poison::new(Flaw::Value, fault_of(&error)))?;
    let unknown = || Poison::new(Flaw::Status, "the status is not known");
    let status = Status::parse(&value.status).ok_or_else(unknown)?;
    let impossible = if event_type != EventType(status).as_str() {
        Some("ce_type and status differ")
    } else if subject != value.participation_id {
        Some("ce_subject and participationId differ")
    } else if !(1..=QUANTITY_MAX).contains(&value.quantity) {
        Some("quantity is not between 1 and 1000000")
    } else if UserId::parse(value.user_id).is_none() {
        Some("userId is not between 1 and 9007199254740991")
    } else if value.campaign_id < 1 {
        Some("campaignId is below 1")
    } else {
        None
    };
    match impossible {
        Some(text) => Err(Poison::new(Flaw::Impossible, text)),
        None => Ok(Change {
            event: EventId(event),
            participation: ParticipationId(subject),
            campaign: CampaignId(value.campaign_id),
            user: UserId(value.user_id),
            quantity: value.quantity,
            status,
            sequence,
        }),
    }
}

/// What is wrong with a value, without its content, which may be personal data.
fn fault_of(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        Category::Data => {
            format!("the value has other fields or types, line {line} column {column}")
        }
        Category::Syntax | Category::Eof | Category::Io => {
            format!("the value is not JSON, line {line} column {column}")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::domain::{KeyChoice, OutboxEvent, Participation};
    use crate::parts::broker::Record;

    fn event() -> OutboxEvent {
        let participation = Participation {
            id: ParticipationId::generate(),
            campaign_id: CampaignId(3),
            user_id: UserId(7),
            quantity: 2,
            rank: 5,
            created_at: "2030-01-01T00:00:00Z".parse().unwrap(),
            ..Participation::example()
        };
        OutboxEvent::about(&participation, 2, KeyChoice::User, participation.created_at)
    }

    fn delivered(event: &OutboxEvent) -> Delivered {
        let record = Record::of(event, "firstcome");
        let bytes = |text: String| Some(text.into_bytes());
        Delivered {
            partition: 1,
            offset: 9,
            key: bytes(record.key),
            payload: bytes(record.payload),
            headers: record
                .headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), bytes(value)))
                .collect(),
        }
    }

    #[test]
    fn records_of_the_relay_are_parsed() {
        let event = event();
        let read = change(&delivered(&event)).unwrap();
        assert_eq!(read.event, event.id);
        assert_eq!(read.participation.to_string(), event.aggregate_id);
        assert_eq!((read.campaign, read.user), (CampaignId(3), UserId(7)));
        assert_eq!((read.quantity, read.sequence), (2, 2));
        assert_eq!(read.status, Status::Confirmed);
    }

    #[test]
    fn a_record_without_its_headers_is_poison() {
        for name in ["ce_id", "ce_type", "ce_subject", "ce_keysequence"] {
            let mut record = delivered(&event());
            record.headers.retain(|(header, _)| header != name);
            let poison = change(&record).unwrap_err();
            assert_eq!(poison.flaw, Flaw::Headers);
            assert!(poison.text.contains(name), "{}", poison.text);
        }
        for (name, value) in [
            ("ce_id", "7"),
            ("ce_keysequence", "0"),
            ("ce_keysequence", "-1"),
        ] {
            let mut record = delivered(&event());
            for (header, text) in &mut record.headers {
                if header == name {
                    *text = Some(value.into());
                }
            }
            assert_eq!(change(&record).unwrap_err().flaw, Flaw::Headers);
        }
    }

    #[test]
    fn impossible_values_are_poison() {
        let written: serde_json::Value = serde_json::from_str(&event().payload).unwrap();
        for (field, value, flaw) in [
            ("quantity", json!(0), Flaw::Impossible),
            ("quantity", json!(1_000_001), Flaw::Impossible),
            ("quantity", json!(-1), Flaw::Value),
            ("userId", json!(0), Flaw::Impossible),
            ("userId", json!(1_i64 << 53), Flaw::Impossible),
            ("campaignId", json!(0), Flaw::Impossible),
            ("campaignId", json!("3"), Flaw::Value),
            ("status", json!("delighted"), Flaw::Status),
            ("status", json!("expired"), Flaw::Impossible),
            ("participationId", json!(Uuid::nil()), Flaw::Impossible),
            ("participationId", json!(null), Flaw::Value),
        ] {
            let mut changed = written.clone();
            changed[field] = value.clone();
            let mut record = delivered(&event());
            let subject = written["participationId"].as_str().unwrap();
            for (name, text) in &mut record.headers {
                if name == "ce_subject" {
                    *text = Some(subject.into());
                }
            }
            record.payload = Some(changed.to_string().into_bytes());
            assert_eq!(change(&record).unwrap_err().flaw, flaw, "{field} {value}");
        }
        let mut tombstone = delivered(&event());
        tombstone.payload = None;
        assert_eq!(change(&tombstone).unwrap_err().flaw, Flaw::Value);
    }

    #[test]
    fn the_smallest_and_largest_values_of_the_service_are_no_poison() {
        let largest_user = i64::MAX >> 10;
        for (campaign, user, quantity) in [(1, 1, 1), (i64::MAX, largest_user, QUANTITY_MAX)] {
            let mut event = event();
            let mut value: serde_json::Value = serde_json::from_str(&event.payload).unwrap();
            value["campaignId"] = json!(campaign);
            value["userId"] = json!(user);
            value["quantity"] = json!(quantity);
            event.payload = value.to_string();
            let read = change(&delivered(&event)).unwrap();
            assert_eq!((read.campaign.0, read.user.0), (campaign, user));
            assert_eq!(read.quantity, quantity);
        }
    }

    #[test]
    fn the_reason_for_poison_says_where_the_value_is_wrong_and_not_its_content() {
        for (payload, reason) in [
            ("{\"userId\":", "the value is not JSON, line 1 column 10"),
            (
                "{\"userId\":\n\"Ada\"}",
                "the value has other fields or types, line 2 column 5",
            ),
        ] {
            let mut record = delivered(&event());
            record.payload = Some(payload.into());
            assert_eq!(change(&record).unwrap_err().text, reason);
        }
    }

    proptest! {
        #[test]
        fn no_value_crashes_the_parser(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut record = delivered(&event());
            record.payload = Some(payload);
            prop_assert!(change(&record).is_err());
        }
    }
}

use chrono::DateTime;
use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::domain::{BUCKETS, OrderLine, OrderStatus, ParticipationId, UserId};

#[test]
fn the_value_of_a_record_is_json() {
    let at = DateTime::from_timestamp_micros(1_795_000_000_000_001).unwrap();
    for status in Status::ALL {
        let participation = Participation {
            campaign_id: CampaignId(7),
            user_id: UserId(i64::MAX),
            quantity: 2,
            rank: 3,
            status,
            created_at: at,
            ..Participation::example()
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
        let payload: Value = serde_json::from_str(&event.payload).unwrap();
        assert_eq!(payload, expected);
    }
}

/// A participation of campaign 7.
fn of_user(user: i64) -> Participation {
    Participation {
        id: ParticipationId(Uuid::from_u128(9)),
        campaign_id: CampaignId(7),
        user_id: UserId(user),
        ..Participation::example()
    }
}

#[test]
fn events_share_their_key_if_it_is_that_of_a_user_or_a_campaign() {
    let participation = of_user(8);
    for (choice, key, shares_its_key) in [
        (
            KeyChoice::Participation,
            participation.id.to_string(),
            false,
        ),
        (KeyChoice::User, "8".to_owned(), true),
        (KeyChoice::Campaign, "7".to_owned(), true),
    ] {
        let event = OutboxEvent::about(&participation, 1, choice, Timestamp::UNIX_EPOCH);
        assert_eq!(*event.key, *key);
        assert_eq!(event.shares_its_key(), shares_its_key, "{choice:?}");
    }
}

#[test]
fn the_type_of_an_event_ends_with_the_status_of_its_participation() {
    for status in Status::ALL {
        let expected = ["firstcome.participation.", status.as_str()].concat();
        assert_eq!(EventType(status).as_str(), expected);
    }
}

#[test]
fn all_streams_of_a_campaign_are_in_its_bucket() {
    let campaign = CampaignId(i64::from(BUCKETS) + 5);
    for stream in [
        StreamId::of_participations(campaign),
        StreamId::of_campaign(campaign),
        StreamId::of_orders(campaign),
    ] {
        assert_eq!(stream.bucket(), 5, "{stream:?}");
    }
}

#[test]
fn an_installation_has_a_topic_of_each_kind_and_dead_letters_for_each_reader() {
    let names = [
        "shop.participation.v1",
        "shop.participation.v1.dlq",
        "shop.participation.v1.points.dlq",
        "shop.participation.v1.coupons.dlq",
        "shop.campaign.v1",
        "shop.campaign.v1.dlq",
        "shop.order.v1",
        "shop.order.v1.dlq",
    ];
    assert_eq!(Topic::names("shop"), names);
}

#[test]
fn an_order_is_announced_in_the_stream_of_its_first_campaign() {
    let at = DateTime::from_timestamp_micros(1_795_000_000_000_001).unwrap();
    let line = |campaign, quantity| OrderLine {
        campaign_id: CampaignId(campaign),
        quantity,
        participation_id: ParticipationId(Uuid::from_u128(9)),
    };
    let order = Order {
        status: OrderStatus::Reserved,
        lines: vec![line(7, 1), line(2, 3)],
        amount: Some(500),
        version: 4,
        ..Order::example()
    };
    let event = OutboxEvent::about_order(&order, 6, at).unwrap();
    assert_eq!(event.stream(), StreamId::of_orders(CampaignId(7)));
    assert_eq!((event.sequence, event.key_sequence), (6, 4));
    assert_eq!(*event.key, order.id.to_string());
    assert!(!event.shares_its_key());
    let participation = Uuid::from_u128(9).to_string();
    let expected = json!({
        "amount": 500,
        "lines": [
            { "campaignId": 7, "participationId": participation, "quantity": 1 },
            { "campaignId": 2, "participationId": participation, "quantity": 3 },
        ],
        "occurredAt": "2026-11-18T11:06:40.000001Z",
        "orderId": order.id.to_string(),
        "status": "reserved",
        "userId": 3,
    });
    let payload: Value = serde_json::from_str(&event.payload).unwrap();
    assert_eq!(payload, expected);
}

//! The events of a participation, and where they were published, on both databases.

use std::time::Duration;

use firstcome::domain::{
    Campaign, KeyChoice, LogPlace, Participation, ParticipationId, RequestedChange, State,
    to_stored_precision,
};
use firstcome::parts::store::{
    ChangeRequest, EventState, ParkedState, ParticipationEvents, PublishedEvent, Store,
};
use firstcome::runtime::clock::Clock;
use sea_orm::{ConnectionTrait, Database, Statement};

use super::new_participation;
use crate::changes::{paid, reserved};
use crate::groups::Groups;
use crate::support::{
    acknowledge_upto, campaign_of, create, move_to, mysql, park, sell, stores, unique,
};

async fn changed(
    store: &Store,
    campaign: &Campaign,
    one: &Participation,
    requested: RequestedChange,
) {
    let change_request = ChangeRequest {
        id: one.id,
        requested,
        traceparent: None,
        by: None,
    };
    let changed = store
        .change_participations(campaign.id, &[change_request], KeyChoice::Participation)
        .await;
    assert_eq!(changed.unwrap().changed.len(), 1);
}

async fn events_of(store: &Store, id: ParticipationId) -> ParticipationEvents {
    store.events_of(id).await.unwrap().unwrap()
}

fn sequences(found: &ParticipationEvents) -> Vec<u64> {
    found.events.iter().map(|event| event.sequence).collect()
}

#[tokio::test]
async fn the_events_of_a_participation_are_found_among_those_of_others() {
    for test in stores().await {
        let store = &test.store;
        let campaign = paid(store).await;
        let mut orders = Vec::new();
        for rank in 1..=5 {
            orders.push(reserved(store, &campaign, rank, 60).await);
        }
        for one in orders.iter().rev() {
            let reference = unique("paid");
            changed(
                store,
                &campaign,
                one,
                RequestedChange::Confirm { reference },
            )
            .await;
        }
        for (nth, one) in orders.iter().enumerate() {
            let found = events_of(store, one.id).await;
            let nth = u64::try_from(nth).unwrap();
            assert_eq!(found.campaign, campaign.id);
            assert_eq!(
                (found.changes, sequences(&found)),
                (2, vec![nth + 1, 10 - nth])
            );
            let last = found.events.last().unwrap();
            assert_eq!(last.event_type, "firstcome.participation.confirmed");
            assert!(found.events.iter().all(|one| one.published.is_none()));
        }
        assert_eq!(
            store.events_of(ParticipationId::generate()).await.unwrap(),
            None
        );
    }
}

#[tokio::test]
async fn several_changes_in_one_transaction_keep_their_own_events() {
    for test in stores().await {
        let store = &test.store;
        let campaign = paid(store).await;
        let mut orders = Vec::new();
        for rank in 1..=7 {
            orders.push(reserved(store, &campaign, rank, 60).await);
        }
        // With two statuses, so two statements, with their events mixed.
        let change_requests: Vec<ChangeRequest> = orders
            .iter()
            .enumerate()
            .map(|(nth, one)| ChangeRequest {
                id: one.id,
                requested: if nth % 2 == 0 {
                    let reference = unique("paid");
                    RequestedChange::Confirm { reference }
                } else {
                    RequestedChange::Cancel {
                        suspended_until: None,
                    }
                },
                traceparent: None,
                by: None,
            })
            .collect();
        let changed = store
            .change_participations(campaign.id, &change_requests, KeyChoice::Participation)
            .await
            .unwrap();
        assert_eq!(changed.changed.len(), 7);
        for one in &orders {
            let found = events_of(store, one.id).await;
            let event = changed
                .events
                .iter()
                .find(|event| event.aggregate_id == one.id.to_string())
                .unwrap();
            assert_eq!(sequences(&found), [one.rank, event.sequence]);
            assert_eq!(found.events[1].id, event.id);
        }
    }
}

#[tokio::test]
async fn each_event_has_the_state_that_it_is_in() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        let batch = (1..=6)
            .map(|user| new_participation(&campaign, user, user.unsigned_abs(), 1))
            .collect();
        let sold = sell(store, &campaign, batch).await;
        let state = async |nth: usize| {
            let found = events_of(store, sold[nth].participation.id).await;
            found.events[0].state
        };
        assert_eq!(state(0).await, EventState::Pending);
        for (nth, parked) in [
            (1, ParkedState::Retry),
            (2, ParkedState::Dead),
            (3, ParkedState::Held),
            (4, ParkedState::Acknowledged),
        ] {
            let wait = Some(Duration::from_secs(60)).filter(|_| parked != ParkedState::Dead);
            park(store, &sold[nth].event, parked, wait).await;
        }
        acknowledge_upto(store, &sold[4].event).await;
        assert_eq!(state(0).await, EventState::Published);
        assert_eq!(state(1).await, EventState::Parked(ParkedState::Retry));
        assert_eq!(state(2).await, EventState::Parked(ParkedState::Dead));
        assert_eq!(state(3).await, EventState::Pending);
        assert_eq!(state(4).await, EventState::Published);
        assert_eq!(state(5).await, EventState::Pending);
    }
}

fn published(place: LogPlace, offset: i64) -> PublishedEvent {
    PublishedEvent {
        place,
        topic: "t.participation.v1".to_owned(),
        partition: 2,
        offset,
        published_at: to_stored_precision(Clock::System.now()),
    }
}

#[tokio::test]
async fn an_offset_is_stored_as_long_as_its_event() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        let batch = (1..=3)
            .map(|user| new_participation(&campaign, user, user.unsigned_abs(), 1))
            .collect();
        let sold = sell(store, &campaign, batch).await;
        let places: Vec<LogPlace> = sold.iter().map(|one| one.event.place()).collect();
        let first: Vec<_> = places
            .iter()
            .rev()
            .map(|place| published(*place, 7))
            .collect();
        store.store_published(&first).await.unwrap();
        // Published again: the last position counts.
        let again = published(places[1], 9);
        store
            .store_published(std::slice::from_ref(&again))
            .await
            .unwrap();
        store.store_published(&[]).await.unwrap();
        let found = events_of(store, sold[1].participation.id).await;
        assert_eq!(found.events[0].published, Some(again));
        acknowledge_upto(store, &sold[2].event).await;
        move_to(store, &campaign, State::Closed).await;
        let page = store.purgeable(None, Duration::ZERO, 2).await.unwrap();
        assert_eq!(store.purge(&page.purgeable).await.unwrap(), 2);
        let db = Database::connect(&test.url).await.unwrap();
        let count = "SELECT COUNT(*) FROM outbox_published";
        let statement = Statement::from_string(db.get_database_backend(), count);
        let row = db.query_one_raw(statement).await.unwrap().unwrap();
        assert_eq!(row.try_get_by_index::<i64>(0).unwrap(), 1);
        let gone = events_of(store, sold[1].participation.id).await;
        assert_eq!((gone.changes, gone.events), (1, vec![]));
        let left = events_of(store, sold[2].participation.id).await;
        assert!(left.events[0].published.is_some());
    }
}

/// MySQL has no index for them except the keys.
#[tokio::test]
async fn nothing_but_the_requested_events_is_read() {
    let test = mysql().await;
    let store = &test.store;
    let campaign = create(store, campaign_of(None)).await;
    let batch = (1..=200)
        .map(|user| new_participation(&campaign, user, user.unsigned_abs(), 1))
        .collect();
    let sold = sell(store, &campaign, batch).await;
    let tables = crate::scans::Tables::of(&test.url).await;
    let names = [
        "participation",
        "outbox_event",
        "outbox_parked",
        "outbox_published",
    ];
    let mut before = Vec::new();
    for table in names {
        before.push(tables.read(table).await);
    }
    for one in &sold {
        assert_eq!(events_of(store, one.participation.id).await.events.len(), 1);
    }
    for (table, before) in names.into_iter().zip(before) {
        let read = tables.read(table).await - before;
        assert!(read <= 2 * 200, "{table}: {read} rows were read for 200");
    }
}

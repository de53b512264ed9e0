//! Events about campaigns, on both databases: each transition writes its event in its transaction, in order, and once.

mod publishing;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use firstcome::domain::{
    CampaignId, OutboxEvent, Pricing, RequestedChange, State, StreamId, Timestamp, UserId,
    to_stored_precision,
};
use firstcome::operate::lifecycle::Lifecycle;
use firstcome::operate::stock_events::StockEvents;
use firstcome::operate::verify::Verification;
use firstcome::parts::gate::ScriptGate;
use firstcome::parts::store::{CampaignChange, ChangeRequest, LogEntry, NewCampaign, Store};
use firstcome::runtime::clock::Clock;
use firstcome::sale::catalogue::{Catalogue, CatalogueConfig};
use firstcome::sale::reconcile::Reconciler;
use firstcome::sale::relay_hints::RelayHints;
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};

use crate::groups::Groups;
use crate::store::new_participation;
use crate::support::{TestStore, acknowledge_upto, campaign_of, raised, sell, spawner, stores};

fn lifecycle(store: &Store) -> Lifecycle {
    let catalogue = Catalogue::new(store.clone(), CatalogueConfig::default());
    let gate = Arc::new(ScriptGate::in_process(Clock::System, "it").unwrap());
    let reconciler = Reconciler::new(store.clone(), gate, spawner());
    Lifecycle::new(store.clone(), catalogue, reconciler, Pricing::Sold)
}

fn stock_events(store: &Store) -> StockEvents {
    StockEvents::new(store.clone(), RelayHints::default())
}

fn admin() -> firstcome::domain::Origin {
    firstcome::domain::Origin::of_command_line()
}

fn from_now(by: TimeDelta) -> Timestamp {
    to_stored_precision(Clock::System.now() + by)
}

/// The events about a campaign; their sequences have no gap, and the campaign counts them.
async fn events(store: &Store, id: CampaignId) -> Vec<OutboxEvent> {
    let stream = StreamId::of_campaign(id);
    let read = store.read_stream(stream, 0, 1_000).await.unwrap();
    let events: Vec<OutboxEvent> = read
        .into_iter()
        .map(|entry| match entry {
            LogEntry::Event(event) => event,
            other => panic!("{other:?}"),
        })
        .collect();
    let ends = store.stream_ends(&[id]).await.unwrap();
    let end = ends.iter().find(|ends| ends.stream == stream).unwrap().end;
    assert_eq!(end, events.len() as u64);
    for (event, sequence) in events.iter().zip(1..) {
        assert_eq!(event.sequence, sequence);
        assert_eq!(u64::from(event.key_sequence), sequence);
        assert_eq!(*event.key, id.to_string());
        assert_eq!(event.aggregate_id, id.to_string());
    }
    events
}

/// The last words of the event types.
fn words(events: &[OutboxEvent]) -> Vec<&str> {
    let word = |event: &'_ OutboxEvent| event.event_type.rfind('.').map_or(0, |dot| dot + 1);
    let words = events.iter().map(|event| &event.event_type[word(event)..]);
    words.collect()
}

async fn told(store: &Store, id: CampaignId) -> Vec<String> {
    let events = events(store, id).await;
    words(&events).into_iter().map(str::to_owned).collect()
}

fn value(event: &OutboxEvent) -> Value {
    serde_json::from_str(&event.payload).unwrap()
}

async fn is_sound(store: &Store) -> Vec<String> {
    let gate = ScriptGate::in_process(Clock::System, "it").unwrap();
    let verification = Verification::new(store.clone(), Arc::new(gate));
    let found = verification.run().await.unwrap();
    found.into_iter().flat_map(|one| one.breaches).collect()
}

async fn run(test: &TestStore, sql: String) {
    let db = Database::connect(&test.url).await.unwrap();
    db.execute_unprepared(&sql).await.unwrap();
    db.close().await.unwrap();
}

#[tokio::test]
async fn each_transition_writes_its_event_in_order() {
    for test in stores().await {
        let store = &test.store;
        let lifecycle = lifecycle(store);
        let draft = NewCampaign {
            state: State::Draft,
            ..campaign_of(Some(5))
        };
        let id = lifecycle.create(draft, None).await.unwrap().id;
        let by = admin();
        lifecycle.move_to(id, State::Open, &by).await.unwrap();
        let renamed = CampaignChange {
            name: Some("\"another\"".to_owned()),
            total_stock: Some(Some(6)),
            ..CampaignChange::default()
        };
        lifecycle.change(id, renamed.clone(), &by).await.unwrap();
        // Nothing changes, so there is no event.
        lifecycle.change(id, renamed, &by).await.unwrap();
        lifecycle.move_to(id, State::Open, &by).await.unwrap();
        lifecycle.move_to(id, State::Paused, &by).await.unwrap();
        lifecycle.move_to(id, State::Open, &by).await.unwrap();
        lifecycle.move_to(id, State::Closed, &by).await.unwrap();
        lifecycle.move_to(id, State::Archived, &by).await.unwrap();
        lifecycle.move_to(id, State::Archived, &by).await.unwrap();
        let events = events(store, id).await;
        assert_eq!(
            words(&events),
            [
                "created", "opened", "changed", "paused", "opened", "closed", "archived"
            ]
        );
        assert_eq!(value(&events[0])["state"], "draft");
        assert_eq!(
            value(&events[2]),
            json!({
                "campaignId": id,
                "name": "\"another\"",
                "kind": "general",
                "state": "open",
                "totalStock": 6,
                "currentStock": 6,
                "opensAt": null,
                "closesAt": null,
                "occurredAt": value(&events[2])["occurredAt"],
                "changedFields": ["name", "totalStock"],
            })
        );
        assert_eq!(value(&events[6])["state"], "archived");
        assert_eq!(is_sound(store).await, [""; 0]);
    }
}

#[tokio::test]
async fn a_change_that_is_rolled_back_has_no_event() {
    for test in stores().await {
        let store = &test.store;
        let campaign = store
            .create_campaign(campaign_of(Some(5)), None)
            .await
            .unwrap();
        let before = told(store, campaign.id).await;
        let renamed = CampaignChange {
            name: Some("another".to_owned()),
            ..CampaignChange::default()
        };
        let outdated = campaign.version + 1;
        let changed = store.change_campaign(campaign.id, outdated, &renamed, None);
        assert!(!changed.await.unwrap());
        // No change without its entry of the audit log.
        run(&test, "DROP TABLE audit_entry".to_owned()).await;
        let lifecycle = lifecycle(store);
        lifecycle
            .change(campaign.id, renamed, &admin())
            .await
            .unwrap_err();
        assert_eq!(told(store, campaign.id).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_racing_admins_tell_the_changes_in_order() {
    for test in stores().await {
        let store = &test.store;
        let lifecycles = [lifecycle(store), lifecycle(store)];
        let id = lifecycles[0]
            .create(campaign_of(Some(5)), None)
            .await
            .unwrap()
            .id;
        let by = admin();
        let racing = (0..24).map(|nth: usize| {
            let (lifecycle, by) = (&lifecycles[nth % 2], &by);
            async move {
                let state = [State::Paused, State::Open, State::Paused][nth % 3];
                let renamed = CampaignChange {
                    name: Some(format!("name {nth}")),
                    ..CampaignChange::default()
                };
                // If other changes interfere too often, nothing is written.
                drop(lifecycle.move_to(id, state, by).await);
                drop(lifecycle.change(id, renamed, by).await);
            }
        });
        join_all(racing).await;
        let events = events(store, id).await;
        let (mut name, mut state) = ("a campaign".to_owned(), "open");
        for (event, word) in events.iter().zip(words(&events)).skip(2) {
            let value = value(event);
            let expected = match word {
                "changed" => {
                    assert_ne!(value["name"], name.as_str(), "{event:?}");
                    value["name"].as_str().unwrap().clone_into(&mut name);
                    state
                }
                "paused" => {
                    assert_eq!(state, "open", "{event:?}");
                    "paused"
                }
                "opened" => {
                    assert_eq!(state, "paused", "{event:?}");
                    "open"
                }
                other => panic!("{other}"),
            };
            state = expected;
            assert_eq!(
                (&value["name"], &value["state"]),
                (&json!(name), &json!(state))
            );
        }
        let campaign = store.campaign(id).await.unwrap().unwrap();
        assert_eq!((campaign.name, campaign.state.as_str()), (name, state));
        assert!(events.len() > 4, "{}", events.len());
        assert_eq!(is_sound(store).await, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedules_of_replicas_tell_opening_and_closing_once() {
    for test in stores().await {
        let store = &test.store;
        let replicas: Vec<Lifecycle> = (0..4).map(|_| lifecycle(store)).collect();
        let tick = async || {
            for ticked in join_all(replicas.iter().map(Lifecycle::tick)).await {
                ticked.unwrap();
            }
        };
        let new = NewCampaign {
            state: State::Scheduled,
            opens_at: Some(from_now(TimeDelta::milliseconds(-1))),
            closes_at: Some(from_now(TimeDelta::hours(1))),
            ..campaign_of(Some(5))
        };
        let id = store.create_campaign(new.clone(), None).await.unwrap().id;
        // By an earlier schedule both times have passed.
        let past = NewCampaign {
            opens_at: Some(from_now(TimeDelta::hours(-2))),
            closes_at: Some(from_now(TimeDelta::hours(-1))),
            ..new
        };
        let over = store.create_campaign(past, None).await.unwrap().id;
        tick().await;
        tick().await;
        assert_eq!(told(store, id).await, ["created", "opened"]);
        assert_eq!(told(store, over).await, ["created", "opened", "closed"]);
        let closes_at = from_now(TimeDelta::milliseconds(-1));
        let set = if store.is_embedded() {
            format!("'{}'", closes_at.to_rfc3339())
        } else {
            format!("'{}'", closes_at.naive_utc())
        };
        run(
            &test,
            format!("UPDATE campaign SET closes_at = {set} WHERE id = {id}"),
        )
        .await;
        tick().await;
        tick().await;
        assert_eq!(told(store, id).await, ["created", "opened", "closed"]);
        assert_eq!(is_sound(store).await, [""; 0]);
    }
}

/// Sells a unit to each of these users.
async fn sell_to(store: &Store, id: CampaignId, users: std::ops::RangeInclusive<u64>) {
    let campaign = raised(store, id).await;
    let batch: Vec<_> = users
        .map(|nth| new_participation(&campaign, i64::try_from(nth).unwrap(), nth, 1))
        .collect();
    sell(store, &campaign, batch).await;
}

async fn cancel_one(store: &Store, id: CampaignId, user: i64) {
    let page = store.participations_of(UserId(user), None, 10).await;
    let one = page.unwrap().into_iter().find(|one| one.campaign_id == id);
    let change_request = ChangeRequest {
        id: one.unwrap().id,
        requested: RequestedChange::Cancel {
            suspended_until: None,
        },
        traceparent: None,
        by: None,
    };
    let key = firstcome::domain::KeyChoice::Participation;
    let changed = store
        .change_participations(id, &[change_request], key)
        .await;
    assert_eq!(changed.unwrap().changed.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sold_out_and_back_in_stock_are_each_published_once() {
    for test in stores().await {
        let store = &test.store;
        let step = async || {
            // Two replicas that both believe they have the duty.
            let events = [stock_events(store), stock_events(store)];
            let steps = events.iter().map(|events| events.step("one"));
            let written = join_all(steps).await.into_iter().map(Result::unwrap);
            written.sum::<usize>()
        };
        let new = NewCampaign {
            cancellable: true,
            ..campaign_of(Some(3))
        };
        let id = store.create_campaign(new, None).await.unwrap().id;
        let unlimited = store
            .create_campaign(campaign_of(None), None)
            .await
            .unwrap()
            .id;
        sell_to(store, unlimited, 1..=5).await;
        sell_to(store, id, 1..=2).await;
        assert_eq!(step().await, 0);
        sell_to(store, id, 3..=3).await;
        assert_eq!((step().await, step().await), (1, 0));
        cancel_one(store, id, 3).await;
        assert_eq!((step().await, step().await), (1, 0));
        sell_to(store, id, 4..=4).await;
        assert_eq!(step().await, 1);
        let events = events(store, id).await;
        let all = ["created", "opened", "sold_out", "back_in_stock", "sold_out"];
        assert_eq!(words(&events), all);
        let stock: Vec<Value> = events
            .iter()
            .map(|event| value(event)["currentStock"].clone())
            .collect();
        assert_eq!(stock, [json!(3), json!(3), json!(0), json!(1), json!(0)]);
        assert_eq!(told(store, unlimited).await, ["created", "opened"]);
        assert_eq!(is_sound(store).await, [""; 0]);
    }
}

#[tokio::test]
async fn another_owner_does_not_write_stock_events_while_the_duty_is_held() {
    for test in stores().await {
        let store = &test.store;
        let id = store
            .create_campaign(campaign_of(Some(1)), None)
            .await
            .unwrap()
            .id;
        let events = stock_events(store);
        assert_eq!(events.step("one").await.unwrap(), 0);
        sell_to(store, id, 1..=1).await;
        assert_eq!(events.step("two").await.unwrap(), 0);
        assert_eq!(events.step("one").await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_stock_change_between_two_comparisons_is_published_by_the_change() {
    for test in stores().await {
        let store = &test.store;
        let lifecycle = lifecycle(store);
        let raised = lifecycle
            .create(campaign_of(Some(1)), None)
            .await
            .unwrap()
            .id;
        sell_to(store, raised, 1..=1).await;
        let more = CampaignChange {
            total_stock: Some(Some(2)),
            ..CampaignChange::default()
        };
        lifecycle.change(raised, more, &admin()).await.unwrap();
        let all = ["created", "opened", "sold_out", "changed", "back_in_stock"];
        assert_eq!(told(store, raised).await, all);
        let closed = lifecycle
            .create(campaign_of(Some(1)), None)
            .await
            .unwrap()
            .id;
        sell_to(store, closed, 1..=1).await;
        lifecycle
            .move_to(closed, State::Closed, &admin())
            .await
            .unwrap();
        let all = ["created", "opened", "sold_out", "closed"];
        assert_eq!(told(store, closed).await, all);
        assert_eq!(stock_events(store).step("one").await.unwrap(), 0);
    }
}

#[tokio::test]
async fn verification_finds_a_missing_event_of_a_campaign() {
    for test in stores().await {
        let store = &test.store;
        let id = store
            .create_campaign(campaign_of(Some(5)), None)
            .await
            .unwrap()
            .id;
        sell_to(store, id, 1..=2).await;
        assert_eq!(is_sound(store).await, [""; 0]);
        run(
            &test,
            "DELETE FROM outbox_event WHERE aggregatetype = 'campaign' AND sequence = 1".to_owned(),
        )
        .await;
        let says = "I3 the campaign counts 2 events about itself, its stream has 1";
        assert_eq!(is_sound(store).await, [says]);
        run(&test, "UPDATE campaign SET campaign_events = 1".to_owned()).await;
        store
            .advance(&[(StreamId::of_campaign(id), 2)])
            .await
            .unwrap();
        let says = "I4 the position of events about the campaign is 2, but there are only 1";
        assert_eq!(is_sound(store).await, [says]);
    }
}

#[tokio::test]
async fn published_events_of_a_campaign_that_is_over_are_purged_and_counted() {
    for test in stores().await {
        let store = &test.store;
        let lifecycle = lifecycle(store);
        let mut ids = Vec::new();
        for _ in 0..2 {
            let id = lifecycle
                .create(campaign_of(Some(5)), None)
                .await
                .unwrap()
                .id;
            let campaign = raised(store, id).await;
            let sold = sell(
                store,
                &campaign,
                vec![new_participation(&campaign, 1, 1, 1)],
            )
            .await;
            acknowledge_upto(store, &sold[0].event).await;
            store
                .advance(&[(StreamId::of_campaign(id), 2)])
                .await
                .unwrap();
            ids.push(id);
        }
        lifecycle
            .move_to(ids[0], State::Closed, &admin())
            .await
            .unwrap();
        let (mut cursor, mut purged) = (None, 0);
        loop {
            let page = store.purgeable(cursor, Duration::ZERO, 2).await.unwrap();
            purged += store.purge(&page.purgeable).await.unwrap();
            cursor = page.last;
            if cursor.is_none() {
                break;
            }
        }
        // The event of a participation, and the published events of the campaign.
        assert_eq!(purged, 3);
        let left = store
            .read_stream(StreamId::of_campaign(ids[0]), 0, 10)
            .await;
        let left: Vec<u64> = left.unwrap().iter().map(LogEntry::sequence).collect();
        assert_eq!(left, [3]);
        assert_eq!(told(store, ids[1]).await, ["created", "opened"]);
        assert_eq!(is_sound(store).await, [""; 0]);
    }
}

//! Replayed dead letters of the relay in the audit log: the evidence that an event may come late in its topic.

use std::collections::BTreeSet;

use firstcome::domain::{Campaign, CampaignId, Consumer, EventId, LogPlace, StreamId};
use firstcome::parts::store::{NewConsumerLetter, RecordBytes, Store};
use sea_orm::{ConnectionTrait, Database};

use super::{by, dead_letters};
use crate::support::{TestStore, campaign_of, create, stores};

async fn forget_the_entries(test: &TestStore) {
    let db = Database::connect(&test.url).await.unwrap();
    db.execute_unprepared("DELETE FROM audit_entry")
        .await
        .unwrap();
}

/// The places of the first events of a campaign.
fn places(campaign: &Campaign, count: u64) -> Vec<LogPlace> {
    let stream = StreamId::of_participations(campaign.id);
    let place = |sequence| LogPlace { stream, sequence };
    (1..=count).map(place).collect()
}

/// Makes this event a dead letter of a consumer, and replays that.
async fn replay_for_a_consumer(store: &Store, event: EventId) {
    let (consumer, campaign) = (Consumer::Points, Some(CampaignId(1)));
    let letter = NewConsumerLetter {
        consumer,
        event,
        campaign,
        event_type: "a type".to_owned(),
        topic: "a topic".to_owned(),
        partition: 0,
        offset: 0,
        record: RecordBytes::default(),
        error_class: "poison",
        error: "an error".to_owned(),
    };
    store.store_consumer_letter(&letter).await.unwrap();
    let (events, somebody) = ([event], by("somebody"));
    let replayed = store.replay_consumer_letters(consumer, &events, Some(&somebody));
    assert_eq!(replayed.await.unwrap(), 1);
}

#[tokio::test]
async fn replayed_dead_letters_of_the_relay_are_known_while_the_log_has_them() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        let letters = dead_letters(store, &campaign, 25).await;
        let somebody = by("somebody");
        // More entries than are read at once.
        for letter in &letters[..22] {
            let letter = [*letter];
            let replayed = store.replay_dead_letters(&letter, Some(&somebody));
            assert_eq!(replayed.await.unwrap(), 1);
        }
        let discarded = store.discard_dead_letters(&letters[22..23], Some(&somebody));
        assert_eq!(discarded.await.unwrap(), 1);
        replay_for_a_consumer(store, letters[23]).await;

        let known = async |events: &[EventId]| {
            let events = events.iter().copied().collect();
            store.replayed_among(&events).await.unwrap()
        };
        let replayed: BTreeSet<EventId> = letters[..22].iter().copied().collect();
        assert_eq!(known(&letters).await, replayed);
        assert_eq!(known(&letters[..1]).await, [letters[0]].into());
        assert_eq!(known(&letters[22..]).await, BTreeSet::new());
        assert_eq!(known(&[]).await, BTreeSet::new());
        // The events are published since, and their rows deleted: the log still has the replays.
        let acknowledged = store.unpark(&places(&campaign, 22)).await.unwrap();
        assert_eq!(acknowledged, 22);
        assert_eq!(known(&letters).await, replayed);
        forget_the_entries(&test).await;
        assert_eq!(known(&letters).await, BTreeSet::new());
    }
}

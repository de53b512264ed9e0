//! Which events of the outbox may be purged and which must stay, on both databases, and the age of the
//! database's oldest snapshot.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use firstcome::domain::{Campaign, EventId, OutboxEvent, State};
use firstcome::operate::status::{Replicas, StatusBoard};
use firstcome::operate::verify::Verification;
use firstcome::parts::gate::ScriptGate;
use firstcome::parts::store::{History, ParkedState, PurgePage, Store, StoreConfig};
use firstcome::runtime::clock::Clock;
use firstcome::sale::meter::Meter;
use sea_orm::{ConnectionTrait, Database, TransactionTrait};

use crate::store::new_participation;
use crate::support::{
    self, aged, campaign_of, create, move_to, mysql, sqlite, stores, unique, until,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Commits participations whose events have this age; the users are numbered from `first_user`.
async fn sell(store: &Store, campaign: &Campaign, ages: &[Duration]) -> Vec<OutboxEvent> {
    let known = store.campaign_and_count(campaign.id).await.unwrap();
    let (_, taken) = known.unwrap();
    let batch: Vec<_> = (taken + 1..)
        .zip(ages)
        .map(|(nth, age)| {
            let mut new_participation =
                new_participation(campaign, i64::try_from(nth).unwrap(), nth, 1);
            new_participation.event = aged(new_participation.event, *age);
            new_participation
        })
        .collect();
    let sold = support::sell(store, campaign, batch).await;
    sold.into_iter()
        .map(|new_participation| new_participation.event)
        .collect()
}

/// Everything up to the last of these is acknowledged or parked.
async fn acknowledge(store: &Store, events: &[OutboxEvent]) {
    support::acknowledge_upto(store, events.last().unwrap()).await;
}

async fn park(store: &Store, event: &OutboxEvent, state: ParkedState) {
    support::park(store, event, state, None).await;
}

/// Purges everything that may be deleted, in batches of three rows.
async fn purge_all(store: &Store) -> u64 {
    let (mut cursor, mut purged) = (None, 0);
    loop {
        let page = store.purgeable(cursor, WEEK, 3).await.unwrap();
        assert!(page.rows <= 3 && page.purgeable.len() <= 3);
        assert!(page.last.is_none_or(|last| Some(last) > cursor));
        let deleted = store.purge(&page.purgeable).await.unwrap();
        assert!(deleted <= 3);
        purged += deleted;
        cursor = page.last.or(cursor);
        if page.last.is_none() {
            return purged;
        }
    }
}

/// Those of these events that exist.
async fn ids_left(store: &Store, events: &[OutboxEvent]) -> BTreeSet<EventId> {
    let mut left = BTreeSet::new();
    for event in events {
        let after = event.sequence - 1;
        let read = store.read_stream(event.stream(), after, 1).await;
        if read
            .unwrap()
            .iter()
            .any(|entry| entry.sequence() == event.sequence)
        {
            left.insert(event.id);
        }
    }
    left
}

async fn assert_sound(store: &Store) {
    let gate = ScriptGate::in_process(Clock::System, &unique("t")).unwrap();
    let verification = Verification::new(store.clone(), Arc::new(gate));
    for finding in verification.run().await.unwrap() {
        assert_eq!(finding.breaches, Vec::<String>::new());
    }
}

async fn published(store: &Store, campaign: &Campaign) -> u64 {
    let gate = ScriptGate::in_process(Clock::System, &unique("t")).unwrap();
    let gate = Arc::new(gate);
    let replicas = Replicas::new(Arc::clone(&gate));
    let board = StatusBoard::new(store.clone(), gate, Meter::new(Clock::System), replicas);
    board
        .of(campaign.id)
        .await
        .unwrap()
        .unwrap()
        .funnel
        .published
}

#[tokio::test]
async fn only_old_published_events_of_finished_campaigns_are_purged() {
    for test in stores().await {
        let store = &test.store;
        let over = create(store, campaign_of(None)).await;
        let events = sell(store, &over, &[8 * DAY; 11]).await;
        let young = sell(store, &over, &[6 * DAY; 2]).await;
        let pending = sell(store, &over, &[6 * DAY]).await;
        let (waiting, old) = events.split_at(4);
        acknowledge(store, &young).await;
        let parked = [
            ParkedState::Retry,
            ParkedState::Blocked,
            ParkedState::Dead,
            ParkedState::Discarded,
        ];
        for (event, state) in waiting.iter().zip(parked) {
            park(store, event, state).await;
        }
        move_to(store, &over, State::Closed).await;
        let mut stays: Vec<OutboxEvent> = [waiting, &young, &pending].concat();
        for state in [State::Draft, State::Scheduled, State::Open, State::Paused] {
            let sells = create(store, campaign_of(None)).await;
            let events = sell(store, &sells, &[30 * DAY]).await;
            acknowledge(store, &events).await;
            move_to(store, &sells, state).await;
            stays.extend(events);
        }
        assert_sound(store).await;
        let before = published(store, &over).await;

        assert_eq!(purge_all(store).await, 7);
        assert_eq!(ids_left(store, old).await, BTreeSet::new());
        let expected = stays.iter().map(|event| event.id).collect();
        assert_eq!(ids_left(store, &stays).await, expected);
        let counts = store.counts(over.id).await.unwrap();
        assert_eq!((counts.events, counts.purged), (7, 7));
        assert_eq!((counts.pending, counts.parked), (1, 4));
        assert_eq!(published(store, &over).await, before);
        assert_sound(store).await;

        assert_eq!(purge_all(store).await, 0, "a second time");
        move_to(store, &over, State::Archived).await;
        let place = waiting[0].place();
        assert_eq!(store.unpark(&[place]).await.unwrap(), 1);
        assert_eq!(purge_all(store).await, 1, "archived is over, too");
    }
}

#[tokio::test]
async fn concurrent_purges_count_each_event_once() {
    for test in stores().await {
        let store = &test.store;
        let mut campaigns = Vec::new();
        for _ in 0..3 {
            let campaign = create(store, campaign_of(None)).await;
            let events = sell(store, &campaign, &[8 * DAY; 40]).await;
            acknowledge(store, &events).await;
            move_to(store, &campaign, State::Closed).await;
            campaigns.push(campaign);
        }
        let (mut purgeable, mut cursor) = (Vec::new(), None);
        loop {
            let page = store.purgeable(cursor, WEEK, 500).await.unwrap();
            purgeable.extend(page.purgeable);
            cursor = page.last;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(purgeable.len(), 120);
        // Overlapping batches, so that they interfere.
        let pieces = [0..70, 20..120, 0..120, 50..90].map(|range| &purgeable[range]);
        let purging = pieces.map(|piece| async move {
            loop {
                match store.purge(piece).await {
                    Err(error) if error.is_rolled_back() => {}
                    other => break other.unwrap(),
                }
            }
        });
        let purged: u64 = futures_util::future::join_all(purging).await.iter().sum();
        assert_eq!(purged, 120);
        for campaign in campaigns {
            let counts = store.counts(campaign.id).await.unwrap();
            assert_eq!((counts.events, counts.purged), (0, 40));
        }
        assert_sound(store).await;
    }
}

#[tokio::test]
async fn nothing_is_purged_if_the_campaign_is_not_over() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        let events = sell(store, &campaign, &[8 * DAY; 4]).await;
        acknowledge(store, &events).await;
        move_to(store, &campaign, State::Closed).await;
        let page = store.purgeable(None, WEEK, 10).await.unwrap();
        assert_eq!(page.purgeable.len(), 4);
        move_to(store, &campaign, State::Open).await;
        assert_eq!(store.purge(&page.purgeable).await.unwrap(), 0);
        let counts = store.counts(campaign.id).await.unwrap();
        assert_eq!((counts.events, counts.purged), (4, 0));
    }
}

#[tokio::test]
async fn events_that_must_stay_are_read_once_per_sweep() {
    for test in stores().await {
        let store = &test.store;
        let sells = create(store, campaign_of(None)).await;
        let stays = sell(store, &sells, &[9 * DAY; 5]).await;
        acknowledge(store, &stays).await;
        let none = store.purgeable(None, WEEK, 4).await.unwrap();
        assert_eq!(none, PurgePage::default(), "its campaign sells");
        let over = create(store, campaign_of(None)).await;
        let stays = sell(store, &over, &[9 * DAY; 5]).await;
        acknowledge(store, &stays).await;
        for event in &stays {
            park(store, event, ParkedState::Dead).await;
        }
        move_to(store, &over, State::Closed).await;
        let first = store.purgeable(None, WEEK, 4).await.unwrap();
        assert_eq!((first.rows, first.purgeable.len()), (4, 0));
        let second = store.purgeable(first.last, WEEK, 4).await.unwrap();
        assert_eq!(second.rows, 1);
        // The events about the campaign itself, which are young.
        let third = store.purgeable(second.last, WEEK, 4).await.unwrap();
        assert_eq!(third.purgeable, []);
        let fourth = store.purgeable(third.last, WEEK, 4).await.unwrap();
        assert_eq!(fourth, PurgePage::default());
    }
}

#[tokio::test]
async fn the_age_of_the_oldest_snapshot_is_known() {
    let embedded = sqlite().await;
    let nothing = Some(History::default());
    assert_eq!(embedded.store.history().await.unwrap(), nothing);

    let test = mysql().await;
    let db = Database::connect(&test.url).await.unwrap();
    let forgotten = db.begin().await.unwrap();
    forgotten
        .execute_unprepared("SELECT COUNT(*) FROM campaign")
        .await
        .unwrap();
    until("it has been open for a second", async || {
        let history = test.store.history().await.unwrap().unwrap();
        // With a wrong time zone it would be off by hours; others use the server, too.
        assert!(history.oldest_snapshot_age < Duration::from_secs(3_000));
        history.oldest_snapshot_age >= Duration::from_secs(1)
    })
    .await;
    forgotten.rollback().await.unwrap();
}

#[tokio::test]
async fn snapshot_age_is_unknown_without_the_permission_to_read_it() {
    let test = mysql().await;
    let (user, schema) = (unique("u"), test.url.rsplit_once('/').unwrap().1);
    let user = &user[..32];
    let admin = Database::connect(&test.url).await.unwrap();
    for statement in [
        format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'pw'"),
        format!("GRANT ALL ON `{schema}`.* TO '{user}'@'%'"),
    ] {
        admin.execute_unprepared(&statement).await.unwrap();
    }
    let (_, place) = test.url.rsplit_once('@').unwrap();
    let url = format!("mysql://{user}:pw@{place}");
    let store = Store::connect(&StoreConfig::new(url), Clock::System).await;
    let store = store.unwrap();
    assert_eq!(store.history().await.unwrap(), None);
    store.close().await.unwrap();
    let gone = format!("DROP USER '{user}'@'%'");
    admin.execute_unprepared(&gone).await.unwrap();
}

#[tokio::test]
async fn an_event_that_is_to_be_published_again_is_not_purged() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        let events = sell(store, &campaign, &[8 * DAY; 3]).await;
        let pending = sell(store, &campaign, &[8 * DAY]).await;
        acknowledge(store, &events).await;
        move_to(store, &campaign, State::Closed).await;
        let listed = store.purgeable(None, WEEK, 10).await.unwrap();
        assert_eq!(listed.purgeable.len(), 3);
        // After the list was read.
        let places = [events[1].place(), pending[0].place()];
        assert_eq!(store.republish(&places, None).await.unwrap(), 1);
        assert_eq!(store.republish(&places, None).await.unwrap(), 0);
        assert_eq!(store.purge(&listed.purgeable).await.unwrap(), 2);
        let left = ids_left(store, &events).await;
        assert_eq!(left, BTreeSet::from([events[1].id]));
        assert_sound(store).await;
        store.unpark(&[events[1].place()]).await.unwrap();
        assert_eq!(purge_all(store).await, 1);
        assert_eq!(store.republish(&places, None).await.unwrap(), 0);
        assert_sound(store).await;
    }
}

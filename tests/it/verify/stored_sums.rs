//! Stored sums of old segments: they are never used after a change.

use std::time::Duration;

use firstcome::domain::{CampaignId, EventId, State, StreamId};
use firstcome::parts::store::{RowSelection, SEGMENT_RANKS, Segment, Store, StoredSums};
use sea_orm::{ConnectionTrait, TransactionTrait};

use super::{
    FILLED, FULL, NewParticipation, Scene, assert_clean, commit, hex, of, old_participation, run,
    vandal, verify,
};
use crate::support::{move_to, mysql, stores};
use firstcome::operate::verify::{Finding, Scope};

async fn stored(store: &Store, segment: Segment) -> Option<StoredSums> {
    let stored = store.stored_sums(&[segment.campaign]).await.unwrap();
    stored.into_iter().find(|stored| stored.segment == segment)
}

async fn is_valid(store: &Store, segment: Segment) -> bool {
    let stored = stored(store, segment).await;
    stored.is_some_and(|stored| stored.is_valid)
}

fn first_segment(scene: &Scene) -> Segment {
    Segment {
        campaign: scene.campaign.id,
        number: 0,
    }
}

/// Cancels a participation, as one transaction of the service would.
async fn cancel(
    store: &Store,
    on: &impl ConnectionTrait,
    campaign: CampaignId,
    one: &NewParticipation,
) {
    let (participation, event) = (&one.participation, EventId::generate());
    for sql in [
        format!(
            "UPDATE campaign SET committed_units = committed_units - 1, event_sequence = event_sequence + 1 \
             WHERE id = {campaign}"
        ),
        format!(
            "UPDATE participation SET status = 'cancelled', ordinal = NULL, version = version + 1 WHERE id = {}",
            hex(participation.id.0)
        ),
        format!(
            "INSERT INTO outbox_event (id, sequence, campaign_id, aggregatetype, aggregateid, type, message_key, \
             key_sequence, `rank`, payload, created_at) SELECT {}, c.event_sequence, e.campaign_id, \
             e.aggregatetype, e.aggregateid, e.type, e.message_key, e.key_sequence + 1, e.`rank`, e.payload, \
             e.created_at FROM outbox_event e JOIN campaign c ON c.id = e.campaign_id WHERE e.id = {}",
            hex(event.0),
            hex(one.event.id.0)
        ),
    ] {
        run(on, &sql).await;
    }
    let announced = store.invalidate_segment(on, campaign, participation.rank);
    announced.await.unwrap();
}

#[tokio::test]
async fn a_change_invalidates_the_sums_of_its_segment() {
    for test in stores().await {
        let (store, db) = (&test.store, vandal(&test).await);
        let scene = Scene::new(store, 2).await;
        let (id, segment) = (scene.campaign.id, first_segment(&scene));
        assert_clean(&verify(store, &Scope::default()).await);
        assert!(is_valid(store, segment).await);

        let tx = db.begin().await.unwrap();
        cancel(store, &tx, id, &scene.segments[0][2]).await;
        tx.rollback().await.unwrap();
        assert!(is_valid(store, segment).await, "nothing was changed");

        let tx = db.begin().await.unwrap();
        cancel(store, &tx, id, &scene.segments[0][2]).await;
        tx.commit().await.unwrap();
        assert!(!is_valid(store, segment).await);
        for _ in 0..2 {
            let found = verify(store, &Scope::default()).await;
            assert_clean(&found);
            let found = of(&found, id);
            assert_eq!((found.participations, found.changes), (8, 9));
            assert_eq!((found.committed_units, found.events), (7, 9));
            assert!(is_valid(store, segment).await);
        }
    }
}

/// The sums of a segment and their generation, in one snapshot.
async fn summed(store: &Store, segment: Segment) -> StoredSums {
    let snapshot = store.snapshot().await.unwrap();
    let generation = snapshot.generation(segment).await.unwrap();
    let sums = snapshot.sums(RowSelection::Within(segment)).await.unwrap();
    let sums = sums[&segment.campaign];
    snapshot.end().await.unwrap();
    StoredSums {
        segment,
        generation,
        participations: sums.participations,
        units: sums.units,
        changes: sums.changes,
        digest: sums.change_digest,
        per_user_limit: 2,
        is_valid: true,
    }
}

#[tokio::test]
async fn sums_read_before_a_change_are_not_stored_after_it() {
    for test in stores().await {
        let (store, db) = (&test.store, vandal(&test).await);
        let scene = Scene::new(store, 2).await;
        let (id, segment) = (scene.campaign.id, first_segment(&scene));
        // Once without a row of the segment, once with one.
        for victim in [1, 2] {
            let before = summed(store, segment).await;
            let tx = db.begin().await.unwrap();
            cancel(store, &tx, id, &scene.segments[0][victim]).await;
            tx.commit().await.unwrap();
            store.store_sums(&[before]).await.unwrap();
            assert!(!is_valid(store, segment).await);
        }
        let after = summed(store, segment).await;
        store.store_sums(&[after]).await.unwrap();
        assert_eq!(stored(store, segment).await, Some(after));
        assert_eq!((after.units, after.changes), (FILLED - 2, FILLED + 2));
    }
}

#[tokio::test]
async fn sums_wait_for_an_uncommitted_change() {
    let test = mysql().await;
    let (store, db) = (&test.store, vandal(&test).await);
    let scene = Scene::new(store, 2).await;
    let (id, segment) = (scene.campaign.id, first_segment(&scene));
    for victim in [1, 2] {
        let tx = db.begin().await.unwrap();
        cancel(store, &tx, id, &scene.segments[0][victim]).await;
        let before = summed(store, segment).await;
        let keeping = store.store_sums(std::slice::from_ref(&before));
        let (stored_then, ()) = tokio::join!(keeping, async { tx.commit().await.unwrap() });
        stored_then.unwrap();
        assert!(!is_valid(store, segment).await);
    }
}

#[tokio::test]
async fn a_participation_too_late_for_its_segment_is_no_violation() {
    for test in stores().await {
        let store = &test.store;
        let scene = Scene::new(store, 3).await;
        let id = scene.campaign.id;
        assert_clean(&verify(store, &Scope::default()).await);
        // Into the second segment: the first one is due to be read again.
        let late = old_participation(&scene.campaign, SEGMENT_RANKS + 50);
        commit(store, &scene.campaign, &[late]).await;
        let found = verify(store, &Scope::default()).await;
        assert_clean(&found);
        // All of it was read again, and its sums are stored.
        assert_eq!(
            (of(&found, id).participations, of(&found, id).segments_kept),
            (13, 0)
        );
        let found = verify(store, &Scope::default()).await;
        assert_eq!(
            (of(&found, id).participations, of(&found, id).segments_kept),
            (13, 1)
        );
    }
}

#[tokio::test]
async fn sums_are_invalid_under_a_lower_limit() {
    for test in stores().await {
        let (store, db) = (&test.store, vandal(&test).await);
        let mut scene = Scene::new(store, 1).await;
        let mut two = old_participation(&scene.campaign, 20);
        two.participation.quantity = 2;
        commit(store, &scene.campaign, &[two.clone()]).await;
        scene.sell(store, 70_000, 1).await;
        let id = scene.campaign.id;
        assert_clean(&verify(store, &Scope::default()).await);
        assert!(is_valid(store, first_segment(&scene)).await);
        run(
            &db,
            &format!("UPDATE campaign SET per_user_limit = 1, max_quantity = 1 WHERE id = {id}"),
        )
        .await;
        let found = verify(store, &Scope::default()).await;
        let user = two.participation.user_id;
        let says = [format!("I2 1 users hold more than 1 units: user {user}: 2")];
        assert_eq!(of(&found, id).breaches, says);
    }
}

#[tokio::test]
async fn purging_keeps_sums_valid_and_never_written_events_are_still_reported() {
    for test in stores().await {
        let (store, db) = (&test.store, vandal(&test).await);
        let scene = Scene::new(store, 3).await;
        let id = scene.campaign.id;
        for batch in &scene.segments {
            let waits = batch[0].event.place();
            assert_eq!(store.unpark(&[waits]).await.unwrap(), 1);
        }
        move_to(store, &scene.campaign, State::Closed).await;
        assert_clean(&verify(store, &Scope::default()).await);
        let before = store.stored_sums(&[id]).await.unwrap();
        let mut purged = 0;
        let mut cursor = None;
        loop {
            let page = store.purgeable(cursor, Duration::ZERO, 5).await.unwrap();
            purged += store.purge(&page.purgeable).await.unwrap();
            let found = verify(store, &Scope::default()).await;
            assert_clean(&found);
            let found = of(&found, id);
            assert_eq!(
                (found.events, found.published, found.purged),
                (12, 12, purged)
            );
            cursor = page.last.or(cursor);
            if purged >= 9 || page.last.is_none() {
                break;
            }
        }
        assert!(purged >= 9, "{purged}");
        assert_eq!(store.stored_sums(&[id]).await.unwrap(), before);
        assert_clean(&verify(store, &FULL).await);

        let left = store
            .read_stream(StreamId::of_participations(id), 0, 1)
            .await
            .unwrap();
        let firstcome::parts::store::LogEntry::Event(left) = &left[0] else {
            panic!("{left:?}");
        };
        let gone = hex(left.id.0);
        run(&db, &format!("DELETE FROM outbox_event WHERE id = {gone}")).await;
        let found = verify(store, &FULL).await;
        let says = format!(
            "I3 12 changes, 11 events ({purged} of them purged); the purged events are not the missing ones"
        );
        let gap = "I3 the campaign counts 12 events, its stream has 11".to_owned();
        assert_eq!(of(&found, id).breaches, [says, gap]);
    }
}

#[test]
fn a_rank_belongs_to_one_segment() {
    let id = CampaignId(1);
    let number = |rank| Segment::of(id, rank).number;
    assert_eq!([0, 1, 65_536].map(number), [0, 0, 0]);
    assert_eq!([65_537, 131_072, 131_073].map(number), [1, 1, 2]);
}

#[tokio::test]
async fn the_stream_of_a_campaign_that_is_over_is_read_once_and_again_when_it_grows() {
    for test in stores().await {
        let (store, db) = (&test.store, vandal(&test).await);
        let scene = Scene::new(store, 2).await;
        let id = scene.campaign.id;
        assert_clean(&verify(store, &Scope::default()).await);
        assert_eq!(
            store.stored_log_sums(&[id]).await.unwrap(),
            [],
            "it still sells"
        );
        move_to(store, &scene.campaign, State::Closed).await;
        assert_clean(&verify(store, &Scope::default()).await);
        let [before] = store.stored_log_sums(&[id]).await.unwrap()[..] else {
            panic!("one segment is kept");
        };
        assert_eq!((before.last, before.events), (8, 8));

        let tx = db.begin().await.unwrap();
        cancel(store, &tx, id, &scene.segments[1][2]).await;
        tx.commit().await.unwrap();
        let found = verify(store, &Scope::default()).await;
        assert_clean(&found);
        assert_eq!(of(&found, id).events, 9);
        let [after] = store.stored_log_sums(&[id]).await.unwrap()[..] else {
            panic!("one segment is kept");
        };
        assert_eq!((after.last, after.events), (9, 9));
        assert_ne!(after.digest, before.digest);
    }
}

#[tokio::test]
async fn an_event_lost_from_a_verified_stream_is_found_when_the_segment_is_due_and_by_a_full_run() {
    for test in stores().await {
        let (store, db) = (&test.store, vandal(&test).await);
        let mut scenes = Vec::new();
        for _ in 0..4 {
            let scene = Scene::new(store, 1).await;
            move_to(store, &scene.campaign, State::Closed).await;
            scenes.push(scene);
        }
        assert_clean(&verify(store, &Scope::default()).await);
        let last = &scenes[3];
        let gone = hex(last.segments[0][2].event.id.0);
        run(&db, &format!("DELETE FROM outbox_event WHERE id = {gone}")).await;
        let says = "I3 the campaign counts 4 events, its stream has 3".to_owned();
        let is_found = |found: &[Finding]| of(found, last.campaign.id).breaches.contains(&says);
        // Each run reads the segment again that was read longest ago: those of the others come first.
        let mut runs = 0;
        while !is_found(&verify(store, &Scope::default()).await) {
            runs += 1;
            assert!(runs <= scenes.len(), "it is never due");
        }
        assert!(runs > 0, "kept sums are used");
        assert!(is_found(&verify(store, &FULL).await));
    }
}

//! Verification under traffic: writers, a relay that acknowledges, changes, retention.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use firstcome::domain::{Campaign, State, StreamId};
use firstcome::parts::store::{CommitError, NewParticipation, Store};
use sea_orm::{DatabaseConnection, TransactionTrait};

use super::{Scene, acknowledge_upto, hex, of, old_participation, run, vandal, without_gate};
use crate::groups::{BatchOutcome, Groups};
use crate::store::new_participation;
use crate::support::{campaign_of, create, move_to, mysql};

const WRITERS: u64 = 4;
const BATCHES: u64 = 60;
const ROWS: u64 = 20;

/// Sells in batches, at ranks that the writers take from a shared counter, as from a gate.
async fn write(store: &Store, campaign: &Campaign, ranks: &AtomicU64) {
    for _ in 0..BATCHES {
        let first = ranks.fetch_add(ROWS, Ordering::Relaxed);
        let batch: Vec<NewParticipation> = (first..first + ROWS)
            .map(|rank| new_participation(campaign, i64::try_from(rank).unwrap(), rank, 1))
            .collect();
        let last = loop {
            match store
                .commit_participations(campaign, campaign.gate_epoch, &batch)
                .await
            {
                Ok(BatchOutcome::Committed { first_sequence, .. }) => {
                    break first_sequence + ROWS - 1;
                }
                Ok(outcome) => panic!("{outcome:?}"),
                Err(CommitError::RolledBack(_)) => {}
                Err(error) => panic!("{error}"),
            }
        };
        // The last three of each batch wait; the next one's position passes them.
        store
            .advance(&[(StreamId::of_participations(campaign.id), last - 3)])
            .await
            .unwrap();
    }
}

/// Purges old events in small batches, repeatedly.
async fn purge(store: &Store, done: &AtomicBool) {
    let mut cursor = None;
    while !done.load(Ordering::Relaxed) {
        let page = store.purgeable(cursor, Duration::ZERO, 7).await.unwrap();
        match store.purge(&page.purgeable).await {
            Ok(_) => cursor = page.last,
            Err(error) => assert!(error.is_rolled_back(), "{error}"),
        }
    }
}

/// Changes a participation like a transaction of the service: with another, pending event.
async fn change(
    store: &Store,
    db: &DatabaseConnection,
    campaign: &Campaign,
    one: &NewParticipation,
) {
    let tx = db.begin().await.unwrap();
    let (id, change) = (
        hex(one.participation.id.0),
        firstcome::domain::EventId::generate(),
    );
    for sql in [
        format!(
            "UPDATE campaign SET event_sequence = event_sequence + 1 WHERE id = {}",
            campaign.id
        ),
        format!("UPDATE participation SET version = version + 1 WHERE id = {id}"),
        format!(
            "INSERT INTO outbox_event (id, sequence, campaign_id, aggregatetype, aggregateid, type, \
                 message_key, key_sequence, `rank`, payload, created_at) SELECT {}, c.event_sequence, \
                 p.campaign_id, 'participation', 'a', 't', 'k', p.version, p.`rank`, '{{}}', p.created_at \
                 FROM participation p JOIN campaign c ON c.id = p.campaign_id WHERE p.id = {id}",
            hex(change.0)
        ),
    ] {
        run(&tx, &sql).await;
    }
    let rank = one.participation.rank;
    let announced = store.invalidate_segment(&tx, campaign.id, rank);
    announced.await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn under_traffic_there_is_no_false_alarm_and_no_violation_is_missed() {
    let test = mysql().await;
    let (store, db) = (&test.store, vandal(&test).await);
    let rush = create(store, campaign_of(None)).await;
    let ends = create(store, campaign_of(None)).await;
    let old: Vec<NewParticipation> = (1..=400)
        .map(|rank| old_participation(&ends, rank))
        .collect();
    let old = super::commit(store, &ends, &old).await;
    acknowledge_upto(store, &old[old.len() - 1].event).await;
    move_to(store, &ends, State::Closed).await;
    let changing = Scene::new(store, 3).await;
    let broken = Scene::new(store, 2).await;
    let gone = hex(broken.segments[0][1].event.id.0);
    run(&db, &format!("DELETE FROM outbox_event WHERE id = {gone}")).await;

    let (ranks, done) = (AtomicU64::new(1), AtomicBool::new(false));
    let writing = async {
        futures_util::future::join_all((0..WRITERS).map(|_| write(store, &rush, &ranks))).await;
        done.store(true, Ordering::Relaxed);
    };
    let confirming = async {
        // Changes in an old segment; each has its event.
        for one in changing.segments[0].iter().cycle().take(12) {
            change(store, &db, &changing.campaign, one).await;
        }
    };
    let verifying = async {
        let verification = without_gate(store);
        let mut runs = 0;
        loop {
            let is_last = done.load(Ordering::Relaxed);
            let found = verification.run().await.unwrap();
            for campaign in [&rush, &ends, &changing.campaign] {
                let found = of(&found, campaign.id);
                assert!(found.breaches.is_empty(), "run {runs}: {found:?}");
            }
            assert_eq!(of(&found, broken.campaign.id).breaches.len(), 2);
            runs += 1;
            if is_last {
                return (runs, found);
            }
        }
    };
    let (.., (runs, found)) = tokio::join!(writing, confirming, purge(store, &done), verifying);
    assert!(runs > 2, "it ran beside the writers");
    let sold = of(&found, rush.id);
    assert_eq!(sold.participations, WRITERS * BATCHES * ROWS);
    assert!(
        (3..=WRITERS * ROWS).contains(&sold.pending),
        "{}",
        sold.pending
    );
    assert_eq!(of(&found, changing.campaign.id).changes, 12 + 12);
    let ended = of(&found, ends.id);
    assert_eq!((ended.events, ended.purged), (400, 400));
}

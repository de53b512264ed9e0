//! The store's suite, on both databases: what it rejects even if the gate admits it.

mod dates;
mod events;
mod keys;
mod limits;
mod orders;
mod reviews;
mod unreadable;

use chrono::{DurationRound, TimeDelta};
use firstcome::domain::{
    Campaign, KeyChoice, OutboxEvent, Participation, ParticipationId, Status, StreamId, UserId,
    to_stored_precision,
};
use firstcome::parts::store::{
    CampaignChange, CampaignFilter, LogEntry, Mismatch, NewParticipation, States, Store,
    StoreConfig, StoreError, TallyRow, UserKey,
};
use firstcome::runtime::clock::Clock;
use sea_orm::{ConnectionTrait, Database, Statement};

use crate::groups::{BatchOutcome, Groups};
use crate::support::{campaign_of, create, mysql, patient, raised, stores};

/// A free participation and its event, ready to be committed.
pub fn new_participation(
    campaign: &Campaign,
    user: i64,
    rank: u64,
    quantity: u32,
) -> NewParticipation {
    let now = to_stored_precision(Clock::System.now());
    let participation = Participation {
        id: ParticipationId::generate(),
        campaign_id: campaign.id,
        user_id: UserId(user),
        quantity,
        rank,
        status: Status::Confirmed,
        remaining: Some(1),
        amount: None,
        payment_reference: None,
        expires_at: None,
        created_at: now,
    };
    let event = OutboxEvent::about(&participation, 1, KeyChoice::Participation, now);
    NewParticipation {
        participation,
        idempotency_key: None,
        event,
        hold_until: None,
        by: None,
        order: None,
    }
}

#[tokio::test]
async fn a_batch_is_committed_whole_with_its_outbox_rows() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(Some(3))).await;
        let batch: Vec<NewParticipation> = (1..=3)
            .map(|user| new_participation(&campaign, user, user.unsigned_abs(), 1))
            .collect();
        let outcome = store
            .commit_participations(&campaign, campaign.gate_epoch, &batch)
            .await
            .unwrap();
        assert!(matches!(
            outcome,
            BatchOutcome::Committed {
                held_from: None,
                ..
            }
        ));
        let counts = store.counts(campaign.id).await.unwrap();
        assert_eq!(
            (
                counts.participations,
                counts.events,
                counts.pending,
                counts.units
            ),
            (3, 3, 3, 3)
        );
        let read = store
            .participation(batch[0].participation.id)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(read, batch[0].participation);
        let campaign = store.campaign(campaign.id).await.unwrap().unwrap();
        assert_eq!(
            (campaign.committed_units, campaign.current_stock()),
            (3, Some(0))
        );
    }
}

#[tokio::test]
async fn a_batch_over_the_stock_is_refused_whole() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(Some(2))).await;
        let batch: Vec<NewParticipation> = (1..=3)
            .map(|user| new_participation(&campaign, user, user.unsigned_abs(), 1))
            .collect();
        let outcome = store
            .commit_participations(&campaign, campaign.gate_epoch, &batch)
            .await
            .unwrap();
        assert_eq!(outcome, BatchOutcome::Mismatch(Mismatch::SoldOut));
        assert_eq!(store.counts(campaign.id).await.unwrap().participations, 0);
        assert_eq!(
            store
                .campaign(campaign.id)
                .await
                .unwrap()
                .unwrap()
                .committed_units,
            0
        );
    }
}

#[tokio::test]
async fn an_old_epoch_is_refused() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        let batch = [new_participation(&campaign, 1, 1, 1)];
        let outcome = store
            .commit_participations(&campaign, campaign.gate_epoch - 1, &batch)
            .await
            .unwrap();
        assert_eq!(outcome, BatchOutcome::Mismatch(Mismatch::StaleEpoch));
    }
}

#[tokio::test]
async fn a_user_never_holds_more_than_the_limit() {
    for test in stores().await {
        let store = &test.store;
        let one = create(store, campaign_of(None)).await;
        let twice = [
            new_participation(&one, 7, 1, 1),
            new_participation(&one, 7, 2, 1),
        ];
        let outcome = store
            .commit_participations(&one, one.gate_epoch, &twice)
            .await
            .unwrap();
        assert_eq!(outcome, BatchOutcome::Conflict);

        let mut new = campaign_of(None);
        (new.per_user_limit, new.max_quantity) = (3, 3);
        let three = create(store, new).await;
        let first = [new_participation(&three, 7, 1, 2)];
        let outcome = store
            .commit_participations(&three, three.gate_epoch, &first)
            .await
            .unwrap();
        assert!(matches!(
            outcome,
            BatchOutcome::Committed {
                held_from: None,
                ..
            }
        ));
        let over = [new_participation(&three, 7, 2, 2)];
        let outcome = store
            .commit_participations(&three, three.gate_epoch, &over)
            .await
            .unwrap();
        assert_eq!(outcome, BatchOutcome::Conflict);
        let rest = [new_participation(&three, 7, 3, 1)];
        let outcome = store
            .commit_participations(&three, three.gate_epoch, &rest)
            .await
            .unwrap();
        assert!(matches!(
            outcome,
            BatchOutcome::Committed {
                held_from: None,
                ..
            }
        ));
        assert_eq!(store.counts(three.id).await.unwrap().users_over_limit, 0);
    }
}

#[tokio::test]
async fn each_rank_is_given_once() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        let batch = [
            new_participation(&campaign, 1, 5, 1),
            new_participation(&campaign, 2, 5, 1),
        ];
        let outcome = store
            .commit_participations(&campaign, campaign.gate_epoch, &batch)
            .await
            .unwrap();
        assert_eq!(outcome, BatchOutcome::Conflict);
    }
}

#[tokio::test]
async fn an_idempotency_key_belongs_to_one_participation_of_its_user() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        let with_key = |user, rank| {
            let mut new_participation = new_participation(&campaign, user, rank, 1);
            new_participation.idempotency_key = Some("Key".to_owned());
            new_participation
        };
        let batch = [with_key(1, 1), with_key(2, 2)];
        let outcome = store
            .commit_participations(&campaign, campaign.gate_epoch, &batch)
            .await
            .unwrap();
        assert!(matches!(
            outcome,
            BatchOutcome::Committed {
                held_from: None,
                ..
            }
        ));
        let key = |user, key: &str| UserKey {
            user: UserId(user),
            key: key.to_owned(),
        };
        let keys = [key(2, "Key"), key(2, "key"), key(3, "Key"), key(1, "Key")];
        let found = store.participations_by_keys(&keys).await.unwrap();
        assert_eq!(found.len(), 2);
        for (user, new_participation) in [(1, &batch[0]), (2, &batch[1])] {
            assert_eq!(
                found[&key(user, "Key")].id,
                new_participation.participation.id
            );
        }
        let other = create(store, campaign_of(None)).await;
        let mut again = new_participation(&other, 1, 1, 1);
        again.idempotency_key = Some("Key".to_owned());
        let outcome = store
            .commit_participations(&other, other.gate_epoch, &[again])
            .await
            .unwrap();
        assert_eq!(outcome, BatchOutcome::Conflict);
    }
}

#[tokio::test]
async fn stock_is_never_lowered_below_the_committed_units() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(Some(5))).await;
        let batch = [
            new_participation(&campaign, 1, 1, 1),
            new_participation(&campaign, 2, 2, 1),
        ];
        store
            .commit_participations(&campaign, campaign.gate_epoch, &batch)
            .await
            .unwrap();
        let lower = |total| CampaignChange {
            total_stock: Some(Some(total)),
            ..CampaignChange::default()
        };
        let refused = store
            .change_campaign(campaign.id, campaign.version, &lower(1), None)
            .await;
        assert!(
            matches!(refused, Err(StoreError::Constraint(_))),
            "{refused:?}"
        );
        assert!(
            store
                .change_campaign(campaign.id, campaign.version, &lower(2), None)
                .await
                .unwrap()
        );
        assert!(
            !store
                .change_campaign(campaign.id, campaign.version, &lower(4), None)
                .await
                .unwrap(),
            "an old version"
        );
    }
}

#[tokio::test]
async fn a_rebuild_starts_from_committed_participations() {
    for test in stores().await {
        let store = &test.store;
        let mut new = campaign_of(Some(10));
        (new.per_user_limit, new.max_quantity) = (3, 3);
        let campaign = create(store, new).await;
        let batch = [
            new_participation(&campaign, 1, 1, 2),
            new_participation(&campaign, 1, 2, 1),
            new_participation(&campaign, 2, 4, 1),
        ];
        store
            .commit_participations(&campaign, campaign.gate_epoch, &batch)
            .await
            .unwrap();
        let raised = raised(store, campaign.id).await;
        assert_eq!(raised.gate_epoch, campaign.gate_epoch + 1);
        let snapshot = store.snapshot().await.unwrap();
        let committed = snapshot.committed(campaign.id).await.unwrap();
        snapshot.end().await.unwrap();
        assert_eq!(committed.mark.last_rank, 4);
        let mut seats = committed.seats;
        seats.sort_by_key(|seat| seat.user);
        let held: Vec<_> = seats
            .iter()
            .map(|seat| (seat.user.0, seat.units, seat.first))
            .collect();
        assert_eq!(
            held,
            [
                (1, 3, batch[0].participation.id),
                (2, 1, batch[2].participation.id)
            ]
        );
    }
}

#[tokio::test]
async fn the_schema_goes_down_and_up_again() {
    for test in stores().await {
        test.store.migrate_down().await.unwrap();
        test.store.migrate().await.unwrap();
        create(&test.store, campaign_of(Some(1))).await;
    }
}

#[tokio::test]
async fn concurrent_batches_never_oversell() {
    let test = mysql().await;
    let campaign = create(&test.store, campaign_of(Some(50))).await;
    let attempts = (1..=100_i64).map(|user| {
        let (store, campaign) = (test.store.clone(), campaign.clone());
        async move {
            let batch = [new_participation(&campaign, user, user.unsigned_abs(), 1)];
            store
                .commit_participations(&campaign, campaign.gate_epoch, &batch)
                .await
                .unwrap()
        }
    });
    let outcomes = futures_util::future::join_all(attempts).await;
    let committed = outcomes
        .iter()
        .filter(|outcome| {
            matches!(
                outcome,
                BatchOutcome::Committed {
                    held_from: None,
                    ..
                }
            )
        })
        .count();
    assert_eq!(committed, 50);
    assert_eq!(test.store.counts(campaign.id).await.unwrap().units, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_together_migrate_one_after_the_other() {
    let test = mysql().await;
    test.store.migrate_down().await.unwrap();
    let mut replicas = Vec::new();
    for _ in 0..4 {
        let config = patient(&test.url);
        let replica = Store::connect(&config, Clock::System).await.unwrap();
        replicas.push(tokio::spawn(async move { replica.migrate().await }));
    }
    for replica in replicas {
        replica.await.unwrap().unwrap();
    }
    assert!(test.store.campaigns(&all()).await.unwrap().is_empty());
}

fn all() -> CampaignFilter {
    CampaignFilter {
        states: States::Any,
        kind: None,
        after: None,
        limit: 10,
    }
}

/// Commits one event under a key that the whole campaign shares, by a replica's clock.
async fn commit_by(clock: Clock, url: &str, campaign: &Campaign, user: i64) {
    let replica = Store::connect(&StoreConfig::new(url), clock).await.unwrap();
    let mut new_participation = new_participation(campaign, user, user.unsigned_abs(), 1);
    let now = new_participation.participation.created_at;
    new_participation.event = OutboxEvent::about(
        &new_participation.participation,
        1,
        KeyChoice::Campaign,
        now,
    );
    let batch = [new_participation];
    let outcome = replica.commit_participations(campaign, campaign.gate_epoch, &batch);
    assert!(matches!(
        outcome.await.unwrap(),
        BatchOutcome::Committed {
            held_from: None,
            ..
        }
    ));
}

#[tokio::test]
async fn events_of_a_campaign_are_in_order_of_commit_without_a_gap_with_any_clocks() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        let ahead = Clock::manual(Clock::System.now() + TimeDelta::hours(1));
        for user in 1..=6 {
            let clock = if user % 2 == 1 {
                ahead.clone()
            } else {
                Clock::System
            };
            commit_by(clock, &test.url, &campaign, user).await;
        }
        let read = store
            .read_stream(StreamId::of_participations(campaign.id), 0, 100)
            .await
            .unwrap();
        let sequences: Vec<u64> = read.iter().map(LogEntry::sequence).collect();
        assert_eq!(sequences, [1, 2, 3, 4, 5, 6]);
        let ranks: Vec<_> = read
            .iter()
            .filter_map(|entry| match entry {
                LogEntry::Event(event) => event.rank,
                _ => None,
            })
            .collect();
        assert_eq!(ranks, [1, 2, 3, 4, 5, 6]);
    }
}

#[tokio::test]
async fn refusals_are_counted_by_the_minute_and_in_all() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        let other = create(store, campaign_of(None)).await;
        let minute = Clock::System.now().duration_trunc(TimeDelta::minutes(1));
        let row = |campaign: &Campaign, ago, reason, count| TallyRow {
            campaign: campaign.id,
            minute: minute.unwrap() - TimeDelta::minutes(ago),
            reason,
            count,
        };
        let first = [
            row(&campaign, 0, "SOLD_OUT", 3),
            row(&campaign, 1, "SOLD_OUT", 4),
            row(&campaign, 1, "ENDED", 1),
            row(&other, 1, "ENDED", 9),
        ];
        store.add_tallies(&first).await.unwrap();
        store.add_tallies(&first[1..3]).await.unwrap();
        store.add_tallies(&[]).await.unwrap();
        let all: Vec<(String, u64)> = store
            .refusals(campaign.id)
            .await
            .unwrap()
            .into_iter()
            .collect();
        assert_eq!(all, [("ENDED".to_owned(), 2), ("SOLD_OUT".to_owned(), 11)]);
        let db = Database::connect(&test.url).await.unwrap();
        let of = format!(
            "SELECT CAST(SUM(count) AS {}) FROM rejection_tally WHERE campaign_id = {}",
            if store.is_embedded() {
                "INTEGER"
            } else {
                "SIGNED"
            },
            campaign.id
        );
        let backend = db.get_database_backend();
        let sum = db
            .query_one_raw(Statement::from_string(backend, of))
            .await
            .unwrap();
        assert_eq!(sum.unwrap().try_get_by_index::<i64>(0).unwrap(), 13);
    }
}

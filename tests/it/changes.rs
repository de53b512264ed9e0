//! Reservations in the store, on both databases: how long they are held, several changes in one transaction,
//! and the batchers of the service.

mod payments;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use firstcome::domain::{
    Campaign, KeyChoice, Obstacle, Participation, ParticipationId, RequestedChange, Status,
    StreamId, to_stored_precision,
};
use firstcome::parts::gate::ScriptGate;
use firstcome::parts::store::{
    ChangeRequest, LogEntry, NewParticipation, ParkedState, PassedOver, Store, Targets,
};
use firstcome::runtime::batcher::BatcherConfig;
use firstcome::runtime::clock::Clock;
use firstcome::runtime::retry::Policy;
use firstcome::runtime::supervisor::Supervisor;
use firstcome::sale::catalogue::{Catalogue, CatalogueConfig};
use firstcome::sale::changes::{ChangeError, Changes, Payments, start_expiry};
use firstcome::sale::group_commit::{Dependencies, Writer, WriterConfig};
use firstcome::sale::payment::{Payability, Simulated};
use firstcome::sale::relay_hints::RelayHints;
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, TransactionTrait};

use crate::groups::{BatchOutcome, Groups};
use crate::store::new_participation;
use crate::support::{all, campaign_of, create, mysql, stores, until};

const CANCEL: RequestedChange = RequestedChange::Cancel {
    suspended_until: None,
};

/// A campaign with a price, and two units per user.
pub async fn paid(store: &Store) -> Campaign {
    let mut new = campaign_of(Some(100));
    (new.price, new.per_user_limit, new.max_quantity) = (Some(500), 2, 2);
    create(store, new).await
}

/// A reservation of two units that expires in this number of seconds.
pub async fn reserved(
    store: &Store,
    campaign: &Campaign,
    rank: u64,
    seconds: i64,
) -> Participation {
    let user = i64::try_from(rank).unwrap();
    let of = new_participation(campaign, user, rank, 2);
    let expires_at = to_stored_precision(Clock::System.now() + TimeDelta::seconds(seconds));
    let participation = Participation {
        status: Status::Reserved,
        amount: Some(1_000),
        expires_at: Some(expires_at),
        ..of.participation.clone()
    };
    let batch = [NewParticipation {
        participation: participation.clone(),
        ..of
    }];
    let epoch = campaign.gate_epoch;
    store
        .commit_participations(campaign, epoch, &batch)
        .await
        .unwrap();
    participation
}

/// Thirty reservations, with ranks from 1, that expire in a minute.
pub async fn thirty_reserved(store: &Store, campaign: &Campaign) -> Vec<Participation> {
    let mut orders = Vec::new();
    for rank in 1..=30 {
        orders.push(reserved(store, campaign, rank, 60).await);
    }
    orders
}

fn change_request(one: &Participation, requested: RequestedChange) -> ChangeRequest {
    ChangeRequest {
        id: one.id,
        requested,
        traceparent: None,
        by: None,
    }
}

fn pay(reference: &str) -> RequestedChange {
    RequestedChange::Confirm {
        reference: reference.to_owned(),
    }
}

#[tokio::test]
async fn the_first_of_two_changes_with_the_same_payment_is_granted() {
    for test in stores().await {
        let store = &test.store;
        let campaign = paid(store).await;
        let mut orders = Vec::new();
        for rank in 1..=3 {
            orders.push(reserved(store, &campaign, rank, 60).await);
        }
        let change_requests: Vec<ChangeRequest> = orders
            .iter()
            .map(|one| change_request(one, pay("one")))
            .collect();
        let key = KeyChoice::Participation;
        let changed = store
            .change_participations(campaign.id, &change_requests[..2], key)
            .await;
        let changed = changed.unwrap();
        assert_eq!(changed.changed.len(), 1);
        assert_eq!(changed.kept.len(), 1);
        assert_eq!(changed.kept[0].1, Obstacle::ReferenceUsed);
        let first = changed.changed[0].id;
        assert_eq!(store.paid_by("one").await.unwrap(), Some(first.0));
        // Nor is it in a later one.
        let changed = store
            .change_participations(campaign.id, &change_requests[2..], key)
            .await;
        assert_eq!(changed.unwrap().kept[0].1, Obstacle::ReferenceUsed);
        assert_eq!(store.paid_by("two").await.unwrap(), None);
    }
}

#[tokio::test]
async fn changes_in_one_transaction_are_decided_one_by_one() {
    for test in stores().await {
        let store = &test.store;
        let campaign = paid(store).await;
        let mut orders = Vec::new();
        for (rank, seconds) in (1..).zip([60, 60, 60, -1, 60, -1]) {
            orders.push(reserved(store, &campaign, rank, seconds).await);
        }
        let nobody = Participation {
            id: ParticipationId::generate(),
            ..orders[0].clone()
        };
        let change_requests = [
            change_request(&orders[0], pay("one")),
            change_request(&orders[1], pay("two")),
            change_request(&orders[2], CANCEL),
            change_request(&orders[3], RequestedChange::Expire),
            change_request(&orders[4], RequestedChange::Expire),
            change_request(&orders[5], pay("late")),
            change_request(&nobody, CANCEL),
        ];
        let key = KeyChoice::Participation;
        let changed = store
            .change_participations(campaign.id, &change_requests, key)
            .await
            .unwrap();

        let stand: Vec<(u64, Status)> = changed
            .changed
            .iter()
            .map(|one| (one.rank, one.status))
            .collect();
        let expected = [
            (1, Status::Confirmed),
            (2, Status::Confirmed),
            (3, Status::Cancelled),
            (4, Status::Expired),
        ];
        assert_eq!(stand, expected);
        let kept: Vec<(u64, Obstacle)> = changed
            .kept
            .iter()
            .map(|(one, obstacle)| (one.rank, *obstacle))
            .collect();
        assert_eq!(kept, [(5, Obstacle::Already), (6, Obstacle::Expired)]);
        assert_eq!(changed.events.len(), 4);
        let returned: Vec<(u64, ParticipationId)> = changed
            .returns
            .iter()
            .map(|one| (one.number, one.participation))
            .collect();
        assert_eq!(returned, [(1, orders[2].id), (2, orders[3].id)]);

        // Each response has the stored payment of its own participation.
        for (order, reference) in orders.iter().zip([Some("one"), Some("two"), None, None]) {
            let kept = store.participation(order.id).await.unwrap().unwrap();
            let told = changed.changed.iter().find(|one| one.id == order.id);
            assert_eq!(kept.payment_reference.as_deref(), reference);
            assert_eq!(told.map(|told| told.status), Some(kept.status));
        }
        let counters = store.campaign(campaign.id).await.unwrap().unwrap();
        assert_eq!(counters.committed_units, 8);
        let counts = store.counts(campaign.id).await.unwrap();
        assert_eq!((counts.participations, counts.events), (6, 10));

        // A repetition: nothing is done.
        let again = store
            .change_participations(campaign.id, &change_requests, key)
            .await
            .unwrap();
        assert!(again.changed.is_empty() && again.events.is_empty() && again.returns.is_empty());
        let counters = store.campaign(campaign.id).await.unwrap().unwrap();
        assert_eq!(counters.committed_units, 8);
    }
}

#[tokio::test]
async fn holds_have_their_full_length_with_any_clock_of_the_writer() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        for (off, rank) in [(-3_600, 1), (3_600, 2)] {
            let mut held = new_participation(&campaign, off, rank, 1);
            let wrong = held.participation.created_at + TimeDelta::seconds(off);
            held.participation.status = Status::Reserved;
            held.participation.created_at = wrong;
            held.participation.expires_at = Some(wrong + TimeDelta::seconds(120));
            held.event.created_at = wrong;
            held.hold_until = Some(wrong + TimeDelta::seconds(120));
            let (id, event) = (held.participation.id, held.event.clone());
            let batch = [held];
            let committed = store.commit_participations(&campaign, campaign.gate_epoch, &batch);
            let committed = committed.await.unwrap();
            let BatchOutcome::Committed {
                held_from: Some(from),
                first_sequence,
            } = committed
            else {
                panic!("{committed:?}");
            };
            let kept = store.participation(id).await.unwrap().unwrap();
            assert_eq!(kept.expires_at, Some(from + TimeDelta::seconds(120)));
            let off = (from - Clock::System.now()).num_seconds();
            assert!((-60..=10).contains(&off), "{off} s");
            let read = store.read_stream(
                StreamId::of_participations(campaign.id),
                first_sequence - 1,
                10,
            );
            let read = read.await.unwrap();
            assert!(
                matches!(&read[..], [LogEntry::Parked(row, ParkedState::Held)] if row.key == event.key),
                "{read:?}"
            );
            // It does not expire early.
            let buckets = [campaign.id.bucket()];
            let due = store
                .parked_due(
                    ParkedState::Held,
                    &buckets,
                    &Targets::ALL,
                    (10, Duration::from_secs(180)),
                )
                .await;
            assert_eq!(due.unwrap().parked, []);
        }
        assert_eq!(
            store
                .due_reservations(10, &PassedOver::default())
                .await
                .unwrap(),
            []
        );
    }
}

/// The service's changes of participations, on this store.
fn changes_on(store: &Store, supervisor: &Supervisor) -> Changes {
    changes_with(store, supervisor, Arc::new(Simulated))
}

/// The same with another payment provider.
pub fn changes_with(
    store: &Store,
    supervisor: &Supervisor,
    provider: Arc<dyn Payability>,
) -> Changes {
    let spawner = supervisor.spawner();
    let dependencies = Dependencies {
        store: store.clone(),
        gate: Arc::new(ScriptGate::in_process(Clock::System, "it").unwrap()),
        catalogue: Catalogue::new(store.clone(), CatalogueConfig::default()),
        hints: RelayHints::default(),
        clock: Clock::System,
        spawner: spawner.clone(),
        key_choice: KeyChoice::Participation,
    };
    let batchers = BatcherConfig {
        count: 1,
        capacity: 1_000,
        batch_max: 100,
        wait_max: Duration::from_secs(5),
        pace: Duration::ZERO,
    };
    let config = WriterConfig {
        batchers,
        transaction_max: Duration::from_secs(5),
        unleased_max: Duration::from_secs(5),
        contention: Policy::default(),
    };
    let writer = Writer::start(&spawner, dependencies, config);
    let payments = Payments {
        provider: Some(provider),
        timeout: Duration::from_secs(5),
    };
    Changes::new(store.clone(), writer, spawner, payments, None)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_refused_by_the_database_fails_alone() {
    let test = mysql().await;
    let store = &test.store;
    let campaign = paid(store).await;
    let orders = thirty_reserved(store, &campaign).await;
    let supervisor = Supervisor::new(Duration::from_secs(5));
    let changes = changes_on(store, &supervisor);
    let asked = orders.iter().map(|order| {
        // Longer than its column; no client can send it.
        let too_long = (order.rank == 7).then(|| "x".repeat(2_000));
        changes.cancel(order.clone(), too_long, None)
    });
    for (order, told) in orders.iter().zip(join_all(asked).await) {
        let is_cancelled = told.is_ok_and(|told| told.status == Status::Cancelled);
        assert_eq!(is_cancelled, order.rank != 7, "{order:?}");
    }
    let counters = store.campaign(campaign.id).await.unwrap().unwrap();
    assert_eq!(counters.committed_units, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_cancellations_return_the_units_once() {
    for test in stores().await {
        let store = &test.store;
        let campaign = paid(store).await;
        let order = reserved(store, &campaign, 1, 60).await;
        let supervisor = Supervisor::new(Duration::from_secs(5));
        let changes = changes_on(store, &supervisor);
        let asked = (0..40).map(|_| changes.cancel(order.clone(), None, None));
        let told = join_all(asked).await;
        let yes = told.iter().filter(|told| told.is_ok()).count();
        let later = |told: &&Result<_, ChangeError>| matches!(told, Err(ChangeError::Busy));
        assert_eq!(yes + told.iter().filter(later).count(), 40, "{told:?}");
        assert!(yes > 0);
        let counters = store.counters_of(campaign.id).await.unwrap().unwrap();
        assert_eq!((counters.committed_units, counters.returns), (0, 1));
    }
}

/// Whether a reservation has expired.
async fn has_expired(store: &Store, order: &Participation) -> bool {
    let now = store.participation(order.id).await.unwrap().unwrap();
    now.status == Status::Expired
}

/// More reservations than a page has, of one campaign, due for a minute.
async fn many_due(store: &Store, campaign: &Campaign, db: &DatabaseConnection) {
    let due = to_stored_precision(Clock::System.now());
    for batch in 0..10_u64 {
        let ranks = batch * 60 + 1..=(batch + 1) * 60;
        let reservation = |rank: u64| {
            let mut of = new_participation(campaign, i64::try_from(rank).unwrap(), rank, 1);
            of.participation.status = Status::Reserved;
            of.participation.expires_at = Some(due);
            of
        };
        let batch: Vec<NewParticipation> = ranks.map(reservation).collect();
        let committed = store.commit_participations(campaign, campaign.gate_epoch, &batch);
        committed.await.unwrap();
    }
    for table in ["participation", "reservation_due"] {
        let earlier = format!("UPDATE {table} SET expires_at = '2026-01-01 00:00:00'");
        db.execute_unprepared(&earlier).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reservations_of_a_locked_campaign_do_not_delay_the_expiry_of_others() {
    let test = mysql().await;
    let store = &test.store;
    let db = Database::connect(&test.url).await.unwrap();
    let mut stuck = campaign_of(None);
    stuck.price = Some(500);
    let stuck = create(store, stuck).await;
    many_due(store, &stuck, &db).await;
    let other = paid(store).await;
    let order = reserved(store, &other, 1, -1).await;
    let lock = db.begin().await.unwrap();
    let of = format!("SELECT id FROM campaign WHERE id = {} FOR UPDATE", stuck.id);
    lock.execute_unprepared(&of).await.unwrap();

    let supervisor = Supervisor::new(Duration::from_secs(5));
    let changes = changes_on(store, &supervisor);
    start_expiry(&supervisor.spawner(), &changes, Duration::from_millis(50));
    until("the other campaign's reservation expires", async || {
        has_expired(store, &order).await
    })
    .await;
    lock.rollback().await.unwrap();
    until("those of the locked one do, too", async || {
        let left = store.due_reservations(1, &PassedOver::default()).await;
        left.unwrap().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_reservation_is_set_aside_and_those_beside_it_expire() {
    for test in stores().await {
        let store = &test.store;
        let campaign = paid(store).await;
        let strange = reserved(store, &campaign, 1, -2).await;
        let order = reserved(store, &campaign, 2, -1).await;
        let db = Database::connect(&test.url).await.unwrap();
        let spoil = "UPDATE participation SET status = 'of_later_days' WHERE `rank` = 1";
        db.execute_unprepared(spoil).await.unwrap();
        let supervisor = Supervisor::new(Duration::from_secs(5));
        let changes = changes_on(store, &supervisor);
        start_expiry(&supervisor.spawner(), &changes, Duration::from_millis(50));
        until("the reservation beside it expires", async || {
            has_expired(store, &order).await
        })
        .await;
        assert_eq!(store.unreadable_rows(), 1);
        let told = changes.cancel(strange, None, None).await;
        assert!(matches!(told, Err(ChangeError::Unavailable)), "{told:?}");
    }
}

#[tokio::test]
async fn an_unreadable_campaign_is_set_aside_and_pages_of_the_others_are_whole() {
    for test in stores().await {
        let store = &test.store;
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(create(store, campaign_of(None)).await.id);
        }
        let db = Database::connect(&test.url).await.unwrap();
        let spoil = format!("UPDATE campaign SET kind = 'later' WHERE id = {}", ids[3]);
        db.execute_unprepared(&spoil).await.unwrap();
        let mut filter = all();
        filter.limit = 2;
        let mut seen = Vec::new();
        loop {
            let page = store.campaigns(&filter).await.unwrap();
            filter.after = page.last().map(|campaign| campaign.id);
            seen.extend(page.iter().map(|campaign| campaign.id));
            if page.len() < 2 {
                break;
            }
        }
        assert_eq!(seen, [ids[4], ids[2], ids[1], ids[0]]);
        assert_eq!(store.unreadable_rows(), 1);
    }
}

//! `verify`, on both databases: a correct database is clean, and every violation is found and named, in any
//! segment and under traffic.

mod live;
mod planted;
mod stored_sums;

use std::sync::Arc;
use std::time::Duration;

use firstcome::domain::{Campaign, CampaignId, State};
use firstcome::operate::verify::{Depth, Finding, Scope, Verification};
use firstcome::parts::gate::ScriptGate;
use firstcome::parts::store::{NewParticipation, ParkedState, SEGMENT_RANKS, Store};
use firstcome::runtime::clock::Clock;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};

use crate::store::new_participation;
use crate::support::{
    TestStore, acknowledge_upto, aged, campaign_of, create, move_to, park, sell, stores, unique,
};

const HOUR: Duration = Duration::from_secs(60 * 60);
/// Participations of a test's segment.
const FILLED: u64 = 4;
pub const FULL: Scope = Scope {
    campaign: None,
    depth: Depth::Full,
    order: firstcome::operate::verify::EventOrder::Required,
};

/// A verification with a gate that has no state.
fn without_gate(store: &Store) -> Verification {
    let gate = ScriptGate::in_process(Clock::System, &unique("t")).unwrap();
    Verification::new(store.clone(), Arc::new(gate))
}

pub async fn verify(store: &Store, scope: &Scope) -> Vec<Finding> {
    without_gate(store).run_within(scope).await.unwrap()
}

/// The finding about one campaign.
fn of(findings: &[Finding], id: CampaignId) -> &Finding {
    findings
        .iter()
        .find(|finding| finding.campaign_id == id.0)
        .unwrap_or_else(|| panic!("campaign {id} was verified"))
}

pub fn assert_clean(findings: &[Finding]) {
    for finding in findings {
        assert!(finding.breaches.is_empty(), "{finding:?}");
    }
}

/// An open campaign with participations in each of some segments, an hour old. All are published except one of
/// each segment, which waits for a retry.
struct Scene {
    campaign: Campaign,
    segments: Vec<Vec<NewParticipation>>,
}

impl Scene {
    async fn new(store: &Store, segments: u64) -> Self {
        let mut new = campaign_of(Some(1_000));
        (new.per_user_limit, new.max_quantity) = (2, 2);
        let mut scene = Self {
            campaign: create(store, new).await,
            segments: Vec::new(),
        };
        for number in 0..segments {
            let first = number * SEGMENT_RANKS + 1;
            scene.sell(store, first, FILLED).await;
        }
        scene
    }

    /// Sells a number of units at ranks from `first`, to users of the same numbers.
    async fn sell(&mut self, store: &Store, first: u64, count: u64) {
        let batch: Vec<NewParticipation> = (first..first + count)
            .map(|rank| old_participation(&self.campaign, rank))
            .collect();
        let batch = commit(store, &self.campaign, &batch).await;
        let waits = &batch[0].event;
        park(store, waits, ParkedState::Retry, Some(HOUR)).await;
        acknowledge_upto(store, &batch[batch.len() - 1].event).await;
        self.segments.push(batch);
    }
}

/// A participation that is an hour old.
fn old_participation(campaign: &Campaign, rank: u64) -> NewParticipation {
    let mut one = new_participation(campaign, i64::try_from(rank).unwrap(), rank, 1);
    one.participation.created_at -= HOUR;
    one.event = aged(one.event, HOUR);
    one
}

async fn commit(
    store: &Store,
    campaign: &Campaign,
    batch: &[NewParticipation],
) -> Vec<NewParticipation> {
    sell(store, campaign, batch.to_vec()).await
}

/// A connection for writes that the service never makes.
pub async fn vandal(test: &TestStore) -> DatabaseConnection {
    let mut options = sea_orm::ConnectOptions::new(test.url.as_str());
    options.max_connections(1);
    Database::connect(options).await.unwrap()
}

pub async fn run(db: &impl ConnectionTrait, sql: &str) {
    db.execute_unprepared(sql)
        .await
        .unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// An id in the notation of both databases.
fn hex(id: uuid::Uuid) -> String {
    format!("x'{}'", id.simple())
}

#[tokio::test]
async fn a_correct_database_is_clean_and_old_segments_are_read_once() {
    for test in stores().await {
        let store = &test.store;
        let sells = Scene::new(store, 5).await;
        let over = Scene::new(store, 2).await;
        move_to(store, &over.campaign, State::Closed).await;
        move_to(store, &over.campaign, State::Archived).await;
        let empty = create(store, campaign_of(None)).await;

        let first = verify(store, &Scope::default()).await;
        assert_clean(&first);
        let found = of(&first, sells.campaign.id);
        assert_eq!((found.participations, found.changes), (20, 20));
        assert_eq!((found.events, found.published, found.parked), (20, 15, 5));
        assert_eq!((found.segments_read, found.segments_kept), (5, 0));
        assert_eq!(of(&first, over.campaign.id).participations, 8);
        assert_eq!(of(&first, empty.id).segments_read, 1);

        // Of the six stored sums one is due; the last segment of the open campaign and the empty one are not
        // stored.
        let second = verify(store, &Scope::default()).await;
        assert_clean(&second);
        let sum = |figure: fn(&Finding) -> u64| second.iter().map(figure).sum::<u64>();
        assert_eq!(sum(|finding| finding.segments_kept), 5);
        assert_eq!(sum(|finding| finding.segments_read), 3);
        let again = of(&second, sells.campaign.id);
        assert_eq!((again.events, again.published), (20, 15));

        let full = verify(store, &FULL).await;
        assert!(full.iter().all(|finding| finding.segments_kept == 0));
        let one = Scope {
            campaign: Some(sells.campaign.id),
            ..Scope::default()
        };
        let one = verify(store, &one).await;
        assert_eq!(one.len(), 1);
        assert_eq!(one[0].campaign_id, sells.campaign.id.0);
    }
}

#[tokio::test]
async fn a_campaign_of_many_segments_is_read_one_segment_at_a_time() {
    for test in stores().await {
        let (store, db) = (&test.store, vandal(&test).await);
        let campaign = create(store, campaign_of(None)).await;
        let id = campaign.id;
        let ranks = 3 * SEGMENT_RANKS / 2;
        let bytes = if store.is_embedded() {
            "randomblob(16)"
        } else {
            run(&db, "SET SESSION cte_max_recursion_depth = 1000000").await;
            "RANDOM_BYTES(16)"
        };
        let ranked = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ranks}) SELECT {bytes}"
        );
        let old = "'2026-01-01 00:00:00'";
        for sql in [
            format!(
                "INSERT INTO participation (id, campaign_id, user_id, quantity, `rank`, ordinal, status, \
                 created_at, updated_at) {ranked}, {id}, i, 1, i, 1, 'confirmed', {old}, {old} FROM n"
            ),
            format!(
                "INSERT INTO outbox_event (id, sequence, campaign_id, aggregatetype, aggregateid, type, \
                 message_key, key_sequence, `rank`, payload, created_at) {ranked}, i, {id}, \
                 'participation', 'a', 't', 'k', 1, i, '{{}}', {old} FROM n"
            ),
            format!(
                "UPDATE campaign SET committed_units = {ranks}, participation_count = {ranks}, \
                 event_sequence = {ranks} WHERE id = {id}"
            ),
            format!(
                "REPLACE INTO outbox_position (campaign_id, published, campaign_published) VALUES ({id}, {ranks}, 2)"
            ),
        ] {
            run(&db, &sql).await;
        }
        let first = verify(store, &Scope::default()).await;
        assert_clean(&first);
        assert_eq!(first[0].participations, ranks);
        // The first half was read before the check.
        assert_eq!((first[0].segments_read, first[0].segments_kept), (1, 1));
        run(
            &db,
            "DELETE FROM outbox_event WHERE `rank` IN (3, 70000) AND key_sequence = 1",
        )
        .await;
        let found = verify(store, &FULL).await;
        let breaches = &found[0].breaches;
        assert_eq!(breaches.len(), 2, "{breaches:?}");
        let gap = format!(
            "I3 the campaign counts {ranks} events, its stream has {}",
            ranks - 2
        );
        assert_eq!(breaches[1], gap);
        let counts = format!("I3 {ranks} changes, {} events", ranks - 2);
        assert!(breaches[0].starts_with(&counts), "{breaches:?}");
        assert_eq!(
            verify(store, &Scope::default()).await[0].breaches,
            *breaches
        );
    }
}

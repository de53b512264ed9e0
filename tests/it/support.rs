//! Shared helpers of the tests: databases, prefixes and waiting.

use std::time::{Duration, Instant};

use firstcome::domain::{
    Campaign, CampaignId, EventId, Kind, OutboxEvent, State, StreamId, to_stored_precision,
};
use firstcome::parts::store::{
    CampaignChange, CampaignFilter, NewCampaign, NewParticipation, NewlyParked, ParkedState,
    ParkedVerdict, Raise, Raised, States, Store, StoreConfig, Turn,
};
use firstcome::runtime::clock::Clock;
use firstcome::runtime::supervisor::{Spawner, Supervisor};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tempfile::TempDir;

use crate::groups::{BatchOutcome, Groups};

/// A variable that `scripts/parts env` prints. A test of the real parts fails without them: it never
/// passes by not running.
pub fn real(variable: &str) -> String {
    std::env::vars()
        .find_map(|(name, value)| (name == variable).then_some(value))
        .unwrap_or_else(|| {
            panic!("{variable} is not set: run `make test`, or `eval \"$(scripts/parts env)\"`")
        })
}

/// A unique name: for schemas, prefixes and topics.
pub fn unique(stem: &str) -> String {
    format!("{stem}_{}", uuid::Uuid::now_v7().simple())
}

/// A separate, migrated store for a test; deleted when dropped (SQLite) or when the parts are reset (MySQL).
pub struct TestStore {
    pub store: Store,
    pub url: String,
    _folder: Option<TempDir>,
}

/// Both databases, for suites that run on each.
pub async fn stores() -> Vec<TestStore> {
    vec![sqlite().await, mysql().await]
}

pub async fn sqlite() -> TestStore {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}", folder.path().join("test.db").display());
    open(url, Some(folder)).await
}

pub async fn mysql() -> TestStore {
    let base = real("FIRSTCOME_DATABASE_URL");
    let schema = unique("t");
    let admin = Store::connect(&patient(&base), Clock::System)
        .await
        .unwrap();
    admin.create_schema(&schema).await.unwrap();
    let (server, _) = base.rsplit_once('/').unwrap();
    open(format!("{server}/{schema}"), None).await
}

/// Timeouts that a busy machine does not reach.
pub fn patient(url: &str) -> StoreConfig {
    StoreConfig {
        acquire_timeout: PATIENCE,
        response_timeout: PATIENCE,
        ..StoreConfig::new(url)
    }
}

async fn open(url: String, folder: Option<TempDir>) -> TestStore {
    let store = Store::connect(&patient(&url), Clock::System).await.unwrap();
    store.migrate().await.unwrap();
    TestStore {
        store,
        url,
        _folder: folder,
    }
}

/// A plain campaign with this stock.
pub fn campaign_of(total_stock: Option<u64>) -> NewCampaign {
    NewCampaign {
        name: "a campaign".to_owned(),
        description: String::new(),
        kind: Kind::General,
        state: State::Open,
        total_stock,
        per_user_limit: 1,
        max_quantity: 1,
        price: None,
        hold_seconds: 120,
        opens_at: None,
        closes_at: None,
        reward: None,
        cancellable: false,
    }
}

/// A campaign whose gate has an epoch, and whose own events are published: tests count those of participations.
pub async fn create(store: &Store, new: NewCampaign) -> Campaign {
    let id = store.create_campaign(new, None).await.unwrap().id;
    publish_own_events(store, id).await;
    raised(store, id).await
}

/// The events about the campaign itself are acknowledged.
pub async fn publish_own_events(store: &Store, id: CampaignId) {
    let stream = StreamId::of_campaign(id);
    let ends = store.stream_ends(&[id]).await.unwrap();
    let own = ends.iter().find(|ends| ends.stream == stream).unwrap();
    store.advance(&[(stream, own.end)]).await.unwrap();
}

/// The campaign with its gate's epoch raised.
pub async fn raised(store: &Store, id: CampaignId) -> Campaign {
    let at_once = Raise {
        turn: Turn::AtOnce,
        ..Raise::default()
    };
    match store.raise_epoch(id, &at_once).await.unwrap() {
        Raised::To(campaign) => *campaign,
        other => panic!("not raised: {other:?}"),
    }
}

/// All campaigns.
pub fn all() -> CampaignFilter {
    CampaignFilter {
        states: States::Any,
        kind: None,
        after: None,
        limit: 100,
    }
}

/// Moves a campaign from any state to this one.
pub async fn move_to(store: &Store, campaign: &Campaign, state: State) {
    let now = store.campaign(campaign.id).await.unwrap().unwrap();
    let change = CampaignChange {
        state: Some(state),
        ..CampaignChange::default()
    };
    let changed = store
        .change_campaign(now.id, now.version, &change, None)
        .await;
    assert!(changed.unwrap());
    publish_own_events(store, now.id).await;
}

/// Shifts the creation of the event this far into the past.
pub fn aged(event: OutboxEvent, age: Duration) -> OutboxEvent {
    let created_at = to_stored_precision(event.created_at - age);
    let seconds = u64::try_from(created_at.timestamp()).unwrap();
    let time = uuid::Timestamp::from_unix(
        uuid::NoContext,
        seconds,
        created_at.timestamp_subsec_nanos(),
    );
    OutboxEvent {
        id: EventId(uuid::Uuid::new_v7(time)),
        created_at,
        ..event
    }
}

/// Waits until `condition` holds; fails with `what` if it takes too long.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    until_nothing_left(async || (!condition().await).then_some(what)).await;
}

/// Waits until nothing is left; fails with the rest if it takes too long.
pub async fn until_nothing_left<T: std::fmt::Debug>(mut left: impl AsyncFnMut() -> Option<T>) {
    let began = Instant::now();
    while let Some(left) = left().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {left:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How long a wait for a condition may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether a transaction waits for a lock in this table of the test's schema.
pub async fn waits_for_a_lock(test: &TestStore, table: &str) -> bool {
    waiting_for_locks(test, table).await > 0
}

/// The number of transactions that wait for a lock in this table of the test's schema.
pub async fn waiting_for_locks(test: &TestStore, table: &str) -> i64 {
    let schema = test.url.rsplit('/').next().unwrap();
    let sql = format!(
        "SELECT COUNT(*) FROM performance_schema.data_locks WHERE OBJECT_SCHEMA = '{schema}' \
         AND OBJECT_NAME = '{table}' AND LOCK_STATUS = 'WAITING'"
    );
    let db = sea_orm::Database::connect(&test.url).await.unwrap();
    let row = db.query_one_raw(Statement::from_string(DbBackend::MySql, sql));
    let waiting: i64 = row.await.unwrap().unwrap().try_get_by_index(0).unwrap();
    db.close().await.unwrap();
    waiting
}

/// Runs work without supervision.
pub fn spawner() -> Spawner {
    Supervisor::new(Duration::from_secs(5)).spawner()
}

/// Commits participations of a campaign, each with its sequence in the stream.
pub async fn sell(
    store: &Store,
    campaign: &Campaign,
    mut batch: Vec<NewParticipation>,
) -> Vec<NewParticipation> {
    let committed = store.commit_participations(campaign, campaign.gate_epoch, &batch);
    let outcome = committed.await.unwrap();
    let BatchOutcome::Committed { first_sequence, .. } = outcome else {
        panic!("{outcome:?}");
    };
    for (new_participation, sequence) in batch.iter_mut().zip(first_sequence..) {
        new_participation.event.sequence = sequence;
    }
    batch
}

/// Every event of the stream up to this one is acknowledged.
pub async fn acknowledge_upto(store: &Store, last: &OutboxEvent) {
    let position = [(last.stream(), last.sequence)];
    store.advance(&position).await.unwrap();
}

/// Parks an event like a relay, `it`, that owns all buckets.
pub async fn park(
    store: &Store,
    event: &OutboxEvent,
    state: ParkedState,
    next_in: Option<Duration>,
) {
    let day = Duration::from_secs(24 * 60 * 60);
    let (leased, _) = store.hold_buckets("it", day).await.unwrap();
    let bucket = event.campaign_id.bucket();
    let epoch = leased.iter().find(|leased| leased.bucket == bucket);
    let verdict = ParkedVerdict {
        state,
        attempts: 1,
        error_class: "record",
        error: "refused".to_owned(),
        next_in,
    };
    let row = NewlyParked::of(event, verdict, epoch.unwrap().epoch);
    let parked = store.park("it", &[row]).await.unwrap();
    assert!(parked.contains(&event.place()));
}

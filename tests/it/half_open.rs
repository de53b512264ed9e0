//! Half-open sessions with MySQL: how long their locks last, and which statements wait for them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use firstcome::domain::BUCKETS;
use firstcome::parts::store::{Raise, Store, StoreConfig};
use firstcome::runtime::clock::Clock;
use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement, TransactionTrait,
};

use crate::proxy::{Mode, Proxy};
use crate::support::{campaign_of, create, mysql, patient, until};

const LEASE: Duration = Duration::from_secs(60);

/// The same URL with another address.
fn through(url: &str, address: SocketAddr) -> String {
    let (head, rest) = url.split_once('@').unwrap();
    let (_, schema) = rest.split_once('/').unwrap();
    format!("{head}@{address}/{schema}")
}

fn address(url: &str) -> SocketAddr {
    let (_, rest) = url.split_once('@').unwrap();
    rest.split_once('/').unwrap().0.parse().unwrap()
}

async fn count(db: &DatabaseConnection, select: &str) -> i64 {
    let statement = Statement::from_string(DbBackend::MySql, select);
    let row = db.query_one_raw(statement).await.unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

/// Row locks of sessions on this schema.
const HELD: &str = "SELECT COUNT(*) FROM performance_schema.data_locks \
     WHERE OBJECT_SCHEMA = DATABASE() AND LOCK_TYPE = 'RECORD' AND LOCK_STATUS = 'GRANTED'";

#[tokio::test(flavor = "multi_thread")]
async fn locks_of_a_half_open_connection_last_no_longer_than_its_session_may_be_silent() {
    let test = mysql().await;
    let campaign = create(&test.store, campaign_of(None)).await;
    let proxy = Proxy::start(address(&test.url)).await;
    let config = StoreConfig {
        session_timeout: Duration::from_secs(2),
        response_timeout: Duration::from_secs(1),
        ..StoreConfig::new(through(&test.url, proxy.address))
    };
    let gone = Store::connect(&config, Clock::System).await.unwrap();
    let db = Database::connect(&test.url).await.unwrap();
    // Whatever it does when the connection is cut, it soon is in the middle of a transaction.
    while count(&db, HELD).await == 0 {
        proxy.set(Mode::Pass);
        let (store, id) = (gone.clone(), campaign.id);
        let busy =
            tokio::spawn(
                async move { while store.raise_epoch(id, &Raise::default()).await.is_ok() {} },
            );
        let held = async { while count(&db, HELD).await == 0 {} };
        tokio::time::timeout(Duration::from_secs(10), held)
            .await
            .unwrap();
        proxy.set(Mode::Swallow);
        busy.await.unwrap();
    }
    let began = Instant::now();
    until("the campaign can be changed", async || {
        test.store
            .raise_epoch(campaign.id, &Raise::default())
            .await
            .is_ok()
    })
    .await;
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(20), "{waited:?}");
}

#[tokio::test]
async fn a_locked_lease_row_does_not_block_the_renewal_of_other_leases() {
    let test = mysql().await;
    let store = &test.store;
    store.hold_buckets("relay", LEASE).await.unwrap();
    let db = Database::connect(&test.url).await.unwrap();
    let lock = db.begin().await.unwrap();
    let row = "SELECT bucket FROM outbox_lease WHERE bucket = 7 FOR UPDATE";
    lock.execute_unprepared(row).await.unwrap();
    let (held, _) = store.hold_buckets("relay", LEASE).await.unwrap();
    assert_eq!(held.len(), usize::from(BUCKETS));
    let kept = held.iter().filter(|held| !held.is_renewed);
    let kept: Vec<u16> = kept.map(|held| held.bucket).collect();
    assert_eq!(kept, [7]);
    // Nor from being given back.
    let all: Vec<u16> = (0..BUCKETS).collect();
    let released = store.release_buckets("relay", &all).await.unwrap();
    assert_eq!(released, u64::from(BUCKETS) - 1);
    lock.rollback().await.unwrap();
    store.leave_buckets("relay").await.unwrap();
    assert!(store.relay_leases().await.unwrap().is_empty());
}

/// The pool uses its connections in turns. With few requests, each of them would otherwise be idle for too long.
#[tokio::test]
async fn few_requests_are_served_by_few_connections() {
    const POOL: usize = 4;
    let test = mysql().await;
    let config = StoreConfig {
        connections_max: 4,
        // Half of it is shorter than a turn of four requests, and longer than one of three.
        session_timeout: Duration::from_secs(4),
        ..patient(&test.url)
    };
    let pause = Duration::from_millis(600);
    let store = Store::connect(&config, Clock::System).await.unwrap();
    let connection = async || store.session_variable("pseudo_thread_id").await.unwrap();
    let mut known = BTreeSet::new();
    until("a full pool", async || {
        known.extend(futures_util::future::join_all((0..64).map(|_| connection())).await);
        known.len() >= POOL
    })
    .await;
    let mut known_in_a_row = 0;
    until("all requests use known connections", async || {
        tokio::time::sleep(pause).await;
        let is_new = known.insert(connection().await);
        known_in_a_row = if is_new { 0 } else { known_in_a_row + 1 };
        known_in_a_row > POOL
    })
    .await;
}

#[tokio::test]
async fn a_connection_is_replaced_at_the_end_of_its_lifetime() {
    let test = mysql().await;
    let config = StoreConfig {
        connection_lifetime: Duration::from_millis(200),
        ..patient(&test.url)
    };
    let store = Store::connect(&config, Clock::System).await.unwrap();
    let mut opened = BTreeSet::new();
    until("a third connection", async || {
        opened.insert(store.session_variable("pseudo_thread_id").await.unwrap());
        opened.len() == 3
    })
    .await;
}

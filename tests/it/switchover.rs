//! A planned switchover of MySQL: the old primary becomes read-only and keeps its connections; new connections
//! lead to the new primary. No process is restarted.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use firstcome::domain::{ParticipationId, UserId};
use firstcome::parts::store::{Raise, Store, StoreConfig, StoreError, UserKey};
use firstcome::runtime::clock::Clock;
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::proxy::Proxy;
use crate::service::process::{Service, body};
use crate::spare::Spare;
use crate::support::{campaign_of, create, unique, until};

/// A primary and its replica, and the address of the primary.
struct Pair {
    old: DatabaseConnection,
    new: DatabaseConnection,
    new_address: SocketAddr,
    proxy: Proxy,
    schema: String,
    _parts: [Spare; 2],
}

async fn server(stem: &str, id: u8) -> (Spare, DatabaseConnection, SocketAddr) {
    let id = format!("server-id={id}");
    let options = [
        &*id,
        "gtid-mode=ON",
        "enforce-gtid-consistency=ON",
        "skip-replica-start=ON",
    ];
    let part = Spare::up("mysql", stem, &options).await;
    let address: SocketAddr = part.address.parse().unwrap();
    let db = Database::connect(format!("mysql://root@{address}/firstcome"));
    (part, db.await.unwrap(), address)
}

async fn run(db: &DatabaseConnection, statements: &[&str]) {
    for statement in statements {
        db.execute_unprepared(statement).await.unwrap();
    }
}

async fn text(db: &DatabaseConnection, select: &str) -> String {
    let statement = Statement::from_string(DbBackend::MySql, select);
    let row = db.query_one_raw(statement).await.unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

impl Pair {
    async fn up(stem: &str) -> Self {
        let (old, new) = (format!("{stem}-old"), format!("{stem}-new"));
        let (first, second) = tokio::join!(server(&old, 1), server(&new, 2));
        let ((old_part, old, old_address), (new_part, new, new_address)) = (first, second);
        let source = format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {}, \
             SOURCE_USER = 'root', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1",
            old_address.port()
        );
        // Each server has created the same databases and users.
        let forget = "RESET BINARY LOGS AND GTIDS";
        run(&old, &[forget]).await;
        let follow = [
            forget,
            &source,
            "START REPLICA",
            "SET GLOBAL super_read_only = ON",
        ];
        run(&new, &follow).await;
        let schema = unique("sale");
        run(&old, &[&format!("CREATE DATABASE {schema}")]).await;
        Self {
            old,
            new,
            new_address,
            proxy: Proxy::start(old_address).await,
            schema,
            _parts: [old_part, new_part],
        }
    }

    fn url(&self) -> String {
        format!("mysql://root@{}/{}", self.proxy.address, self.schema)
    }

    /// The old primary accepts no writes any more.
    async fn demote(&self) {
        run(&self.old, &["SET GLOBAL super_read_only = ON"]).await;
    }

    /// The new primary has all data of the old one, and accepts writes; new connections go there.
    async fn promote(&self) {
        let all = text(&self.old, "SELECT @@global.gtid_executed").await;
        let wait = format!("SELECT CAST(WAIT_FOR_EXECUTED_GTID_SET('{all}', 30) AS CHAR)");
        assert_eq!(text(&self.new, &wait).await, "0");
        let writes = [
            "STOP REPLICA",
            "SET GLOBAL super_read_only = OFF",
            "SET GLOBAL read_only = OFF",
        ];
        run(&self.new, &writes).await;
        self.proxy.redirect(self.new_address);
    }
}

/// The participations of each user, and the users who got none because the database is read-only.
async fn take_part(
    service: &Service,
    campaign: i64,
    users: std::ops::Range<i64>,
) -> (Vec<String>, usize) {
    let requests = users.map(|user| service.take_part(campaign, user));
    let (mut ids, mut unavailable) = (Vec::new(), 0);
    for answer in join_all(requests).await {
        if answer.status() == 503 {
            unavailable += 1;
            continue;
        }
        assert_eq!(answer.status(), 201);
        let participation = body(answer).await;
        ids.push(
            participation["participationId"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    (ids, unavailable)
}

/// The reason why the store is not ready.
async fn complaint(service: &Service) -> Option<String> {
    let answer = service.get("/readyz?verbose").send().await.unwrap();
    if answer.status() != 503 {
        return None;
    }
    let told: Value = body(answer).await;
    let parts = told["parts"].as_array()?;
    let store = parts.iter().find(|part| part["name"] == "store")?;
    Some(store["reason"].as_str()?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn participations_continue_within_ten_seconds_of_a_switchover_without_a_restart() {
    let pair = Pair::up("serving").await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &[("FIRSTCOME_DATABASE_URL", pair.url())]).await;
    let sale = json!({ "name": "a sale", "kind": "general", "totalStock": 100_000 });
    let campaign = service.create(sale).await;
    // Concurrently, so that the pool is full.
    let (mut ids, unavailable) = take_part(&service, campaign, 1..201).await;
    assert_eq!(unavailable, 0);

    pair.demote().await;
    until("readiness says that it cannot write, and why", async || {
        let why = complaint(&service).await;
        why.is_some_and(|why| why.contains("super_read_only"))
    })
    .await;

    pair.promote().await;
    let promoted = Instant::now();
    for first in (1_000..).step_by(100) {
        let (more, unavailable) = take_part(&service, campaign, first..first + 100).await;
        if ids.len() == 200 && !more.is_empty() {
            println!("first yes after {:?}", promoted.elapsed());
        }
        ids.extend(more);
        if unavailable == 0 {
            break;
        }
        let waited = promoted.elapsed();
        assert!(waited < Duration::from_secs(10), "{}", service.log());
    }
    println!("no refusal after {:?}", promoted.elapsed());
    until("it is ready", async || {
        service.get("/readyz").send().await.unwrap().status() == 200
    })
    .await;
    let (more, unavailable) = take_part(&service, campaign, 1_000_000..1_000_100).await;
    assert_eq!(unavailable, 0, "{}", service.log());
    ids.extend(more);
    // Every accepted participation is in the new primary.
    let url = format!("mysql://root@{}/{}", pair.new_address, pair.schema);
    let config = StoreConfig::new(url);
    let store = Store::connect(&config, Clock::System).await.unwrap();
    for id in &ids {
        let id = ParticipationId(id.parse().unwrap());
        assert!(store.participation(id).await.unwrap().is_some(), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_a_read_only_server_is_final() {
    let pair = Pair::up("reading").await;
    let config = StoreConfig {
        connections_max: 2,
        ..StoreConfig::new(pair.url())
    };
    let store = Store::connect(&config, Clock::System).await.unwrap();
    store.migrate().await.unwrap();
    let campaign = create(&store, campaign_of(None)).await;
    store.check_writable().await.unwrap();
    let list = store.begin_allow_list(campaign.id, "somebody").await;
    let list = list.unwrap();
    assert!(store.add_to_allow_list(list, &[UserId(1)]).await.unwrap());
    let snapshot = store.snapshot().await.unwrap();
    snapshot.committed(campaign.id).await.unwrap();
    pair.demote().await;

    let read_only = |error: StoreError| {
        let names_it = |which: &String| which.contains("super_read_only");
        let is_told = matches!(&error, StoreError::ReadOnly(which) if names_it(which));
        assert!(is_told, "{error}");
    };
    read_only(snapshot.end_current().await.unwrap_err());
    let ids = [ParticipationId::generate()];
    read_only(store.committed_among(&ids).await.unwrap_err());
    read_only(store.participations(&ids).await.unwrap_err());
    read_only(store.current_campaign(campaign.id).await.unwrap_err());
    let of_campaign = store.current_gates_in_force(&[campaign.id]).await;
    read_only(of_campaign.unwrap_err());
    let key = UserKey {
        user: UserId(1),
        key: "a key".to_owned(),
    };
    let refused = store.keys_under_way(&[key]).await.unwrap_err();
    assert!(matches!(refused, StoreError::WriteRefused(_)), "{refused}");
    // A user who is on a list stays on it; the absence of a user may be outdated.
    let listed = store.allowed(list, &[UserId(1)]).await.unwrap();
    assert_eq!(listed, [UserId(1)]);
    let both = store.allowed(list, &[UserId(1), UserId(2)]).await;
    read_only(both.unwrap_err());
    let keys = store.waiting_keys(&[1, 2]);
    read_only(keys.await.unwrap_err());
    // None begins any more either, now that the store is in doubt.
    read_only(store.snapshot().await.err().unwrap());
    read_only(store.check_writable().await.unwrap_err());
    let refused = store
        .raise_epoch(campaign.id, &Raise::default())
        .await
        .unwrap_err();
    assert!(matches!(refused, StoreError::WriteRefused(_)), "{refused}");
    // Reads without a decision are still answered.
    let history = store.participations_of(UserId(1), None, 10).await.unwrap();
    assert!(history.is_empty());

    pair.promote().await;
    until("writes go to the new primary", async || {
        store
            .raise_epoch(campaign.id, &Raise::default())
            .await
            .is_ok()
    })
    .await;
    // A young connection to the old primary stays until one of its own writes is rejected.
    until("every connection leads to the new primary", async || {
        store.committed_among(&ids).await.is_ok()
    })
    .await;
}

/// The schema of the rewards exists, and the server would refuse to create it.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_consumers_starts_while_its_database_is_read_only() {
    let (_part, db, address) = server("starting", 1).await;
    let folder = TempDir::new().unwrap();
    let url = format!("mysql://root@{address}/firstcome");
    let settings = [
        ("FIRSTCOME_DATABASE_URL", url.clone()),
        ("FIRSTCOME_CONSUMERS_ENABLED", "points".to_owned()),
    ];
    let mut first = Service::start(&folder, &settings).await;
    assert!(first.stop().await.success(), "{}", first.log());
    run(&db, &["SET GLOBAL super_read_only = ON"]).await;
    let second = Service::start(&folder, &settings).await;
    until("readiness says that it cannot write, and why", async || {
        let why = complaint(&second).await;
        why.is_some_and(|why| why.contains("super_read_only"))
    })
    .await;
    let store = Store::connect(&StoreConfig::new(url), Clock::System).await;
    let refused = store.unwrap().create_schema(&unique("absent")).await;
    assert!(
        matches!(refused, Err(StoreError::WriteRefused(_))),
        "{refused:?}"
    );
}

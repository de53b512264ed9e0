//! A request is repeated with its key at another replica while its first attempt may still commit: it gets 503
//! or the first response, and never a rejection that a later commit contradicts.

mod primaries;

use std::time::Instant;

use chrono::{TimeDelta, Utc};
use firstcome::domain::CampaignId;
use firstcome::parts::gate::{Gate, GateState, ScriptGate};
use reqwest::Response;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::process::{ADMIN_TOKEN, Service, body};
use super::real::{Parts, parts};
use crate::gate::redis_config;
use crate::proxy::{COMMIT, Mode, Proxy};
use crate::support::{real, until};

/// Longer than a test.
const LEASE: &str = "30s";
const KEY: &str = "one-and-the-same";
/// The first locking statement of a participation's transaction.
const TAKE_UNITS: &[u8] = b"UPDATE campaign SET committed_units";
/// Two replicas. A proxy can hold back statements of the first one to MySQL.
struct Scene {
    parts: Parts,
    mysql: Proxy,
    first: Service,
    other: Service,
    gate: ScriptGate,
    campaign: i64,
    _folder: TempDir,
}

async fn proxy_of(parts: &mut Parts, name: &'static str) -> (Proxy, Vec<(&'static str, String)>) {
    let url = parts.settings.iter().find(|(known, _)| *known == name);
    let url = url.unwrap().1.clone();
    let (_, rest) = url.split_once("://").unwrap();
    let address = rest.rsplit('@').next().unwrap();
    let address = address.split('/').next().unwrap().to_owned();
    let proxy = Proxy::start(address.parse().unwrap()).await;
    let through = url.replace(&address, &proxy.address.to_string());
    let mut settings = parts.settings.clone();
    settings.retain(|(known, _)| *known != name);
    settings.push((name, through));
    (proxy, settings)
}

impl Scene {
    async fn new(lease: &str, campaign: impl FnOnce() -> Value) -> Self {
        Self::with(lease, "30s", campaign).await
    }

    async fn with(lease: &str, session_timeout: &str, campaign: impl FnOnce() -> Value) -> Self {
        let mut parts = parts().await;
        for (name, value) in [
            ("FIRSTCOME_GATE_LEASE", lease),
            ("FIRSTCOME_GATE_SWEEP_INTERVAL", "200ms"),
            ("FIRSTCOME_DATABASE_SESSION_TIMEOUT", session_timeout),
        ] {
            parts.settings.push((name, value.to_owned()));
        }
        let (mysql, through) = proxy_of(&mut parts, "FIRSTCOME_DATABASE_URL").await;
        let folder = TempDir::new().unwrap();
        let first = Service::start(&folder, &through).await;
        let other = Service::start(&folder, parts.settings()).await;
        let campaign = first.create(campaign()).await;
        Self::of(parts, mysql, (first, other), campaign, folder).await
    }

    async fn of(
        parts: Parts,
        mysql: Proxy,
        (first, other): (Service, Service),
        campaign: i64,
        folder: TempDir,
    ) -> Self {
        let gate = ScriptGate::redis(&redis_config(), &parts.prefix).await;
        Self {
            mysql,
            first,
            other,
            gate: gate.unwrap(),
            campaign,
            parts,
            _folder: folder,
        }
    }

    fn ask(&self, replica: &Service, user: i64, quantity: u32) -> JoinHandle<Response> {
        let request = replica
            .post(&format!("/api/campaigns/{}/participation", self.campaign))
            .header("Idempotency-Key", KEY)
            .json(&json!({ "userId": user, "quantity": quantity }));
        tokio::spawn(async move { request.send().await.unwrap() })
    }

    /// Begins the first attempt, which continues up to the statement that is held back.
    async fn begin(&self, mode: Mode, quantity: u32) -> JoinHandle<Response> {
        self.mysql.set(mode);
        let first = self.ask(&self.first, 1, quantity);
        until("it is admitted", async || self.state().await.leases == 1).await;
        until("it is held back", async || self.mysql.harm.total() > 0).await;
        first
    }

    async fn state(&self) -> GateState {
        let state = self.gate.inspect(CampaignId(self.campaign)).await;
        state.unwrap().unwrap()
    }

    /// The repeated request gets 503.
    async fn gets_503(&self, quantity: u32) {
        let answer = self.ask(&self.other, 1, quantity).await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        assert_eq!(status, 503, "{}", answer.text().await.unwrap());
        assert!(headers.contains_key("retry-after"));
    }

    /// When nothing is held back any more, the request gets the first response, which is an acceptance.
    async fn gets_its_participation(&self, first: JoinHandle<Response>, quantity: u32) {
        self.mysql.set(Mode::Pass);
        let first = first.await.unwrap().status().as_u16();
        assert!([201, 503].contains(&first), "{first}");
        let committed = async || {
            let id = CampaignId(self.campaign);
            let counts = self.parts.test.store.counts(id).await.unwrap();
            counts.participations == 1
        };
        until("it is committed", committed).await;
        let answer = self.ask(&self.other, 1, quantity).await.unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(body(answer).await["quantity"], quantity);
    }
}

fn campaign() -> Value {
    json!({ "name": "one key", "kind": "general", "totalStock": 1 })
}

/// A campaign that ends while the first attempt is in progress.
fn ending_in(seconds: i64) -> Value {
    let closes_at = Utc::now() + TimeDelta::seconds(seconds);
    json!({ "name": "one key", "kind": "general", "totalStock": 5, "closesAt": closes_at })
}

async fn until_over(scene: &Scene) {
    let id = CampaignId(scene.campaign);
    let campaign = scene.parts.test.store.campaign(id).await.unwrap().unwrap();
    let closes_at = campaign.closes_at.unwrap();
    until("it is over", async || Utc::now() > closes_at).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_a_stalled_commit_is_not_rejected_as_sold_out() {
    let scene = Scene::new(LEASE, campaign).await;
    let first = scene.begin(Mode::Hold(COMMIT), 1).await;
    let refused = body(scene.other.take_part(scene.campaign, 2).await).await;
    assert_eq!(refused["code"], "SOLD_OUT");
    scene.gets_503(1).await;
    scene.gets_its_participation(first, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_a_stalled_commit_is_not_rejected_as_limit_exceeded() {
    let several =
        json!({ "name": "one key", "kind": "general", "perUserLimit": 2, "maxQuantity": 2 });
    let scene = Scene::new(LEASE, || several).await;
    let first = scene.begin(Mode::Hold(COMMIT), 2).await;
    scene.gets_503(2).await;
    scene.gets_its_participation(first, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_a_stalled_commit_is_not_rejected_as_ended() {
    let scene = Scene::new(LEASE, || ending_in(5)).await;
    let first = scene.begin(Mode::Hold(COMMIT), 1).await;
    until_over(&scene).await;
    scene.gets_503(1).await;
    scene.gets_its_participation(first, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_waits_for_its_transaction_is_not_rejected_as_paused() {
    let scene = Scene::new(LEASE, campaign).await;
    let first = scene.begin(Mode::Hold(TAKE_UNITS), 1).await;
    let pause = format!("/campaigns/{}/pause", scene.campaign);
    let paused = scene.other.admin(&pause).send().await.unwrap();
    assert_eq!(paused.status(), 200);
    scene.gets_503(1).await;
    scene.mysql.set(Mode::Pass);
    first.await.unwrap();
    let open = format!("/campaigns/{}/open", scene.campaign);
    assert_eq!(scene.other.admin(&open).send().await.unwrap().status(), 200);
    until("it gets its participation", async || {
        scene.ask(&scene.other, 1, 1).await.unwrap().status() == 201
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_rejected_while_its_commit_outlives_its_lease() {
    let scene = Scene::new("6s", || ending_in(5)).await;
    let first = scene.begin(Mode::Hold(COMMIT), 1).await;
    until("its lease is swept", async || {
        scene.state().await.leases == 0
    })
    .await;
    until_over(&scene).await;
    scene.gets_503(1).await;
    scene.gets_its_participation(first, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_remembers_a_stalled_commit() {
    let scene = Scene::new(LEASE, || ending_in(5)).await;
    let first = scene.begin(Mode::Hold(COMMIT), 1).await;
    until_over(&scene).await;
    let forgotten = redis::Client::open(real("FIRSTCOME_REDIS_URL")).unwrap();
    let mut redis = forgotten.get_multiplexed_async_connection().await.unwrap();
    for name in ["state", "users", "leases"] {
        let key = format!(
            "{}:{{campaign:{}}}:{name}",
            scene.parts.prefix, scene.campaign
        );
        redis::AsyncTypedCommands::del(&mut redis, key)
            .await
            .unwrap();
    }
    scene.gets_503(1).await;
    scene.gets_its_participation(first, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_database_path_no_key_is_rejected_while_its_commit_is_stalled() {
    let mut parts = parts().await;
    // Longer than the transaction is held back.
    let patient = ("FIRSTCOME_DATABASE_SESSION_TIMEOUT", "30s".to_owned());
    parts.settings.push(patient);
    let (redis, settings) = proxy_of(&mut parts, "FIRSTCOME_REDIS_URL").await;
    parts.settings = settings;
    let (mysql, through) = proxy_of(&mut parts, "FIRSTCOME_DATABASE_URL").await;
    let folder = TempDir::new().unwrap();
    let first = Service::start(&folder, &through).await;
    let other = Service::start(&folder, parts.settings()).await;
    let campaign = first.create(ending_in(6)).await;
    redis.set(Mode::Refuse);
    redis.cut();
    // The first of each replica notices that the gate is away.
    for (replica, user) in [(&first, 11), (&other, 12)] {
        until("the database admits", async || {
            replica.take_part(campaign, user).await.status() != 503
        })
        .await;
    }
    let scene = Scene::of(parts, mysql, (first, other), campaign, folder).await;
    scene.mysql.set(Mode::Hold(COMMIT));
    let first = scene.ask(&scene.first, 1, 1);
    until("it is held back", async || scene.mysql.harm.total() > 0).await;
    until_over(&scene).await;
    scene.gets_503(1).await;
    scene.mysql.set(Mode::Pass);
    let first = first.await.unwrap().status().as_u16();
    assert!([201, 503].contains(&first), "{first}");
    until("it gets the first answer", async || {
        scene.ask(&scene.other, 1, 1).await.unwrap().status() == 201
    })
    .await;
}

/// The gate has rejected, the store was queried, and its answer is on the way.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_rejection_is_withheld_if_the_key_was_admitted_meanwhile() {
    let mut parts = parts().await;
    let patient = ("FIRSTCOME_REDIS_RESPONSE_TIMEOUT", "30s".to_owned());
    parts.settings.push(patient);
    let (redis, through) = proxy_of(&mut parts, "FIRSTCOME_REDIS_URL").await;
    let folder = TempDir::new().unwrap();
    let first = Service::start(&folder, &through).await;
    let other = Service::start(&folder, parts.settings()).await;
    let id = first.create(campaign()).await;
    assert_eq!(first.take_part(id, 2).await.status(), 201);
    let script = redis::Script::new(include_str!("../../../lua/refuse_key.lua"));
    let hash: &'static str = script.get_hash().to_owned().leak();
    redis.set(Mode::Hold(hash.as_bytes()));
    let ask = |replica: &Service| {
        let request = replica
            .post(&format!("/api/campaigns/{id}/participation"))
            .header("Idempotency-Key", KEY)
            .json(&json!({ "userId": 1, "quantity": 1 }));
        tokio::spawn(async move { request.send().await.unwrap() })
    };
    let late = ask(&first);
    until("its no is held back", async || redis.harm.total() > 0).await;
    let more = json!({ "totalStock": 2 });
    let url = format!("{}/api/admin/campaigns/{id}", other.base);
    let more = other.client.patch(url).bearer_auth(ADMIN_TOKEN).json(&more);
    assert_eq!(more.send().await.unwrap().status(), 200);
    until("the next attempt is committed", async || {
        ask(&other).await.unwrap().status() == 201
    })
    .await;
    redis.set(Mode::Pass);
    let answer = late.await.unwrap();
    let status = answer.status();
    let answer = body(answer).await;
    assert_eq!(
        (status.as_u16(), &answer["code"]),
        (503, &json!("REQUEST_OUTSTANDING"))
    );
    assert_eq!(ask(&first).await.unwrap().status(), 201);
}

/// Longer than any test waits.
const LONG_LEASE: &str = "10m";

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_dead_replica_is_decided_long_before_its_lease_ends() {
    dies_while_held_back(TAKE_UNITS, "30s").await;
}

/// The machine vanished without closing its connections: MySQL releases the campaign's row when the session has been idle
/// for too long.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_replica_whose_machine_vanished_is_decided_when_its_session_ends() {
    dies_while_held_back(COMMIT, "5s").await;
}

async fn dies_while_held_back(statement: &'static [u8], session_timeout: &str) {
    let mut scene = Scene::with(LONG_LEASE, session_timeout, campaign).await;
    let first = scene.begin(Mode::Hold(statement), 1).await;
    scene.gets_503(1).await;
    scene.first.kill();
    let killed = Instant::now();
    first.abort();
    until("its key gets the unit", async || {
        scene.ask(&scene.other, 1, 1).await.unwrap().status() == 201
    })
    .await;
    eprintln!("decided after {:?}", killed.elapsed());
    until("it is settled", async || scene.state().await.leases == 0).await;
    let state = scene.state().await;
    assert_eq!((state.units, state.users), (1, 1));
    assert!(scene.other.log().contains("stopped renewing"));
}

/// It was stopped before its transaction reached the database, and another user got the unit.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_replica_commits_nothing_after_its_leases_were_ended() {
    let scene = Scene::new(LONG_LEASE, campaign).await;
    let first = scene.begin(Mode::Hold(TAKE_UNITS), 1).await;
    signal(&scene.first, "STOP");
    until("another user gets the unit", async || {
        scene.other.take_part(scene.campaign, 2).await.status() == 201
    })
    .await;
    scene.mysql.set(Mode::Pass);
    signal(&scene.first, "CONT");
    let answer = first.await.unwrap();
    let status = answer.status();
    assert_eq!(
        (status.as_u16(), &body(answer).await["code"]),
        (409, &json!("SOLD_OUT"))
    );
    let id = CampaignId(scene.campaign);
    let counts = scene.parts.test.store.counts(id).await.unwrap();
    assert_eq!(counts.participations, 1);
    until("it is settled", async || scene.state().await.leases == 0).await;
    assert_eq!(scene.state().await.units, 1);
}

/// Its transactions are rejected once, and repeated under the leases that they have.
#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_a_replica_costs_the_others_nothing() {
    let mut scene = Scene::new(
        LONG_LEASE,
        || json!({ "name": "one key", "kind": "general", "totalStock": 2 }),
    )
    .await;
    // The first replica has a lease, and dies; then the other's transaction waits until its epoch is over.
    let first = scene.begin(Mode::Hold(TAKE_UNITS), 1).await;
    let (mysql, through) = proxy_of(&mut scene.parts, "FIRSTCOME_DATABASE_URL").await;
    let folder = TempDir::new().unwrap();
    let third = Service::start(&folder, &through).await;
    mysql.set(Mode::Hold(TAKE_UNITS));
    let waiting = {
        let request = third
            .post(&format!("/api/campaigns/{}/participation", scene.campaign))
            .json(&json!({ "userId": 2 }));
        tokio::spawn(async move { request.send().await.unwrap() })
    };
    until("both are admitted", async || {
        scene.state().await.leases == 2
    })
    .await;
    scene.first.kill();
    first.abort();
    let before = scene.state().await.epoch;
    until("the epoch is raised", async || {
        scene.state().await.epoch > before
    })
    .await;
    mysql.set(Mode::Pass);
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(body(answer).await["rank"], 2);
    until("it is settled", async || scene.state().await.leases == 0).await;
    assert_eq!(scene.state().await.units, 1);
}

fn signal(service: &Service, name: &str) {
    let pid = service.pid().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-s", name, &pid])
        .status();
    assert!(sent.unwrap().success());
}

//! The schedule of a replica: it opens and closes a campaign on time even if it learns of it shortly before,
//! and lists show the state by the clock.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use firstcome::domain::{CampaignId, Pricing, State, Timestamp, to_stored_precision};
use firstcome::operate::lifecycle::Lifecycle;
use firstcome::parts::gate::ScriptGate;
use firstcome::parts::pubsub::Nodes;
use firstcome::parts::store::{NewCampaign, Store};
use firstcome::runtime::clock::Clock;
use firstcome::runtime::supervisor::Supervisor;
use firstcome::sale::catalogue::{Catalogue, CatalogueConfig, share};
use firstcome::sale::reconcile::Reconciler;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service, body};
use super::real::{Parts, parts};
use crate::support::{campaign_of, real, spawner, until};

/// Largest delay of a step on a busy machine. Without a notification the schedule sleeps ten seconds.
const LATE_MAX: TimeDelta = TimeDelta::seconds(2);

fn from_now(seconds: i64) -> Timestamp {
    to_stored_precision(Clock::System.now() + TimeDelta::seconds(seconds))
}

/// The campaign gets into this state, in the database and by its clock, soon after `due` and not before.
async fn moves_on_time(store: &Store, id: i64, state: State, due: Timestamp) {
    until(state.as_str(), async || {
        let campaign = store.campaign(CampaignId(id)).await.unwrap().unwrap();
        campaign.state == state
    })
    .await;
    let late = store.time().await.unwrap() - due;
    assert!(
        late >= TimeDelta::zero() && late < LATE_MAX,
        "{}: {late} after the time",
        state.as_str()
    );
}

/// Waits until this number of replicas listens for changes.
async fn until_listening(prefix: &str, replicas: usize) {
    let client = redis::Client::open(real("FIRSTCOME_REDIS_URL")).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let channel = format!("{prefix}:campaign:changed");
    until("the replicas listen", async || {
        let mut command = redis::cmd("PUBSUB");
        let command = command.arg("NUMSUB").arg(&channel);
        let (_, listening): (String, usize) = command.query_async(&mut connection).await.unwrap();
        listening == replicas
    })
    .await;
}

/// Another replica, without a schedule.
fn replica_without_schedule(parts: &Parts, supervisor: &Supervisor) -> Lifecycle {
    let client = redis::Client::open(real("FIRSTCOME_REDIS_URL")).unwrap();
    let nodes: Nodes = Arc::new([client]);
    let store = parts.test.store.clone();
    let catalogue = Catalogue::new(store.clone(), CatalogueConfig::default());
    let catalogue = share(&supervisor.spawner(), nodes, &parts.prefix, catalogue);
    let gate = Arc::new(ScriptGate::in_process(Clock::System, "it").unwrap());
    let reconciler = Reconciler::new(store.clone(), gate, spawner());
    Lifecycle::new(store, catalogue, reconciler, Pricing::Sold)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_created_on_another_replica_opens_and_closes_on_time() {
    let (parts, folder) = (parts().await, TempDir::new().unwrap());
    let _service = Service::start(&folder, parts.settings()).await;
    let supervisor = Supervisor::new(Duration::from_secs(5));
    let other = replica_without_schedule(&parts, &supervisor);
    until_listening(&parts.prefix, 2).await;
    // The schedule has just run when the second one is created: without a notification it sleeps past its times.
    for _ in 0..2 {
        let (opens_at, closes_at) = (from_now(3), from_now(5));
        let new = NewCampaign {
            state: State::Scheduled,
            opens_at: Some(opens_at),
            closes_at: Some(closes_at),
            ..campaign_of(Some(5))
        };
        let id = other.create(new, None).await.unwrap().id.0;
        moves_on_time(&parts.test.store, id, State::Open, opens_at).await;
        moves_on_time(&parts.test.store, id, State::Closed, closes_at).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_whose_times_were_changed_opens_and_closes_on_time() {
    let (parts, folder) = (parts().await, TempDir::new().unwrap());
    let service = Service::start(&folder, parts.settings()).await;
    for _ in 0..2 {
        let new = json!({ "name": "later", "kind": "general", "opensAt": from_now(3_600) });
        let id = service.create(new).await;
        let (opens_at, closes_at) = (from_now(3), from_now(5));
        let change = service
            .client
            .patch(format!("{}/api/admin/campaigns/{id}", service.base))
            .bearer_auth(ADMIN_TOKEN)
            .json(&json!({ "opensAt": opens_at, "closesAt": closes_at }));
        assert_eq!(change.send().await.unwrap().status(), 200);
        moves_on_time(&parts.test.store, id, State::Open, opens_at).await;
        moves_on_time(&parts.test.store, id, State::Closed, closes_at).await;
    }
}

/// States of the campaign in the list of each state: none where it is not in the list.
async fn listed(service: &Service, id: i64) -> Vec<(&'static str, Value)> {
    let mut found = Vec::new();
    for state in ["scheduled", "open", "paused", "closed"] {
        let path = format!("/api/campaigns?state={state}");
        let list = body(service.get(&path).send().await.unwrap()).await;
        let items = list["items"].as_array().unwrap().iter();
        let items = items.filter(|item| item["id"] == id);
        found.extend(items.map(|item| (state, item["state"].clone())));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn campaigns_are_listed_by_their_state_at_the_current_time() {
    let (parts, folder) = (parts().await, TempDir::new().unwrap());
    let service = Service::start(&folder, parts.settings()).await;
    for (written, opens, closes, state) in [
        (State::Scheduled, -60, 3_600, "open"),
        (State::Scheduled, -60, -30, "closed"),
        (State::Scheduled, 60, 3_600, "scheduled"),
        (State::Open, -60, 3_600, "open"),
        (State::Open, -60, -30, "closed"),
        (State::Paused, -60, 3_600, "paused"),
        (State::Paused, -60, -30, "closed"),
    ] {
        // The schedule does not learn of it: only the database has the change.
        let new = NewCampaign {
            state: written,
            opens_at: Some(from_now(opens)),
            closes_at: Some(from_now(closes)),
            ..campaign_of(Some(5))
        };
        let id = parts
            .test
            .store
            .create_campaign(new, None)
            .await
            .unwrap()
            .id
            .0;
        // Lists are up to 0.1 s old.
        let mut found = Vec::new();
        until("the campaign is listed", async || {
            found = listed(&service, id).await;
            !found.is_empty()
        })
        .await;
        assert_eq!(found, [(state, json!(state))], "{written:?}");
    }
}

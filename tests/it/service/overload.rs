//! Overload: the service admits as many requests as it can answer, rejects the others at once, and loses no
//! accepted one.

use std::collections::BTreeSet;

use firstcome::domain::CampaignId;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use serde_json::json;
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service, body, command};
use super::real::parts;
use crate::support::until;

/// Slots of a batcher, and those of them that one campaign may use.
const PLACES: usize = 32;
const PLACES_OF_ONE: usize = 28;
const FLOOD: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_store_rejects_a_flood_at_once_and_other_requests_continue() {
    let mut parts = parts().await;
    parts.settings.extend([
        ("FIRSTCOME_WRITER_CAPACITY", PLACES.to_string()),
        ("FIRSTCOME_WRITER_BATCH_ROWS_MAX", "16".to_owned()),
    ]);
    let folder = TempDir::new().unwrap();
    let mut service = Service::start(&folder, parts.settings()).await;
    // Two consecutive ids have different batchers.
    let hot = service
        .create(json!({ "name": "hot", "kind": "general" }))
        .await;
    let quiet = service
        .create(json!({ "name": "quiet", "kind": "general" }))
        .await;
    for campaign in [hot, quiet] {
        assert_eq!(service.take_part(campaign, 1).await.status(), 201);
    }

    let elsewhere = Database::connect(&parts.test.url).await.unwrap();
    let stall = elsewhere.begin().await.unwrap();
    let lock = format!("SELECT id FROM campaign WHERE id = {hot} FOR UPDATE");
    stall.execute_unprepared(&lock).await.unwrap();

    let mut flood: FuturesUnordered<_> = (0..FLOOD)
        .map(|number| {
            let user = 1_000 + i64::try_from(number).unwrap();
            service.take_part(hot, user)
        })
        .collect();
    // The store is stalled until all of these are answered: none of them waited for it.
    for _ in 0..FLOOD - PLACES_OF_ONE {
        let refused = flood.next().await.unwrap();
        assert_eq!(refused.status(), 503);
        let wait = refused.headers().get("retry-after").unwrap();
        let wait: u32 = wait.to_str().unwrap().parse().unwrap();
        assert!((1..=3).contains(&wait));
        assert_eq!(body(refused).await["code"], "BUSY");
    }
    assert_eq!(service.get("/livez").send().await.unwrap().status(), 200);
    assert_eq!(service.get("/readyz").send().await.unwrap().status(), 200);
    assert_eq!(service.take_part(quiet, 2).await.status(), 201);
    stall.rollback().await.unwrap();

    let mut yes = BTreeSet::new();
    while let Some(answer) = flood.next().await {
        if answer.status() == 201 {
            let accepted = body(answer).await;
            yes.insert(accepted["participationId"].as_str().unwrap().to_owned());
        } else {
            assert_eq!(answer.status(), 503);
        }
    }
    drop(flood);
    assert!(!yes.is_empty(), "some had found a place");
    for id in &yes {
        let found = service.get(&format!("/api/participations/{id}"));
        let found = found.bearer_auth(ADMIN_TOKEN).send().await.unwrap();
        assert_eq!(found.status(), 200, "{id}");
    }
    let stored = parts.test.store.counts(CampaignId(hot)).await.unwrap();
    assert!(stored.participations <= 1 + PLACES_OF_ONE as u64);
    // All slots are free again: that many concurrent requests are accepted.
    until("the places are back", async || {
        service.take_part(hot, 2).await.status() != 503
    })
    .await;
    until("the invariants hold", async || {
        let mut verify = command(&folder, parts.settings());
        verify.arg("verify").output().unwrap().status.success()
    })
    .await;
    assert!(service.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_synchronous_path_has_no_extra_capacity() {
    let mut parts = parts().await;
    parts.settings.extend([
        ("FIRSTCOME_WRITER_CAPACITY", PLACES.to_string()),
        ("FIRSTCOME_WRITER_SYNC_CONCURRENCY_MAX", "2".to_owned()),
    ]);
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    let hot = service
        .create(json!({ "name": "hot", "kind": "general" }))
        .await;
    assert_eq!(service.take_part(hot, 1).await.status(), 201);
    let elsewhere = Database::connect(&parts.test.url).await.unwrap();
    let stall = elsewhere.begin().await.unwrap();
    let lock = format!("SELECT id FROM campaign WHERE id = {hot} FOR UPDATE");
    stall.execute_unprepared(&lock).await.unwrap();
    let path = format!("/api/campaigns/{hot}/participation-sync");
    let mut flood: FuturesUnordered<_> = (0..100)
        .map(|number| {
            let wish = json!({ "userId": 1_000 + number });
            service.post(&path).json(&wish).send()
        })
        .collect();
    for _ in 0..100 - PLACES_OF_ONE {
        let refused = flood.next().await.unwrap().unwrap();
        assert_eq!(body(refused).await["code"], "BUSY");
    }
    stall.rollback().await.unwrap();
    while let Some(answer) = flood.next().await {
        assert!([201, 503].contains(&answer.unwrap().status().as_u16()));
    }
}

/// The requests of disconnected clients continue, and take as long as before.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_hang_up_do_not_free_the_places_of_their_requests() {
    let mut parts = parts().await;
    parts
        .settings
        .push(("FIRSTCOME_WRITER_CAPACITY", PLACES.to_string()));
    let folder = TempDir::new().unwrap();
    let mut service = Service::start(&folder, parts.settings()).await;
    let hot = service
        .create(json!({ "name": "hot", "kind": "general" }))
        .await;
    assert_eq!(service.take_part(hot, 1).await.status(), 201);
    let elsewhere = Database::connect(&parts.test.url).await.unwrap();
    let stall = elsewhere.begin().await.unwrap();
    let lock = format!("SELECT id FROM campaign WHERE id = {hot} FOR UPDATE");
    stall.execute_unprepared(&lock).await.unwrap();
    let mut flood: FuturesUnordered<_> = (1_000..1_100)
        .map(|user| service.take_part(hot, user))
        .collect();
    for _ in 0..100 - PLACES_OF_ONE {
        let refused = flood.next().await.unwrap();
        assert_eq!(body(refused).await["code"], "BUSY");
    }
    // All slots are taken; their clients disconnect.
    drop(flood);
    until("the service has noticed", async || {
        let metrics = service.get("/metrics").send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let mut lines = metrics.lines();
        let in_flight = lines.find_map(|line| line.strip_prefix("http_requests_in_flight "));
        in_flight.unwrap().parse::<u32>().unwrap() <= 1
    })
    .await;
    assert_eq!(body(service.take_part(hot, 2).await).await["code"], "BUSY");
    stall.rollback().await.unwrap();
    until("the places are back", async || {
        service.take_part(hot, 2).await.status() != 503
    })
    .await;
    let stored = parts.test.store.counts(CampaignId(hot)).await.unwrap();
    assert_eq!(stored.participations, 2 + PLACES_OF_ONE as u64);
    assert!(service.stop().await.success());
}

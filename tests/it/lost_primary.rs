//! An unplanned failover of MySQL: the old primary answers nothing, is replaced, and may continue without knowing it.

use std::net::SocketAddr;
use std::time::Duration;

use firstcome::parts::store::{Store, StoreConfig};
use firstcome::runtime::clock::Clock;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::proxy::{COMMIT, Mode, Proxy};
use crate::service::process::{Service, body};
use crate::spare::Spare;
use crate::support::{campaign_of, create, mysql, until};
use crate::verify::{run, vandal};

const CONNECTIONS: u32 = 4;

async fn server(stem: &str) -> (Spare, Store, SocketAddr) {
    let part = Spare::up("mysql", stem, &[]).await;
    let address: SocketAddr = part.address.parse().unwrap();
    let config = StoreConfig::new(format!("mysql://root@{address}/firstcome"));
    let store = Store::connect(&config, Clock::System).await.unwrap();
    store.migrate().await.unwrap();
    (part, store, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_primary_that_continues_answers_no_read_for_a_decision() {
    let servers = tokio::join!(server("lost-old"), server("lost-new"));
    let ((old, at_old, old_address), (_new, at_new, new_address)) = servers;
    let before = create(&at_old, campaign_of(None)).await;
    create(&at_new, campaign_of(None)).await;
    let proxy = Proxy::start(old_address).await;
    let config = StoreConfig {
        connections_max: CONNECTIONS,
        response_timeout: Duration::from_millis(600),
        ..StoreConfig::new(format!("mysql://root@{}/firstcome", proxy.address))
    };
    let store = Store::connect(&config, Clock::System).await.unwrap();
    // Concurrently, so that the pool is full.
    for found in join_all((0..CONNECTIONS).map(|_| store.current_campaign(before.id))).await {
        assert!(found.unwrap().is_some());
    }

    old.pause().await;
    store.ping().await.unwrap_err();
    proxy.redirect(new_address);
    let after = create(&at_new, campaign_of(None)).await;
    old.resume().await;
    for _ in 0..=CONNECTIONS {
        // An error would be right, too: it decides nothing.
        if let Ok(found) = store.current_campaign(after.id).await {
            assert!(found.is_some(), "the old primary was asked");
        }
    }
    until("the new primary answers", async || {
        store.current_campaign(after.id).await.is_ok()
    })
    .await;
}

/// The state of the store, according to `/readyz`.
async fn store_state(service: &Service) -> (u16, String) {
    let answer = service.get("/readyz?verbose").send().await.unwrap();
    let status = answer.status().as_u16();
    let told: Value = body(answer).await;
    let parts = told["parts"].as_array().unwrap();
    let store = parts.iter().find(|part| part["name"] == "store").unwrap();
    (status, store["status"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_commits_get_no_answer_is_not_ready_until_one_does() {
    let test = mysql().await;
    let (head, schema) = test.url.rsplit_once('/').unwrap();
    let (user, address) = head.rsplit_once('@').unwrap();
    let proxy = Proxy::start(address.parse().unwrap()).await;
    let folder = TempDir::new().unwrap();
    let settings = [
        (
            "FIRSTCOME_DATABASE_URL",
            format!("{user}@{}/{schema}", proxy.address),
        ),
        ("FIRSTCOME_DATABASE_RESPONSE_TIMEOUT", "1s".to_owned()),
    ];
    let service = Service::start(&folder, &settings).await;
    let sale = json!({ "name": "a sale", "kind": "general" });
    let campaign = service.create(sale).await;
    assert_eq!(store_state(&service).await, (200, "up".to_owned()));
    // Proofs that were written before the database's clock was set back.
    let proofs: Vec<String> = (0..64)
        .map(|nth| format!("('proof.{nth}', 'another', UTC_TIMESTAMP(6) + INTERVAL 1 HOUR)"))
        .collect();
    let proofs = proofs.join(", ");
    let write = format!("REPLACE INTO duty (name, owner, expires_at) VALUES {proofs}");
    run(&vandal(&test).await, &write).await;

    // As if no replica acknowledged anything: reads are answered, COMMITs are not.
    proxy.set(Mode::Hold(COMMIT));
    assert_eq!(service.take_part(campaign, 1).await.status(), 503);
    until("it is not ready", async || {
        store_state(&service).await == (503, "down".to_owned())
    })
    .await;
    proxy.set(Mode::Pass);
    until("it is ready", async || store_state(&service).await.0 == 200).await;
    assert_eq!(service.take_part(campaign, 2).await.status(), 201);
}

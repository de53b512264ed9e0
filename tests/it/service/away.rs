//! Redis fails under traffic: the database admits participations, or they are refused with 503. Afterwards the
//! gate is rebuilt.

use std::collections::BTreeSet;
use std::time::Duration;

use firstcome::domain::CampaignId;
use firstcome::parts::gate::{Gate, ScriptGate};
use futures_util::StreamExt;
use reqwest::Response;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Service, body};
use super::real::{Parts, parts};
use crate::gate::redis_config;
use crate::proxy::{Mode, Proxy};
use crate::support::{real, until};

/// A service whose connection to Redis can be broken.
pub struct Scene {
    pub proxy: Proxy,
    folder: TempDir,
    pub service: Service,
}

pub async fn through_proxy(parts: &Parts, more: &[(&'static str, String)]) -> Scene {
    let url = real("FIRSTCOME_REDIS_URL");
    let address = url.trim_start_matches("redis://").trim_end_matches('/');
    let proxy = Proxy::start(address.parse().unwrap()).await;
    let mut settings = parts.settings.clone();
    let through = url.replace(address, &proxy.address.to_string());
    settings.retain(|(name, _)| *name != "FIRSTCOME_REDIS_URL");
    settings.push(("FIRSTCOME_REDIS_URL", through));
    settings.push(("FIRSTCOME_REDIS_RESPONSE_TIMEOUT", "400ms".to_owned()));
    settings.extend_from_slice(more);
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &settings).await;
    Scene {
        proxy,
        folder,
        service,
    }
}

/// All users in the range participate concurrently. Returns the accepted responses.
async fn ask_all(service: &Service, campaign: i64, users: std::ops::Range<i64>) -> Vec<Value> {
    let answers: Vec<Response> = futures_util::stream::iter(users)
        .map(|user| service.take_part(campaign, user))
        .buffer_unordered(16)
        .collect()
        .await;
    let mut yes = Vec::new();
    for answer in answers {
        if answer.status() == 201 {
            yes.push(body(answer).await);
        } else {
            let text = answer.text().await.unwrap();
            assert!(text.contains("SOLD_OUT"), "{text}");
        }
    }
    yes
}

async fn gate_of(parts: &Parts) -> ScriptGate {
    ScriptGate::redis(&redis_config(), &parts.prefix)
        .await
        .unwrap()
}

/// Waits until the gate has the units and the epoch of the store.
async fn until_in_step(parts: &Parts, campaign: i64) {
    let gate = gate_of(parts).await;
    until("the gate is in step", async || {
        let id = CampaignId(campaign);
        let stored = parts.test.store.campaign(id).await.unwrap().unwrap();
        gate.inspect(id).await.unwrap().is_some_and(|state| {
            (state.epoch, state.units) == (stored.gate_epoch, stored.committed_units)
        })
    })
    .await;
}

fn ranks(yes: &[Value]) -> BTreeSet<u64> {
    yes.iter()
        .map(|yes| yes["rank"].as_u64().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_admits_while_redis_hangs_and_the_gate_afterwards() {
    let parts = parts().await;
    let Scene {
        proxy,
        folder,
        service,
    } = through_proxy(&parts, &[]).await;
    let sale = json!({ "name": "away", "kind": "general", "totalStock": 120 });
    let campaign = service.create(sale).await;
    let mut yes = ask_all(&service, campaign, 1..41).await;
    proxy.set(Mode::Swallow);
    yes.extend(ask_all(&service, campaign, 41..81).await);
    assert_eq!(yes.len(), 80, "nobody was turned away");
    let again = body(service.take_part(campaign, 3).await).await;
    assert_eq!(again["code"], "ALREADY_PARTICIPATED");
    assert_eq!(service.get("/livez").send().await.unwrap().status(), 200);
    let ready = service.get("/readyz?verbose").send().await.unwrap();
    assert_eq!(ready.status(), 200, "the database admits");
    let ready = body(ready).await;
    assert_eq!(ready["status"], "degraded");
    assert_eq!(
        ready["parts"][1],
        json!({ "name": "gate", "status": "down" })
    );
    proxy.set(Mode::Pass);
    until_in_step(&parts, campaign).await;
    yes.extend(ask_all(&service, campaign, 81..160).await);
    assert_eq!(yes.len(), 120);
    assert_eq!(ranks(&yes).len(), 120, "no place in line was given twice");
    parts.is_sound(&folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_when_away_refuse_answers_503_at_once_and_loses_nothing() {
    let parts = parts().await;
    let refuse = [("FIRSTCOME_GATE_WHEN_AWAY", "refuse".to_owned())];
    let Scene {
        proxy,
        folder,
        service,
    } = through_proxy(&parts, &refuse).await;
    let sale = json!({ "name": "refused", "kind": "general", "totalStock": 30 });
    let campaign = service.create(sale).await;
    let yes = ask_all(&service, campaign, 1..11).await;
    proxy.set(Mode::Refuse);
    proxy.cut();
    for user in 11..20 {
        let answer = service.take_part(campaign, user).await;
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
        assert_eq!(body(answer).await["code"], "GATE_UNAVAILABLE");
    }
    let ready = service.get("/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 503, "nobody is admitted");
    let id = CampaignId(campaign);
    let stored = parts.test.store.campaign(id).await.unwrap().unwrap();
    assert_eq!(stored.committed_units, 10);
    proxy.set(Mode::Pass);
    until("the gate is back", async || {
        service.take_part(campaign, 20).await.status() == 201
    })
    .await;
    let rest = ask_all(&service, campaign, 21..60).await;
    assert_eq!(yes.len() + 1 + rest.len(), 30);
    parts.is_sound(&folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_with_and_without_redis_sell_each_unit_once() {
    let parts = parts().await;
    let Scene {
        proxy,
        folder,
        service: cut_off,
    } = through_proxy(&parts, &[]).await;
    let well_folder = TempDir::new().unwrap();
    let well = Service::start(&well_folder, parts.settings()).await;
    let sale = json!({ "name": "split", "kind": "general", "totalStock": 300 });
    let campaign = cut_off.create(sale).await;
    proxy.set(Mode::Refuse);
    proxy.cut();
    let (mut yes, others) = tokio::join!(
        ask_all(&cut_off, campaign, 1..101),
        ask_all(&well, campaign, 101..201),
    );
    yes.extend(others);
    assert_eq!(yes.len(), 200, "both went on");
    proxy.set(Mode::Pass);
    until_in_step(&parts, campaign).await;
    let (left, right) = tokio::join!(
        ask_all(&cut_off, campaign, 201..301),
        ask_all(&well, campaign, 301..401),
    );
    yes.extend(left.into_iter().chain(right));
    assert_eq!((yes.len(), ranks(&yes).len()), (300, 300));
    parts.is_sound(&folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_emptied_under_traffic_is_rebuilt() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, parts.settings()).await;
    let sale = json!({ "name": "forgotten", "kind": "general", "totalStock": 400 });
    let campaign = service.create(sale).await;
    let forgetful = async {
        // Each outage may cost a request two of its eight attempts.
        for _ in 0..3 {
            crate::gate::forget(&parts.prefix).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (yes, ()) = tokio::join!(ask_all(&service, campaign, 1..601), forgetful);
    assert_eq!((yes.len(), ranks(&yes).len()), (400, 400));
    until_in_step(&parts, campaign).await;
    parts.is_sound(&folder);
}

//! Two replicas on a Redis Cluster of three masters: campaigns are spread over the masters, one of which fails
//! and recovers under traffic.

use std::collections::{BTreeMap, BTreeSet};

use firstcome::domain::CampaignId;
use firstcome::parts::gate::{Gate, RedisConfig, ScriptGate};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Service, body};
use super::real::{Parts, parts};
use crate::cluster::Cluster;
use crate::gate::redis_config;
use crate::support::until;

/// The units of each campaign, and of the one that most ask for.
const SMALL: i64 = 40;
const HOT: i64 = 400;

async fn on(cluster: &Cluster) -> Parts {
    let mut parts = parts().await;
    let settings = &mut parts.settings;
    settings.retain(|(name, _)| *name != "FIRSTCOME_REDIS_URL");
    settings.push(("FIRSTCOME_REDIS_URL", cluster.url()));
    settings.push(("FIRSTCOME_REDIS_RESPONSE_TIMEOUT", "1s".to_owned()));
    parts
}

async fn gate_of(cluster: &Cluster, parts: &Parts) -> ScriptGate {
    let config = RedisConfig {
        url: Some(cluster.url().into()),
        cluster: true,
        ..redis_config()
    };
    ScriptGate::redis(&config, &parts.prefix).await.unwrap()
}

/// Creates campaigns until each master has one.
async fn spread(service: &Service, cluster: &Cluster, parts: &Parts) -> BTreeMap<usize, i64> {
    let mut campaigns = BTreeMap::new();
    while campaigns.len() < cluster.masters.len() {
        let sale = json!({ "name": "spread", "kind": "general", "totalStock": SMALL });
        let campaign = service.create(sale).await;
        let key = format!("{}:{{campaign:{campaign}}}:state", parts.prefix);
        campaigns.insert(cluster.master_of(&key).await, campaign);
    }
    campaigns
}

/// All users participate, at alternating replicas, and retry after a 503. Returns the accepted users.
async fn rush(services: &[Service; 2], campaign: i64, users: std::ops::Range<i64>) -> Vec<Value> {
    let ask = |user: i64| async move {
        let service = &services[usize::try_from(user).unwrap() % 2];
        loop {
            let answer = service.take_part(campaign, user).await;
            match answer.status().as_u16() {
                503 => {}
                201 => return Some(body(answer).await),
                _ => {
                    let problem = body(answer).await;
                    let code = problem["code"].as_str().unwrap();
                    assert!(
                        ["SOLD_OUT", "ALREADY_PARTICIPATED"].contains(&code),
                        "{problem}"
                    );
                    return None;
                }
            }
        }
    };
    let answers = futures_util::stream::iter(users)
        .map(ask)
        .buffer_unordered(16);
    answers.filter_map(std::future::ready).collect().await
}

async fn until_in_step(gate: &ScriptGate, parts: &Parts, campaign: i64) {
    until("the gate is in step", async || {
        let id = CampaignId(campaign);
        let stored = parts.test.store.campaign(id).await.unwrap().unwrap();
        let state = gate.inspect(id).await.ok().flatten();
        state.is_some_and(|state| {
            (state.epoch, state.units) == (stored.gate_epoch, stored.committed_units)
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn campaigns_are_spread_over_a_cluster_and_survive_the_loss_of_a_master() {
    let cluster = Cluster::up("broken").await;
    let parts = on(&cluster).await;
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let services = [
        Service::start(&folders[0], parts.settings()).await,
        Service::start(&folders[1], parts.settings()).await,
    ];
    let campaigns = spread(&services[0], &cluster, &parts).await;
    let hot = json!({ "name": "hot", "kind": "general", "totalStock": HOT });
    let hot = services[0].create(hot).await;
    let key = format!("{}:{{campaign:{hot}}}:state", parts.prefix);
    let doomed = &cluster.masters[cluster.master_of(&key).await];

    let mut yes = rush(&services, hot, 1..101).await;
    for campaign in campaigns.values() {
        assert_eq!(rush(&services, *campaign, 1..21).await.len(), 20);
    }
    doomed.kill().await;
    yes.extend(rush(&services, hot, 101..201).await);
    assert_eq!(yes.len(), 200, "nobody was turned away");
    for campaign in campaigns.values() {
        assert_eq!(rush(&services, *campaign, 21..31).await.len(), 10);
    }
    doomed.start().await;
    cluster.until_whole().await;
    let gate = gate_of(&cluster, &parts).await;
    until_in_step(&gate, &parts, hot).await;
    yes.extend(rush(&services, hot, 201..600).await);
    assert_eq!(i64::try_from(yes.len()).unwrap(), HOT);
    let ranks: BTreeSet<u64> = yes.iter().filter_map(|yes| yes["rank"].as_u64()).collect();
    assert_eq!(ranks.len(), yes.len(), "no place in line was given twice");
    for campaign in campaigns.values() {
        until_in_step(&gate, &parts, *campaign).await;
        let late = rush(&services, *campaign, 31..100).await;
        assert_eq!(i64::try_from(late.len()).unwrap(), SMALL - 30);
    }
    parts.until_sound(&folders[0]).await;
}

//! The local copies of campaigns in replicas: each is fetched once, and dropped by all replicas when the
//! campaign changes.

use std::sync::Arc;
use std::time::Duration;

use firstcome::parts::pubsub::Nodes;
use firstcome::parts::store::CampaignChange;
use firstcome::runtime::supervisor::Supervisor;
use firstcome::sale::catalogue::{Catalogue, CatalogueConfig, share};
use tokio_util::sync::CancellationToken;

use crate::groups::{BatchOutcome, Groups};
use crate::store::new_participation;
use crate::support::{all, campaign_of, create, mysql, real, sqlite, unique, until};

/// A maximum age that no entry reaches.
fn lasting() -> CatalogueConfig {
    CatalogueConfig {
        age_max: Duration::from_secs(3_600),
        ..CatalogueConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_on_one_replica_is_seen_on_the_others() {
    let test = mysql().await;
    let client = redis::Client::open(real("FIRSTCOME_REDIS_URL")).unwrap();
    let nodes: Nodes = Arc::new([client]);
    let supervisor = Supervisor::new(Duration::from_secs(5));
    let prefix = unique("it");
    let replica = || {
        let catalogue = Catalogue::new(test.store.clone(), lasting());
        share(
            &supervisor.spawner(),
            Arc::clone(&nodes),
            &prefix,
            catalogue,
        )
    };
    let (here, there) = (replica(), replica());
    let mut campaign = create(&test.store, campaign_of(Some(5))).await;
    for nth in 1..=20 {
        let known = there.get(campaign.id).await.unwrap().unwrap();
        assert_eq!(known.name, campaign.name);
        there.mark_sold_out(campaign.id).await;
        let change = CampaignChange {
            name: Some(format!("name {nth}")),
            ..CampaignChange::default()
        };
        let changed = test
            .store
            .change_campaign(campaign.id, campaign.version, &change, None);
        assert!(changed.await.unwrap());
        campaign = test.store.campaign(campaign.id).await.unwrap().unwrap();
        // A notification that is published before the other replica listens is lost.
        until("the other replica knows", async || {
            here.invalidate(campaign.id).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            let known = there.get(campaign.id).await.unwrap().unwrap();
            known.name == campaign.name && !there.is_sold_out(campaign.id)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_cache_misses_of_a_campaign_fetch_it_once() {
    let test = sqlite().await;
    let catalogue = Catalogue::new(test.store.clone(), lasting());
    let campaign = create(&test.store, campaign_of(Some(5))).await;
    let gets = (0..200).map(|_| {
        let catalogue = catalogue.clone();
        tokio::spawn(async move { catalogue.get(campaign.id).await.unwrap().unwrap() })
    });
    let gets = futures_util::future::join_all(gets).await;
    let first = Arc::clone(gets[0].as_ref().unwrap());
    for got in gets {
        assert!(Arc::ptr_eq(&first, &got.unwrap()), "one copy for all");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_see_earlier_commits_of_the_same_replica() {
    let test = sqlite().await;
    let catalogue = Catalogue::new(test.store.clone(), lasting());
    let campaign = create(&test.store, campaign_of(Some(500))).await;
    let stop = CancellationToken::new();
    // There is always a concurrent read, often during a commit.
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (catalogue, stop) = (catalogue.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.is_cancelled() {
                    catalogue.view(campaign.id).await.unwrap();
                    catalogue.page(all()).await.unwrap();
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for nth in 1..=200 {
        let batch = [new_participation(&campaign, nth, nth.unsigned_abs(), 1)];
        let commit = test
            .store
            .commit_participations(&campaign, campaign.gate_epoch, &batch);
        assert!(matches!(
            commit.await.unwrap(),
            BatchOutcome::Committed {
                held_from: None,
                ..
            }
        ));
        catalogue.note_commit(campaign.id);
        let seen = catalogue.view(campaign.id).await.unwrap().unwrap();
        assert_eq!(seen.committed_units, nth.unsigned_abs());
        let page = catalogue.page(all()).await.unwrap();
        assert_eq!(page[0].committed_units, nth.unsigned_abs());
    }
    stop.cancel();
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_live_views_share_one_read() {
    let test = sqlite().await;
    let catalogue = Catalogue::new(test.store.clone(), lasting());
    let campaign = create(&test.store, campaign_of(Some(5))).await;
    let looks = (0..200).map(|_| {
        let catalogue = catalogue.clone();
        async move { catalogue.view(campaign.id).await.unwrap().unwrap() }
    });
    let looks = futures_util::future::join_all(looks).await;
    let mut copies: Vec<_> = looks.iter().map(Arc::as_ptr).collect();
    copies.dedup();
    // Two, in case the machine pauses for a tenth of a second between them.
    assert!(copies.len() <= 2, "{} readings", copies.len());
}

//! The relay while real Kafka fails and recovers.

mod grants;
mod partition;
mod producer;
mod quotas;
mod scene;
pub mod spare;
mod topics;

use scene::{Scene, failures, waves};
use spare::Spare;

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_broker_charges_no_attempt() {
    let broker = spare::mine().await;
    fails_and_recovers(&broker, broker.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_and_restarted_broker_charges_no_attempt() {
    let broker = spare::mine().await;
    fails_and_recovers(&broker, broker.kill()).await;
}

async fn fails_and_recovers(broker: &Spare, goes: impl Future<Output = ()>) {
    let scene = Scene::on(&broker.address).await;
    let waves = waves(30, 4);
    let running = scene.at_work(&waves[0]).await;
    // Rows are committed and in flight during the failure.
    tokio::join!(scene.commit(&waves[1]), goes);
    scene.commit(&waves[2]).await;
    scene.held_back(&running).await;
    let waiting = scene.waiting(&running).await;
    assert!(waiting >= 30, "{waiting} rows of 30 committed since wait");
    assert!(failures(&running, "away") > 0);
    broker.start().await;
    scene.commit(&waves[3]).await;
    scene.ends_well(running, &waves.concat()).await;
}

/// A broker that has a record and does not answer cannot be distinguished from one that never received it.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_broker_loses_nothing_and_keeps_the_order() {
    let broker = spare::mine().await;
    let scene = Scene::on(&broker.address).await;
    let waves = waves(30, 4);
    let running = scene.at_work(&waves[0]).await;
    tokio::join!(scene.commit(&waves[1]), broker.pause());
    scene.commit(&waves[2]).await;
    // It opens once a record has waited for longer than the producer's timeout.
    scene.held_back(&running).await;
    let failed = failures(&running, "away") + failures(&running, "possibly_delivered");
    assert!(failed > 0);
    let counts = scene.bench.counts().await;
    assert_eq!(counts.dead, 0);
    assert!(counts.pending + counts.retry + counts.blocked >= 30);
    broker.resume().await;
    scene.commit(&waves[3]).await;
    scene.ends_well(running, &waves.concat()).await;
}

//! Parts that fail and recover.

use std::net::ToSocketAddrs;

use firstcome::domain::{Consumer, Reward, Status};
use firstcome::events::consumers::Parts;
use firstcome::parts::store::{Rewards, StoreConfig};
use firstcome::runtime::clock::Clock;

use super::scene::{Running, Scene, change};
use crate::proxy::{Mode, Proxy};
use crate::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_rewards_database_loses_nothing_and_keeps_the_order() {
    let scene = Scene::new().await;
    let campaign = scene.campaign(Some(Reward::Points(10))).await;
    let made = scene.participations(campaign, 4_000, 100).await;
    let (server, schema) = scene.rewards_url.rsplit_once('/').unwrap();
    let (login, place) = server.rsplit_once('@').unwrap();
    let target = place.to_socket_addrs().unwrap().next().unwrap();
    let proxy = Proxy::start(target).await;
    let config = StoreConfig {
        response_timeout: std::time::Duration::from_millis(500),
        acquire_timeout: std::time::Duration::from_millis(500),
        ..StoreConfig::new(format!("{login}@{}/{schema}", proxy.address))
    };
    let rewards = Rewards::connect(&config, Clock::System).await.unwrap();
    let parts = Parts {
        rewards,
        ..scene.parts()
    };
    let running = Running::start(Consumer::Points, &parts, &scene.prefix);
    scene.confirm(&made[..1_000]).await;
    scene.reaches("SELECT COUNT(*) FROM ledger", 1_000).await;

    let retries = r#"consumer_retries_total{consumer="points"}"#;
    for mode in [Mode::Refuse, Mode::Swallow, Mode::LoseReplies] {
        let before = running.metric(retries);
        proxy.set(mode);
        proxy.cut();
        // More records than the queues hold, so that partitions are paused; and changes whose order matters.
        let third = match mode {
            Mode::Refuse => &made[1_000..2_000],
            Mode::Swallow => &made[2_000..3_000],
            _ => &made[3_000..],
        };
        scene.confirm(third).await;
        let ended: Vec<_> = third
            .iter()
            .map(|one| change(one, Status::Cancelled, 2))
            .collect();
        scene.publish(&ended).await;
        until("attempts have failed", async || {
            running.metric(retries) > before + 5
        })
        .await;
        proxy.set(Mode::Pass);
        let ledger = match mode {
            Mode::Refuse => 3_000,
            Mode::Swallow => 5_000,
            _ => 7_000,
        };
        scene.reaches("SELECT COUNT(*) FROM ledger", ledger).await;
    }
    assert!(proxy.harm.total() > 0);
    until("all is read", async || {
        scene.committed(Consumer::Points).await == 7_000
    })
    .await;
    let owed: i64 = made[..1_000]
        .iter()
        .map(|one| i64::from(one.quantity) * 10)
        .sum();
    let sum = "SELECT CAST(SUM(points) AS SIGNED) FROM balance";
    assert_eq!(scene.number(sum).await, owed);
    let late = r#"consumer_records_total{consumer="points",outcome="late"}"#;
    assert_eq!(running.metric(late), 0, "none overtook another");
    scene.marked(4_000).await;
    running.stop().await;
}

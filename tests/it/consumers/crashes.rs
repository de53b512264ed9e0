//! Consumer processes that are killed, join, leave, and read everything again.

use firstcome::domain::{Consumer, Reward};
use tempfile::TempDir;

use super::scene::{Scene, coupon_terms};
use crate::service::process::Service;
use crate::support::until;

const INBOX: &str = "SELECT COUNT(*) FROM inbox";

#[tokio::test(flavor = "multi_thread")]
async fn each_participation_is_rewarded_once_under_any_fault_of_the_consumers() {
    let scene = Scene::new().await;
    let points = scene.campaign(Some(Reward::Points(10))).await;
    let coupons = scene.campaign(Some(Reward::Coupon(coupon_terms()))).await;
    let for_points = scene.participations(points, 20_000, 500).await;
    let for_coupons = scene.participations(coupons, 10_000, 500).await;
    scene.confirm(&for_points).await;
    scene.confirm(&for_coupons).await;
    let folder = TempDir::new().unwrap();
    let settings = scene.settings();

    // Two consumers that are killed in the middle of the backlog.
    for killed_at in [3_000, 20_000] {
        let mut consumer = Service::start_as("consume", &folder, &settings).await;
        until("a part of the backlog is applied", async || {
            scene.number(INBOX).await > killed_at
        })
        .await;
        consumer.kill();
        assert!(scene.number(INBOX).await < 60_000, "it had not done all");
    }
    // A consumer that another one joins, which leaves again before all is done.
    let mut stays = Service::start_as("consume", &folder, &settings).await;
    let mut leaves = Service::start_as("consume", &folder, &settings).await;
    until("the second has its share", async || {
        applied(&leaves).await > 0.0 || scene.number(INBOX).await == 60_000
    })
    .await;
    assert!(leaves.stop().await.success());
    scene.reaches(INBOX, 60_000).await;
    is_exact(&scene, &for_points, &for_coupons).await;
    assert!(stays.stop().await.success());

    // Then all records are read again.
    for consumer in Consumer::ALL {
        scene.rewind(consumer).await;
    }
    let mut again = Service::start_as("consume", &folder, &settings).await;
    for consumer in Consumer::ALL {
        until("everything is read again", async || {
            scene.committed(consumer).await == 30_000
        })
        .await;
    }
    is_exact(&scene, &for_points, &for_coupons).await;
    assert!(again.stop().await.success());
}

async fn is_exact(
    scene: &Scene,
    for_points: &[firstcome::domain::Participation],
    for_coupons: &[firstcome::domain::Participation],
) {
    let all = i64::try_from(for_points.len() + for_coupons.len()).unwrap();
    scene.marked(all).await;
    let granted = "SELECT COUNT(*) FROM ledger";
    assert_eq!(
        scene.number(granted).await,
        i64::try_from(for_points.len()).unwrap()
    );
    let owed: i64 = for_points
        .iter()
        .map(|one| i64::from(one.quantity) * 10)
        .sum();
    let sum = "SELECT CAST(SUM(points) AS SIGNED) FROM balance";
    assert_eq!(scene.number(sum).await, owed);
    let units: i64 = for_coupons.iter().map(|one| i64::from(one.quantity)).sum();
    let issued = "SELECT COUNT(*) FROM coupon";
    assert_eq!(scene.number(issued).await, units);
    let once = "SELECT COUNT(DISTINCT participation_id, nth) FROM coupon";
    assert_eq!(scene.number(once).await, units);
}

async fn applied(service: &Service) -> f64 {
    let answer = service.get("/metrics").send().await.unwrap();
    let text = answer.text().await.unwrap();
    text.lines()
        .filter(|line| {
            line.starts_with("firstcome_consumer_records_total") && line.contains("applied")
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// At every gap between two writes of a batch.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_between_any_two_writes_grants_once() {
    use firstcome::runtime::failpoint::CONSUMER_POINTS;

    let scene = Scene::new().await;
    let campaign = scene.campaign(Some(Reward::Points(10))).await;
    let made = scene.participations(campaign, 3_000, 50).await;
    scene.confirm(&made).await;
    let poison = firstcome::parts::broker::Delivered::default();
    let folder = TempDir::new().unwrap();
    for point in CONSUMER_POINTS {
        scene
            .kafka
            .forward(
                &poison,
                &scene.topic(),
                &[],
                firstcome::parts::broker::CopyOf::Everything,
            )
            .await
            .unwrap();
        let mut settings = scene.settings();
        settings.push(("FIRSTCOME_CONSUMERS_ENABLED", "points".to_owned()));
        settings.push(("FAILPOINTS", format!("{point}=return")));
        let mut dies = Service::start_as("consume", &folder, &settings).await;
        until(&format!("it dies at {point}"), async || dies.has_died()).await;
    }
    let mut settings = scene.settings();
    settings.push(("FIRSTCOME_CONSUMERS_ENABLED", "points".to_owned()));
    let mut lives = Service::start_as("consume", &folder, &settings).await;
    scene.reaches(INBOX, 3_000).await;
    scene.granted_exactly(&made, 10).await;
    assert!(lives.stop().await.success());
}

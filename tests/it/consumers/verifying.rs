//! What is wrong in the rewards database is found, and nothing where nothing is wrong.

use firstcome::clock::Clock;
use firstcome::domain::{
    CampaignId, Change, Consumer, EventId, ParticipationId, Reward, Status, UserId,
};
use firstcome::store::{Due, Rewarded, Rewards, StoreConfig};
use sea_orm::{ConnectionTrait, Database};
use tempfile::TempDir;

use super::scene::{Scene, coupon_terms};

const POINTS: CampaignId = CampaignId(1);
const COUPONS: CampaignId = CampaignId(2);

/// What makes it wrong, what of it is found, and what makes it right again.
const PLANTS: [(&str, &[&str], &str); 6] = [
    (
        "UPDATE balance SET points = points + 1 WHERE user_id = 1",
        &["the balance is not the sum of the ledger, of user 1"],
        "UPDATE balance SET points = points - 1 WHERE user_id = 1",
    ),
    (
        "UPDATE balance SET user_id = 99 WHERE user_id = 2",
        &["of user 2", "of user 99"],
        "UPDATE balance SET user_id = 2 WHERE user_id = 99",
    ),
    (
        "UPDATE ledger SET kind = 'other' WHERE kind = 'granted'",
        &["what was taken back is not what was granted"],
        "UPDATE ledger SET kind = 'granted' WHERE kind = 'other'",
    ),
    (
        "UPDATE coupon SET nth = nth + 1 WHERE nth = 2",
        &["a gap among the coupons"],
        "UPDATE coupon SET nth = nth - 1 WHERE nth = 3",
    ),
    (
        "UPDATE inbox SET consumer = 'other' WHERE consumer = 'points'",
        &["in the ledger, and not in the inbox"],
        "UPDATE inbox SET consumer = 'points' WHERE consumer = 'other'",
    ),
    (
        "UPDATE inbox SET consumer = 'other' WHERE consumer = 'coupons'",
        &["no event of it in the inbox"],
        "UPDATE inbox SET consumer = 'coupons' WHERE consumer = 'other'",
    ),
];

fn due(campaign: CampaignId, nth: u128, status: Status, sequence: u32) -> Due {
    Due {
        change: Change {
            event: EventId::generate(),
            participation: ParticipationId(uuid::Uuid::from_u128(nth)),
            campaign,
            user: UserId(i64::try_from(nth % 3).unwrap() + 1),
            quantity: 2,
            status,
            sequence,
        },
        reward: Some(if campaign == POINTS {
            Reward::Points(10)
        } else {
            Reward::Coupon(coupon_terms())
        }),
    }
}

async fn breaches(rewards: &Rewards) -> Vec<String> {
    rewards.verify().await.unwrap().breaches
}

async fn planted(rewards: &Rewards, url: &str) {
    assert_eq!(rewards.verify().await.unwrap(), Rewarded::default());
    let confirmed: Vec<Due> = (1..=12)
        .map(|nth| due(POINTS, nth, Status::Confirmed, 1))
        .collect();
    let ended: Vec<Due> = (1..=4)
        .map(|nth| due(POINTS, nth, Status::Cancelled, 2))
        .collect();
    let coupons: Vec<Due> = (20..=24)
        .map(|nth| due(COUPONS, nth, Status::Confirmed, 1))
        .collect();
    for (consumer, batch) in [
        (Consumer::Points, &confirmed),
        (Consumer::Points, &ended),
        (Consumer::Coupons, &coupons),
    ] {
        rewards.apply(consumer, batch).await.unwrap();
    }
    let found = rewards.verify().await.unwrap();
    assert_eq!(found.breaches, [""; 0]);
    let granted: Vec<(CampaignId, u64)> = found.granted.into_iter().collect();
    assert_eq!(granted, [(POINTS, 12), (COUPONS, 5)]);

    let db = Database::connect(url).await.unwrap();
    for (plant, parts, undo) in PLANTS {
        db.execute_unprepared(plant).await.unwrap();
        let found = breaches(rewards).await;
        for part in parts {
            let is_told = found.iter().any(|breach| breach.contains(part));
            assert!(is_told, "{plant}: {found:?}");
        }
        db.execute_unprepared(undo).await.unwrap();
        assert_eq!(breaches(rewards).await, [""; 0], "{undo}");
    }
    // One effect too many of one event.
    let event = ended[0].change.event.0.simple();
    let twice = format!(
        "INSERT INTO ledger SELECT participation_id, 'other', user_id, campaign_id, 0, event_id, \
         created_at FROM ledger WHERE event_id = x'{event}'"
    );
    db.execute_unprepared(&twice).await.unwrap();
    let found = breaches(rewards).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains(&ended[0].change.event.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_rewards_is_found() {
    let scene = Scene::new().await;
    planted(&scene.rewards, &scene.rewards_url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_rewards_is_found_on_the_embedded_database_too() {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}", folder.path().join("rewards.db").display());
    let rewards = Rewards::connect(&StoreConfig::new(url.as_str()), Clock::System)
        .await
        .unwrap();
    rewards.migrate().await.unwrap();
    planted(&rewards, &url).await;
}

//! Violations in the rewards database are found, and a correct database has none.

use std::collections::HashMap;

use firstcome::domain::{
    CampaignId, Change, Consumer, EventId, ParticipationId, Reward, Status, UserId, key_hash,
};
use firstcome::parts::store::{Due, Rewarded, Rewards, StoreConfig};
use firstcome::runtime::clock::Clock;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::scene::{PARTITIONS, Scene, coupon_terms};
use crate::service::process::{Service, body, command};

const POINTS: CampaignId = CampaignId(1);
const COUPONS: CampaignId = CampaignId(2);

/// Each violation: the statement that plants it, its findings, and the statement that repairs it.
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
    // One effect too many for one event.
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

/// The findings of `verify --rewards`, and its exit code.
fn verified(folder: &TempDir, settings: &[(&str, String)], passed: &str) -> (bool, String) {
    let mut verify = command(folder, settings);
    let said = verify.args([
        "verify",
        "--rewards",
        "--json",
        "--rewards-passed-seconds",
        passed,
    ]);
    let said = said.output().unwrap();
    let found: Value = serde_json::from_slice(&said.stdout).unwrap();
    let breaches = found["rewards"]["breaches"].as_array().unwrap().iter();
    let breaches: Vec<&str> = breaches.map(|one| one.as_str().unwrap()).collect();
    (said.status.success(), breaches.join("; "))
}

/// The consumer is past an event without applying it.
#[tokio::test(flavor = "multi_thread")]
async fn missing_and_unreversed_grants_are_reported() {
    let scene = Scene::new().await;
    let folder = TempDir::new().unwrap();
    let mut settings = scene.settings();
    settings.push(("FIRSTCOME_RELAY_ENABLED", "false".to_owned()));
    let service = Service::start(&folder, &settings).await;
    for consumer in Consumer::ALL {
        let reward = match consumer {
            Consumer::Points => json!({ "points": 10 }),
            Consumer::Coupons => json!({ "coupon": { "discountAmount": 1 } }),
        };
        let asked =
            json!({ "name": "n", "kind": "general", "reward": reward, "cancellable": true });
        let campaign = service.create(asked).await;
        let (made, other) = three_of_a_partition(&service, campaign).await;
        let verified = |passed: &str| verified(&folder, &settings, passed);
        is_not_passed(&scene, consumer, made[2], other, &verified).await;
        is_found_missing(&scene, consumer, campaign, &made, &verified).await;
        is_found_standing(&scene, consumer, campaign, made[2], &verified).await;
    }
}

/// Participations whose events go to one partition, and one whose events go to another.
async fn three_of_a_partition(
    service: &Service,
    campaign: i64,
) -> (Vec<ParticipationId>, ParticipationId) {
    let mut by_partition: HashMap<u32, Vec<ParticipationId>> = HashMap::new();
    for user in 1..=100 {
        let answer = body(service.take_part(campaign, user).await).await;
        let id = answer["participationId"].as_str().unwrap();
        let partition = key_hash(id) % PARTITIONS.unsigned_abs();
        let made = by_partition.entry(partition).or_default();
        made.push(ParticipationId(id.parse().unwrap()));
        let full = by_partition.iter().find(|(_, made)| made.len() >= 3);
        let full = full.map(|(partition, _)| *partition);
        let other = by_partition
            .keys()
            .find(|one| full.is_some_and(|full| **one != full));
        if let (Some(full), Some(other)) = (full, other) {
            return (by_partition[&full].clone(), by_partition[other][0]);
        }
    }
    panic!("keys are not spread over the partitions");
}

/// The consumer is past the event only in another partition: in the event's own partition it may be behind.
async fn is_not_passed(
    scene: &Scene,
    consumer: Consumer,
    one: ParticipationId,
    other: ParticipationId,
    verified: &Verified<'_>,
) {
    let db = Database::connect(&scene.events.url).await.unwrap();
    publish(&db, one).await;
    apply(scene, consumer, other, &[(Status::Confirmed, 1)]).await;
    assert_eq!(
        verified("0"),
        (true, String::new()),
        "its partition is behind"
    );
    let unpublish = format!("{PARK} WHERE e.aggregateid = '{one}'");
    db.execute_unprepared(&unpublish).await.unwrap();
}

/// Events that wait for a retry.
const PARK: &str = "INSERT INTO outbox_parked (campaign_id, sequence, event_id, topic, message_key, key_hash, state, \
     attempts, error_class, error, parked_at) SELECT e.campaign_id, e.sequence, e.id, e.aggregatetype, \
     e.message_key, 0, 'retry', 1, 'possibly_delivered', '', e.created_at FROM outbox_event e";

/// Only the events of this participation are published.
async fn publish(db: &DatabaseConnection, one: ParticipationId) {
    for sql in [
        format!(
            "{PARK} LEFT JOIN outbox_position o ON o.campaign_id = e.campaign_id \
             WHERE e.aggregatetype = 'participation' AND e.sequence > COALESCE(o.published, 0)"
        ),
        "INSERT INTO outbox_position (campaign_id, published) SELECT id, event_sequence FROM campaign WHERE event_sequence > 0 \
         ON DUPLICATE KEY UPDATE published = event_sequence"
            .to_owned(),
        format!(
            "DELETE p FROM outbox_parked p JOIN outbox_event e ON e.id = p.event_id \
             WHERE e.aggregateid = '{one}'"
        ),
    ] {
        db.execute_unprepared(&sql).await.unwrap();
    }
}

/// The effect of a change on this participation, as stored by the consumer.
async fn apply(scene: &Scene, consumer: Consumer, one: ParticipationId, changes: &[(Status, u32)]) {
    let batch: Vec<Due> = changes
        .iter()
        .map(|(status, sequence)| {
            let campaign = match consumer {
                Consumer::Points => POINTS,
                Consumer::Coupons => COUPONS,
            };
            let mut due = due(campaign, 0, *status, *sequence);
            due.change.participation = one;
            due
        })
        .collect();
    scene.rewards.apply(consumer, &batch).await.unwrap();
}

type Verified<'a> = dyn Fn(&str) -> (bool, String) + 'a;

/// The last of these is not granted, which is reported once its event is published and the consumer is past it.
async fn is_found_missing(
    scene: &Scene,
    consumer: Consumer,
    campaign: i64,
    made: &[ParticipationId],
    verified: &Verified<'_>,
) {
    let missing = made[2];
    for one in &made[..2] {
        apply(scene, consumer, *one, &[(Status::Confirmed, 1)]).await;
    }
    let is_clean = (true, String::new());
    assert_eq!(verified("0"), is_clean, "it is not published");
    let db = Database::connect(&scene.events.url).await.unwrap();
    publish(&db, missing).await;
    let (is_sound, told) = verified("0");
    let wanted =
        format!("campaign {campaign}: 1 confirmed participations without a reward: {missing}");
    assert!(!is_sound && told.contains(&wanted), "{told}");
    assert_eq!(verified("600"), is_clean, "it is not passed");
    apply(scene, consumer, missing, &[(Status::Confirmed, 1)]).await;
    assert_eq!(verified("0"), is_clean);
}

/// It is cancelled, and its reward stays until the consumer processes the event.
async fn is_found_standing(
    scene: &Scene,
    consumer: Consumer,
    campaign: i64,
    one: ParticipationId,
    verified: &Verified<'_>,
) {
    let db = Database::connect(&scene.events.url).await.unwrap();
    let id = one.0.simple();
    let cancel = format!("UPDATE participation SET status = 'cancelled' WHERE id = x'{id}'");
    db.execute_unprepared(&cancel).await.unwrap();
    let wanted = format!(
        "campaign {campaign}: 1 cancelled participations with a reward that is not revoked: {one}"
    );
    let (_, told) = verified("0");
    assert!(told.contains(&wanted), "{told}");
    apply(scene, consumer, one, &[(Status::Cancelled, 2)]).await;
    assert_eq!(verified("0").1, "");
    let undo = format!("UPDATE participation SET status = 'confirmed' WHERE id = x'{id}'");
    db.execute_unprepared(&undo).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn violations_in_rewards_are_reported() {
    let scene = Scene::new().await;
    planted(&scene.rewards, &scene.rewards_url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn violations_in_rewards_are_reported_on_the_embedded_database() {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}", folder.path().join("rewards.db").display());
    let rewards = Rewards::connect(&StoreConfig::new(url.as_str()), Clock::System)
        .await
        .unwrap();
    rewards.migrate().await.unwrap();
    planted(&rewards, &url).await;
}

//! Dead letters of consumers: listed by source, replayed by their consumer alone and once, on MySQL and Kafka.

use firstcome::domain::{
    CampaignId, Consumer, DeadLetterId, DeadLetterSource, Participation, ParticipationId, Reward,
    Status,
};
use firstcome::operate::dead_letters::{Letter, LetterAction, carry_out, list, one};
use firstcome::parts::store::DeadLetterFilter;
use tempfile::TempDir;

use super::scene::{Scene, change};
use crate::service::process::Service;
use crate::support::until;

const LETTERS: &str = "SELECT COUNT(*) FROM consumer_dead_letter";

async fn of_source(scene: &Scene, source: Option<DeadLetterSource>) -> Vec<Letter> {
    let filter = DeadLetterFilter {
        source,
        ..DeadLetterFilter::default()
    };
    list(scene.store(), &filter, 100).await.unwrap()
}

async fn replay(scene: &Scene, letter: DeadLetterId) -> u64 {
    carry_out(scene.store(), LetterAction::Replay, &[letter], None)
        .await
        .unwrap()
}

async fn payload(scene: &Scene, letter: DeadLetterId) -> String {
    let found = one(scene.store(), letter.event, Some(letter.source)).await;
    found.unwrap().unwrap().payload
}

/// A participation in the campaign that will be created next.
async fn in_the_next_campaign(scene: &Scene) -> Participation {
    let last = scene.campaign(None).await;
    let made = scene.participations(last, 1, 1).await.remove(0);
    Participation {
        id: ParticipationId::generate(),
        campaign_id: CampaignId(last.0 + 1),
        ..made
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_dead_letter_is_applied_once_by_its_consumer_alone() {
    let scene = Scene::new().await;
    let sold = in_the_next_campaign(&scene).await;
    let event = change(&sold, Status::Confirmed, 1);
    // The relay may publish an event twice: it is one dead letter of each consumer.
    scene.publish(&[event.clone(), event.clone()]).await;
    let points = scene.start(Consumer::Points);
    let coupons = scene.start(Consumer::Coupons);
    for consumer in Consumer::ALL {
        until("all is read", async || scene.committed(consumer).await == 2).await;
    }
    let found = of_source(&scene, None).await;
    let sources: Vec<DeadLetterSource> = found.iter().map(|letter| letter.id.source).collect();
    assert_eq!(
        sources,
        [DeadLetterSource::Coupons, DeadLetterSource::Points]
    );
    for letter in &found {
        assert_eq!(letter.id.event, event.id);
        assert_eq!(letter.campaign, Some(sold.campaign_id));
        assert_eq!(letter.error_class, "unknown_campaign");
        assert_eq!((&*letter.key, &*letter.payload), (&*event.key, ""));
        assert_eq!(payload(&scene, letter.id).await, event.payload);
        assert!(letter.copied_at.is_some());
    }
    let source = DeadLetterSource::Points;
    let id = DeadLetterId {
        event: event.id,
        source,
    };

    // Still wrong: it becomes a dead letter again.
    assert_eq!(replay(&scene, id).await, 1);
    until("it was tried again", async || {
        let letters = of_source(&scene, Some(source)).await;
        letters.iter().any(|letter| letter.attempts == 2)
    })
    .await;
    assert_eq!(scene.number("SELECT COUNT(*) FROM inbox").await, 0);

    // Corrected.
    let campaign = scene.campaign(Some(Reward::Points(10))).await;
    assert_eq!(campaign, sold.campaign_id);
    assert_eq!(replay(&scene, id).await, 1);
    until("it is applied", async || {
        scene.events_number(LETTERS).await == 1
    })
    .await;
    assert_eq!(replay(&scene, id).await, 0, "it is no dead letter any more");
    let granted = "SELECT CAST(SUM(points) AS SIGNED) FROM balance";
    assert_eq!(scene.number(granted).await, 10 * i64::from(sold.quantity));
    let inbox = "SELECT COUNT(*) FROM inbox WHERE consumer = 'points'";
    assert_eq!(scene.number(inbox).await, 1);
    let left = of_source(&scene, None).await;
    assert_eq!(left.len(), 1, "that of the other consumer");
    assert_eq!(left[0].id.source, DeadLetterSource::Coupons);

    let discarded = carry_out(scene.store(), LetterAction::Discard, &[left[0].id], None).await;
    assert_eq!(discarded.unwrap(), 1);
    assert_eq!(of_source(&scene, None).await, []);
    assert_eq!(scene.events_number(LETTERS).await, 1, "the row stays");

    // Later redeliveries have no effect.
    scene.publish(&[event]).await;
    for consumer in Consumer::ALL {
        until("all is read", async || scene.committed(consumer).await == 3).await;
    }
    assert_eq!(scene.number(granted).await, 10 * i64::from(sold.quantity));
    points.stop().await;
    coupons.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_an_id_and_a_large_one_become_dead_letters() {
    use firstcome::parts::broker::{CopyOf, Delivered};

    let scene = Scene::new().await;
    let raw = |payload: Vec<u8>| Delivered {
        key: Some(b"\xff key".to_vec()),
        payload: Some(payload),
        ..Delivered::default()
    };
    let large = vec![b'x'; 900_000];
    for record in [raw(b"\xfe not text".to_vec()), raw(large.clone())] {
        let topic = scene.topic();
        let sent = scene
            .kafka
            .forward(&record, &topic, &[], CopyOf::Everything);
        sent.await.unwrap();
    }
    let running = scene.start(Consumer::Points);
    until("all is read", async || {
        scene.committed(Consumer::Points).await == 2
    })
    .await;
    running.stop().await;
    let found = of_source(&scene, Some(DeadLetterSource::Points)).await;
    assert_eq!(found.len(), 2);
    let mut payloads = Vec::new();
    for letter in &found {
        assert!(letter.campaign.is_none() && letter.key.ends_with(" key"));
        assert_eq!(letter.payload, "", "a list has none");
        payloads.push(payload(&scene, letter.id).await);
    }
    payloads.sort_by_key(String::len);
    assert!(payloads[0].ends_with(" not text"));
    assert_eq!(payloads[1].len(), large.len());
    // Read again, it is unchanged.
    scene.rewind(Consumer::Points).await;
    let running = scene.start(Consumer::Points);
    until("all is read again", async || {
        scene.committed(Consumer::Points).await == 2
    })
    .await;
    running.stop().await;
    assert_eq!(scene.events_number(LETTERS).await, 2);
}

/// The process dies after each write of a dead letter and of its replay.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_between_the_writes_of_a_dead_letter_loses_none_and_grants_once() {
    let scene = Scene::new().await;
    let sold = in_the_next_campaign(&scene).await;
    let event = change(&sold, Status::Confirmed, 1);
    scene.publish(std::slice::from_ref(&event)).await;
    let folder = TempDir::new().unwrap();
    let settings = |point: Option<&str>| {
        let mut settings = scene.settings();
        settings.push(("FIRSTCOME_CONSUMERS_ENABLED", "points".to_owned()));
        if let Some(point) = point {
            settings.push(("FAILPOINTS", format!("{point}=return")));
        }
        settings
    };
    for point in ["consumer.kept", "consumer.copied"] {
        let mut dies = Service::start_as("consume", &folder, &settings(Some(point))).await;
        until(&format!("it dies at {point}"), async || dies.has_died()).await;
        assert_eq!(scene.committed(Consumer::Points).await, 0, "{point}");
        assert_eq!(of_source(&scene, None).await.len(), 1, "{point}");
    }
    let mut lives = Service::start_as("consume", &folder, &settings(None)).await;
    until("its offset is committed", async || {
        scene.committed(Consumer::Points).await == 1
    })
    .await;
    assert!(lives.stop().await.success());
    let found = of_source(&scene, None).await;
    assert_eq!(found.len(), 1);
    assert!(found[0].copied_at.is_some());

    scene.campaign(Some(Reward::Points(10))).await;
    assert_eq!(replay(&scene, found[0].id).await, 1);
    for point in ["consumer.applying", "consumer.applied", "consumer.replayed"] {
        let mut dies = Service::start_as("consume", &folder, &settings(Some(point))).await;
        until(&format!("it dies at {point}"), async || dies.has_died()).await;
        assert_eq!(scene.events_number(LETTERS).await, 1, "{point}");
    }
    let mut lives = Service::start_as("consume", &folder, &settings(None)).await;
    until("it is applied", async || {
        scene.events_number(LETTERS).await == 0
    })
    .await;
    let granted = "SELECT CAST(SUM(points) AS SIGNED) FROM balance";
    assert_eq!(scene.number(granted).await, 10 * i64::from(sold.quantity));
    assert_eq!(scene.number("SELECT COUNT(*) FROM ledger").await, 1);
    assert!(lives.stop().await.success());
}

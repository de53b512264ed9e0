//! The relay while real Kafka refuses records: missing topics, topics without permission, and records that are
//! too large.

use std::fmt::Write;
use std::time::Duration;

use firstcome::domain::OutboxEvent;
use firstcome::parts::broker::kafka::{KafkaConfig, TopicError};

use super::grants::{EVERYBODY_HERE, Operation, grant};
use super::scene::{Scene, failures, waves};
use super::spare;
use crate::relay::bench::{consume, events, kafka, until};

/// librdkafka reports a topic as missing after five seconds; a shorter timeout of the relay ends before.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_missing_topic_wait_until_it_exists() {
    for message_timeout in [Duration::from_millis(1_500), Duration::from_secs(6)] {
        waits_for_its_topic(message_timeout).await;
    }
}

async fn waits_for_its_topic(message_timeout: Duration) {
    let broker = spare::shared().await;
    let settings = KafkaConfig {
        message_timeout,
        ..kafka()
    };
    let scene = Scene::with(&broker.address, settings).await;
    let waves = waves(10, 3);
    let running = scene.refused(&waves[0], &waves[1]).await;
    assert_eq!(scene.waiting(&running).await, 20);
    scene.create_topics().await;
    scene.commit(&waves[2]).await;
    scene.ends_well(running, &waves.concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_topic_without_describe_permission_wait_for_it() {
    let broker = spare::shared().await;
    let scene = Scene::on(&broker.address).await;
    grant(&broker.address, &scene.topic, "User:else", Operation::All).await;
    waits_for_permission(broker, scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_topic_without_write_permission_wait_for_it() {
    let broker = spare::shared().await;
    let scene = Scene::on(&broker.address).await;
    let topic = &scene.topic;
    grant(&broker.address, topic, EVERYBODY_HERE, Operation::Read).await;
    waits_for_permission(broker, scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_topic_that_does_not_exist_is_called_missing() {
    let broker = spare::shared().await;
    let scene = Scene::on(&broker.address).await;
    let missing = scene.durability().await;
    assert!(
        matches!(missing, Err(TopicError::Missing(_))),
        "{missing:?}"
    );
    grant(&broker.address, &scene.topic, "User:else", Operation::All).await;
    scene.create_topics().await;
    until("it may not be described", async || {
        matches!(scene.durability().await, Err(TopicError::NotAllowed(_)))
    })
    .await;
    // The right to read includes that to describe the topic, and not that to describe its settings.
    let topic = &scene.topic;
    grant(&broker.address, topic, EVERYBODY_HERE, Operation::Read).await;
    until("only its settings are not shown", async || {
        let durability = scene.durability().await;
        durability.is_ok_and(|found| found.replication == 1 && found.settings.is_err())
    })
    .await;
    scene.bench.drop_schema().await;
}

/// The topic is created after its permissions: a broker learns of both in that order.
async fn waits_for_permission(broker: &spare::Spare, scene: Scene) {
    scene.create_topics().await;
    let waves = waves(10, 3);
    let running = scene.refused(&waves[0], &waves[1]).await;
    assert_eq!(scene.waiting(&running).await, 20);
    let topic = &scene.topic;
    grant(&broker.address, topic, EVERYBODY_HERE, Operation::All).await;
    scene.commit(&waves[2]).await;
    scene.ends_well(running, &waves.concat()).await;
}

/// A value that compression does not shorten.
fn enlarge(event: &mut OutboxEvent) {
    let mut text = String::from("\"");
    let mut state = 1_u64;
    while text.len() < 50_000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        write!(text, "{state:016x}").unwrap();
    }
    text.push('"');
    event.payload = text;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_oversized_record_of_a_refused_batch_is_charged_an_attempt() {
    let broker = spare::shared().await;
    let scene = Scene::on(&broker.address).await;
    let limit = [("max.message.bytes", "20000")];
    scene.create(&scene.topic, &limit).await;
    scene.create(&scene.copies, &[]).await;
    let mut events = events(20, 3);
    enlarge(&mut events[30]);
    // All are committed before the relay starts, so that they share batches.
    scene.commit(&events).await;
    let running = scene.start().await;
    until(
        "one is dead and copied, the rest is published",
        async || {
            let dead = scene.bench.dead_letters().await;
            let counts = scene.bench.counts().await;
            dead.len() == 1
                && dead[0].copied_at.is_some()
                && counts.pending + counts.retry + counts.blocked == 0
        },
    )
    .await;
    let oversized = events.remove(30);
    let dead = scene.bench.dead_letters().await.remove(0);
    assert_eq!(dead.event_id, oversized.id);
    assert_eq!((dead.attempts, dead.error_class.as_str()), (1, "record"));
    let copy = consume(&broker.address, &scene.copies, 1).await.remove(0);
    assert_eq!(*copy.key, *oversized.key);
    assert_eq!(copy.payload, oversized.payload);
    assert_eq!(copy.header("firstcome-dead-class"), Some("record"));
    assert_eq!(scene.records_in(&scene.copies).await, 1);
    let refused = failures(&running, "record");
    // Once in its batch and once alone. The producer decides which records share a batch.
    assert!(refused >= 2, "refused: {refused}");
    let published = scene.published(&events).await;
    assert_eq!(published.len(), events.len(), "each is published once");
    assert!(running.stop().await.is_clean());
    scene.bench.drop_schema().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_waits_for_its_topic_and_delays_no_other_row() {
    let broker = spare::shared().await;
    let scene = Scene::on(&broker.address).await;
    scene
        .create(&scene.topic, &[("max.message.bytes", "20000")])
        .await;
    let mut waves = waves(10, 3);
    enlarge(&mut waves[0][4]);
    let oversized = waves[0][4].clone();
    scene.commit(&waves[0]).await;
    let running = scene.start().await;
    until("it is dead", async || scene.bench.counts().await.dead == 1).await;
    scene.commit(&waves[1]).await;
    until("the others are published", async || {
        scene.bench.counts().await.pending == 0
    })
    .await;
    let before = scene.copies_tried();
    until("the copy was tried again", async || {
        scene.copies_tried() > before + 2
    })
    .await;
    let dead = scene.bench.dead_letters().await.remove(0);
    assert_eq!((dead.event_id, dead.copied_at), (oversized.id, None));
    assert!(running.handle.is_publishing(), "the topic itself is well");
    scene.create(&scene.copies, &[]).await;
    until("it is copied", async || {
        scene.bench.dead_letters().await[0].copied_at.is_some()
    })
    .await;
    scene.commit(&waves[2]).await;
    until("all is published", async || {
        scene.bench.counts().await.pending == 0
    })
    .await;
    assert_eq!(scene.records_in(&scene.copies).await, 1);
    let mut others = waves.concat();
    others.retain(|event| event.id != oversized.id);
    scene.published(&others).await;
    scene.did_not_spin(&running, others.len());
    assert!(running.stop().await.is_clean());
    scene.bench.drop_schema().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_and_recreated_topic_gets_all_later_events() {
    let broker = spare::shared().await;
    let scene = Scene::on(&broker.address).await;
    let waves = waves(10, 4);
    let running = scene.at_work(&waves[0]).await;
    scene.bench.settled().await;
    scene.delete(&scene.topic).await;
    scene.commit(&waves[1]).await;
    scene.held_back(&running).await;
    assert_eq!(scene.waiting(&running).await, 10);
    scene.create(&scene.topic, &[]).await;
    scene.commit(&waves[2]).await;
    scene.bench.settled().await;
    scene.commit(&waves[3]).await;
    scene.ends_well(running, &waves[1..].concat()).await;
}

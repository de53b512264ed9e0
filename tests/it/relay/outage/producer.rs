//! The relay while its own producer is the bottleneck.

use std::time::Duration;

use firstcome::broker::kafka::KafkaConfig;

use super::scene::{Scene, failures};
use super::spare;
use crate::relay::bench::{events, kafka};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_of_the_producer_holds_rows_back_and_charges_none() {
    let broker = spare::shared().await;
    let narrow = KafkaConfig {
        queue_records_max: 4,
        ..kafka()
    };
    let scene = Scene::with(&broker.address, narrow).await;
    scene.create_topics().await;
    let events = events(50, 4);
    scene.commit(&events).await;
    let running = scene.start().await;
    scene.bench.settled().await;
    let full = failures(&running, "queue_full");
    assert!(full > 0, "the queue was full");
    // Whenever four were sent, each of fifty keys may try once.
    assert!(full <= 200 / 4 * 50, "{full} times");
    assert_eq!(failures(&running, "possibly_delivered"), 0);
    assert_eq!(scene.records_in(&scene.topic).await, 200, "each once");
    scene.ends_well(running, &events).await;
}

/// What librdkafka has not got it cannot ask the clock about: of two waves, those of the second wait here
/// until the first is answered.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_partition_is_asked_its_next_records_wait_for_their_turn() {
    let broker = spare::mine().await;
    let patient = KafkaConfig {
        message_timeout: Duration::from_secs(30),
        ..kafka()
    };
    let scene = Scene::with(&broker.address, patient).await.without_polls();
    scene.create_topics().await;
    scene.know_partitions().await;
    let all = events(61, 1);
    let (before, rest) = all.split_at(1);
    let (first, second) = rest.split_at(30);
    scene.commit(before).await;
    let running = scene.start().await;
    scene.bench.settled().await;
    let sent = scene.tried();
    broker.pause().await;
    scene.hint(&running, first).await;
    let under_way = scene.tried() - sent;
    assert!(under_way > 0, "the first of them are under way");
    scene.hint(&running, second).await;
    let under_way = scene.tried() - sent;
    assert!(under_way <= 30, "{under_way} were sent");
    broker.resume().await;
    scene.ends_well(running, &all).await;
}

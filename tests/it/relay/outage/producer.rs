//! The relay while its own producer is the bottleneck.

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

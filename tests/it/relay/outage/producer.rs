//! The relay while its own producer is the bottleneck.

use std::time::Duration;

use firstcome::domain::OutboxEvent;
use firstcome::parts::broker::kafka::KafkaConfig;

use super::scene::{Scene, failures};
use super::spare;
use crate::relay::bench::{Running, events, kafka, until};

/// Events that come at once.
const WAVE: u32 = 30;
/// Maximum number of probes while a broker is away for some seconds.
const PROBES: u32 = 10;

/// A relay between two waves of events: the first was sent to a broker that does not answer, the second waits.
struct Waves {
    scene: Scene,
    events: Vec<OutboxEvent>,
    sent_before: u64,
}

impl Waves {
    async fn begin(broker: &spare::Spare, answered_within: Duration) -> (Self, Running) {
        let patient = KafkaConfig {
            message_timeout: answered_within,
            ..kafka()
        };
        let scene = Scene::with(&broker.address, patient).await.without_polls();
        scene.create_topics().await;
        scene.know_partitions().await;
        let events = events(1 + 2 * WAVE, 1);
        let (before, waves) = events.split_at(1);
        let (first, second) = waves.split_at(waves.len() / 2);
        scene.commit(before).await;
        let running = scene.start().await;
        scene.bench.settled().await;
        let sent_before = scene.tried();
        broker.pause().await;
        scene.hint(&running, first).await;
        // Dispatched records are sent by another task.
        until("the first are under way", async || {
            scene.tried() > sent_before
        })
        .await;
        scene.hint(&running, second).await;
        let waves = Self {
            scene,
            events,
            sent_before,
        };
        (waves, running)
    }

    /// The number of sends of both waves, retries included.
    fn sent(&self) -> u32 {
        u32::try_from(self.scene.tried() - self.sent_before).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_producer_queue_delays_rows_and_charges_no_attempt() {
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
    // After each four sends, each of fifty keys may try once.
    assert!(full <= 200 / 4 * 50, "{full} times");
    assert_eq!(failures(&running, "possibly_delivered"), 0);
    assert_eq!(scene.records_in(&scene.topic).await, 200, "each once");
    scene.ends_well(running, &events).await;
}

/// Only records that librdkafka has can time out in it: of two waves, the second one waits in the relay until
/// the first is answered.
#[tokio::test(flavor = "multi_thread")]
async fn records_wait_while_their_partition_is_probed() {
    let broker = spare::mine().await;
    let (waves, running) = Waves::begin(&broker, Duration::from_secs(30)).await;
    let sent = waves.sent();
    assert!(sent <= WAVE, "{sent} were sent");
    broker.resume().await;
    waves.scene.ends_well(running, &waves.events).await;
}

/// Queries without an answer are not repeated by every waiting record.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_rows_are_not_sent_while_the_broker_is_unavailable() {
    let broker = spare::mine().await;
    let (waves, running) = Waves::begin(&broker, Duration::from_secs(3)).await;
    waves.scene.held_back(&running).await;
    let first = waves.sent();
    until("it is probed", async || waves.sent() > first).await;
    let sent = waves.sent();
    assert!(sent <= WAVE + PROBES, "{sent} were sent to a broker away");
    broker.resume().await;
    waves.scene.bench.settled().await;
    let sent = waves.sent();
    // The first wave without success, both at the end, and one more without success: a broker that has just continued may
    // answer late.
    assert!(sent <= 4 * WAVE + PROBES, "{sent} were sent");
    waves.scene.ends_well(running, &waves.events).await;
}

/// Dispatched records are completed when the relay stops, so that their positions move and nothing is sent
/// twice.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_wait_for_a_turn_when_the_relay_stops_are_sent_once() {
    let broker = spare::mine().await;
    let (waves, running) = Waves::begin(&broker, Duration::from_secs(30)).await;
    let hints = running.handle.hints();
    // Records in flight are answered, and the next ones are sent, after the stop is known.
    let (outcome, ()) = tokio::join!(running.stop(), async {
        hints.closed().await;
        broker.resume().await;
    });
    assert!(outcome.is_clean());
    let sent = waves.sent();
    assert_eq!(sent, 2 * WAVE, "each once");
    assert_eq!(waves.scene.bench.counts().await.pending, 0);
    let running = waves.scene.start().await;
    waves.scene.ends_well(running, &waves.events).await;
}

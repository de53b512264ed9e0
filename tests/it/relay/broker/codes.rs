//! The reaction of the relay to each error code of a broker, injected in librdkafka's mock broker.

use std::sync::Arc;

use firstcome::domain::Topic;
use firstcome::events::relay::Config;
use firstcome::parts::broker::kafka::Kafka;
use firstcome::runtime::retry::Policy;
use rdkafka::types::RDKafkaApiKey::{self, InitProducerId, Produce};
use rdkafka::types::RDKafkaRespErr::{
    self, RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED as NOT_ALLOWED_ON_CLUSTER,
    RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE as TOO_LARGE,
    RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS as NOT_ENOUGH_REPLICAS,
    RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER as OUT_OF_ORDER,
    RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT as TIMED_OUT,
    RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED as THROTTLED,
    RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART as UNKNOWN_TOPIC,
};

use super::{embedded, failures};
use crate::relay::bench::{Bench, Running, config, consume, events, until};

/// A charged attempt makes a dead letter, unless it is for a rejected record.
fn once() -> Config {
    Config {
        retry: Policy {
            attempts_max: 1,
            ..config().retry
        },
        ..config()
    }
}

fn answers(broker: &Arc<Kafka>, request: RDKafkaApiKey, answers: &[RDKafkaRespErr]) {
    broker
        .with_cluster(|cluster| cluster.request_errors(request, answers))
        .unwrap();
}

/// Everything is published in order, and no attempt is charged. Returns the relay.
async fn published_in_spite_of(broker: &Arc<Kafka>, config: Config) -> Running {
    let bench = Bench::sqlite().await;
    let topic = Topic::Participation.name(&config.topic_prefix);
    let events = events(10, 3);
    for event in &events {
        bench.commit(event).await;
    }
    let running = Running::start(&bench, broker.clone(), config);
    bench.settled().await;
    let read = consume(&broker.bootstrap_servers(), &topic, events.len()).await;
    for event in &events {
        let of_key = read.iter().filter(|record| *record.key == *event.key);
        let sequences: Vec<_> = of_key
            .map(|record| record.header("ce_keysequence").unwrap())
            .collect();
        assert_eq!(sequences, ["1", "2", "3"]);
    }
    assert_eq!(failures(&running, "possibly_delivered"), 0);
    assert_eq!(running.handle.metrics().order_violations.get(), 0);
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_inside_librdkafka_are_no_failure() {
    for code in [NOT_ENOUGH_REPLICAS, TIMED_OUT, UNKNOWN_TOPIC] {
        let config = once();
        let broker = embedded(&config).await;
        answers(&broker, Produce, &[code; 3]);
        let running = published_in_spite_of(&broker, config).await;
        for class in ["away", "destination", "record", "fatal"] {
            assert_eq!(failures(&running, class), 0, "{class} by {code:?}");
        }
        assert!(running.stop().await.is_clean());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttling_broker_counts_as_unavailable() {
    let config = once();
    let broker = embedded(&config).await;
    answers(&broker, Produce, &[THROTTLED; 3]);
    let running = published_in_spite_of(&broker, config).await;
    let failed = failures(&running, "away");
    // All records of the first batch, and the following probes.
    assert!((1..=33).contains(&failed), "{failed}");
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_without_write_permission_waits_for_it() {
    let config = once();
    let broker = embedded(&config).await;
    answers(&broker, Produce, &[NOT_ALLOWED_ON_CLUSTER; 3]);
    let running = published_in_spite_of(&broker, config).await;
    let failed = failures(&running, "destination");
    // All records of the first batch, and the following probes.
    assert!((1..=33).contains(&failed), "{failed}");
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_too_large_is_sent_again_one_record_at_a_time() {
    let config = once();
    let broker = embedded(&config).await;
    answers(&broker, Produce, &[TOO_LARGE; 1]);
    let running = published_in_spite_of(&broker, config).await;
    assert!(failures(&running, "record") > 0);
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_record_becomes_a_dead_letter_at_its_second_refusal() {
    let (bench, config) = (Bench::sqlite().await, once());
    let broker = embedded(&config).await;
    answers(&broker, Produce, &[TOO_LARGE; 2]);
    let event = events(1, 1).remove(0);
    bench.commit(&event).await;
    let running = Running::start(&bench, broker.clone(), config);
    until("it is dead", async || bench.counts().await.dead == 1).await;
    let dead = bench.dead_letters().await.remove(0);
    assert_eq!((dead.attempts, dead.error_class.as_str()), (1, "record"));
    assert_eq!(failures(&running, "record"), 2);
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_with_a_fatal_error_is_replaced() {
    let config = once();
    let broker = embedded(&config).await;
    answers(&broker, Produce, &[OUT_OF_ORDER; 1]);
    let running = published_in_spite_of(&broker, config).await;
    let failed = failures(&running, "fatal");
    // All records of the first batch, and the following probes.
    assert!((1..=33).contains(&failed), "{failed}");
    assert!(running.stop().await.is_clean());
}

/// The new producer requests an id before it sends anything, and gets none at first.
#[tokio::test(flavor = "multi_thread")]
async fn a_producer_without_an_id_is_replaced_until_it_gets_one() {
    let config = once();
    let broker = embedded(&config).await;
    answers(&broker, Produce, &[OUT_OF_ORDER; 1]);
    answers(&broker, InitProducerId, &[NOT_ALLOWED_ON_CLUSTER; 3]);
    let running = published_in_spite_of(&broker, config).await;
    let failed = failures(&running, "fatal") + failures(&running, "destination");
    assert!((2..=60).contains(&failed), "{failed}");
    assert!(running.stop().await.is_clean());
}

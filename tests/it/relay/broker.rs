//! The relay on the embedded broker: real records, and failures the broker itself injects.

mod codes;

use std::sync::Arc;
use std::time::Duration;

use firstcome::domain::Topic;
use firstcome::events::relay::{Config, Published};
use firstcome::parts::broker::Publisher;
use firstcome::parts::broker::kafka::{Kafka, KafkaConfig};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::bench::{Bench, Running, config, consume, events, kafka, until};

async fn embedded(config: &Config) -> Arc<Kafka> {
    // Long enough for a batch to be one request: of two, the second one is written when the broker refuses the first
    // (docs/decisions/0017).
    let config_of_kafka = KafkaConfig {
        linger: Duration::from_millis(100),
        ..kafka()
    };
    let broker = Kafka::embedded(config_of_kafka).await.unwrap();
    let prefix = &config.topic_prefix;
    let topics = [
        Topic::Participation.name(prefix),
        Topic::Participation.dead_letter_name(prefix),
    ];
    broker.create_topics(&topics, 3).await.unwrap();
    broker.create_topics(&topics, 3).await.unwrap();
    assert_eq!(broker.partitions(&topics[0]).await.unwrap(), 3);
    broker
}

fn failures(running: &Running, class: &'static str) -> u64 {
    let published = &running.handle.metrics().published;
    let labels = Published {
        result: "failed",
        class,
    };
    published.get_or_create(&labels).get()
}

fn inject(broker: &Kafka, errors: &[RDKafkaRespErr]) {
    broker
        .with_cluster(|cluster| cluster.request_errors(RDKafkaApiKey::Produce, errors))
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_carries_the_event() {
    let (bench, config) = (Bench::sqlite().await, config());
    let broker = embedded(&config).await;
    let topic = Topic::Participation.name(&config.topic_prefix);
    let source = format!("/{}", config.topic_prefix);
    let mut event = events(1, 1).remove(0);
    event.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    bench.commit(&event).await;
    let running = Running::start(&bench, broker.clone(), config);
    bench.settled().await;
    let record = consume(&broker.bootstrap_servers(), &topic, 1)
        .await
        .remove(0);
    assert_eq!(*record.key, *event.key);
    assert_eq!(record.payload, event.payload);
    let id = event.id.to_string();
    for (name, value) in [
        ("ce_specversion", "1.0"),
        ("ce_id", id.as_str()),
        ("ce_type", "firstcome.participation.reserved"),
        ("ce_source", source.as_str()),
        ("ce_subject", event.aggregate_id.as_str()),
        ("content-type", "application/json"),
        ("ce_keysequence", "1"),
        ("ce_rank", "1"),
    ] {
        assert_eq!(record.header(name), Some(value), "{name}");
    }
    assert_eq!(record.header("traceparent"), event.traceparent.as_deref());
    assert!(record.header("ce_time").unwrap().ends_with('Z'));
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_record_becomes_a_dead_letter_alone_and_is_copied() {
    let (bench, config) = (Bench::sqlite().await, config());
    let broker = embedded(&config).await;
    let topic = Topic::Participation.name(&config.topic_prefix);
    let copies = Topic::Participation.dead_letter_name(&config.topic_prefix);
    let mut events = events(10, 1);
    events[4].payload = "x".repeat(1_500_000);
    for event in &events {
        bench.commit(event).await;
    }
    let running = Running::start(&bench, broker.clone(), config);
    let brokers = broker.bootstrap_servers();
    assert_eq!(consume(&brokers, &topic, 9).await.len(), 9);
    let copy = consume(&brokers, &copies, 1).await.remove(0);
    assert_eq!(
        copy.header("ce_id"),
        Some(events[4].id.to_string().as_str())
    );
    assert_eq!(copy.header("firstcome-dead-topic"), Some(topic.as_str()));
    assert_eq!(copy.header("firstcome-dead-class"), Some("record"));
    assert_eq!(copy.header("firstcome-dead-payload"), Some("omitted"));
    until("it is dead, and nothing else waits", async || {
        let counts = bench.counts().await;
        (counts.dead, counts.pending) == (1, 0)
    })
    .await;
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_refused_for_one_record_loses_none_of_the_others() {
    let (bench, config) = (Bench::sqlite().await, config());
    let broker = embedded(&config).await;
    inject(
        &broker,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD; 2],
    );
    let topic = Topic::Participation.name(&config.topic_prefix);
    for event in &events(10, 1) {
        bench.commit(event).await;
    }
    let running = Running::start(&bench, broker.clone(), config);
    bench.settled().await;
    let read = consume(&broker.bootstrap_servers(), &topic, 10).await;
    assert_eq!(read.len(), 10);
    assert!(failures(&running, "record") > 0, "the refusal was seen");
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_gets_its_rows_once_permission_is_granted() {
    let (bench, config) = (Bench::sqlite().await, config());
    let broker = embedded(&config).await;
    inject(
        &broker,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 3],
    );
    for event in &events(10, 1) {
        bench.commit(event).await;
    }
    let running = Running::start(&bench, broker.clone(), config);
    until("the topic is held back", async || {
        !running.handle.is_publishing()
    })
    .await;
    bench.settled().await;
    assert!(running.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_broker_charges_no_attempt() {
    let (bench, config) = (Bench::sqlite().await, config());
    let broker = embedded(&config).await;
    let topic = Topic::Participation.name(&config.topic_prefix);
    let running = Running::start(&bench, broker.clone(), config);
    running.owns(64).await;
    broker
        .with_cluster(|cluster| cluster.broker_down(-1))
        .unwrap()
        .unwrap();
    let events = events(10, 2);
    for event in &events {
        bench.commit(event).await;
    }
    until("the broker is held back", async || {
        !running.handle.is_publishing()
    })
    .await;
    let counts = bench.counts().await;
    assert_eq!((counts.pending, counts.retry, counts.dead), (20, 0, 0));
    broker
        .with_cluster(|cluster| cluster.broker_up(-1))
        .unwrap()
        .unwrap();
    bench.settled().await;
    let read = consume(&broker.bootstrap_servers(), &topic, 20).await;
    assert_eq!(read.len(), 20);
    assert!(failures(&running, "away") > 0, "the absence was seen");
    assert_eq!(failures(&running, "possibly_delivered"), 0);
    assert!(running.stop().await.is_clean());
}

//! The relay on MySQL and Kafka.

use std::time::Duration;

use firstcome::domain::Topic;
use firstcome::parts::broker::Publisher;
use firstcome::parts::broker::kafka::{Kafka, KafkaConfig};
use firstcome::parts::store::ParkedRow;

use super::bench::{Bench, Running, config, consume, events};

fn part(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `make test`, or `eval \"$(scripts/parts env)\"`")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn on_real_parts_everything_committed_is_published_in_order() {
    let brokers = part("FIRSTCOME_KAFKA_BROKERS");
    let bench = Bench::mysql(&part("FIRSTCOME_DATABASE_URL")).await;
    let config = config();
    let topic = Topic::Participation.name(&config.topic_prefix);
    let kafka = KafkaConfig {
        brokers: Some(brokers.clone()),
        message_timeout: Duration::from_secs(4),
        ..KafkaConfig::default()
    };
    let kafka = Kafka::connect(kafka).await.unwrap();
    let topics = [
        topic.clone(),
        Topic::Participation.dead_letter_name(&config.topic_prefix),
    ];
    kafka.create_topics(&topics, 3).await.unwrap();
    kafka.create_topics(&topics, 3).await.unwrap();
    assert_eq!(kafka.partitions(&topic).await.unwrap(), 3);

    let first = Running::start(&bench, kafka.clone(), config.clone());
    first.owns(64).await;
    let events = events(100, 2);
    for event in &events {
        bench.commit(event).await;
    }
    first
        .handle
        .hints()
        .send(bench.committed(&events))
        .await
        .unwrap();
    bench.settled().await;
    let read = consume(&brokers, &topic, events.len()).await;
    for event in &events {
        let of_key = read.iter().filter(|record| *record.key == *event.key);
        let sequences: Vec<_> = of_key
            .map(|record| record.header("ce_keysequence"))
            .collect();
        assert_eq!(sequences, [Some("1"), Some("2")]);
    }
    assert!(first.stop().await.is_clean());
    bench.drop_schema().await;
}

/// MySQL would scan such a small table completely, and wait for uncommitted rows.
#[tokio::test]
async fn reading_and_advancing_a_stream_waits_for_no_writer() {
    let bench = Bench::mysql(&part("FIRSTCOME_DATABASE_URL")).await;
    let events = events(60, 1);
    let (acknowledged, next) = events.split_at(40);
    bench.commit_together(acknowledged).await;
    let writer = bench.written(next).await;
    let stream = events[0].stream();
    let relayed = async {
        let read = bench.store.read_stream(stream, 0, 100).await.unwrap();
        bench.store.advance(&[(stream, 40)]).await.unwrap();
        let row = ParkedRow {
            place: bench.placed(&events[0]).place(),
            key: events[0].key.clone(),
        };
        bench.store.unpark(&[row.place]).await.unwrap();
        bench.store.release_keys(&[row.stream_key()]).await.unwrap();
        read.len()
    };
    let read = tokio::time::timeout(Duration::from_secs(20), relayed).await;
    assert_eq!(read.expect("an end"), 40);
    writer.commit().await.unwrap();
    assert_eq!(bench.counts().await.pending, 20);
    // A position only moves forward.
    bench.store.advance(&[(stream, 7)]).await.unwrap();
    assert_eq!(bench.counts().await.pending, 20);
    bench.drop_schema().await;
}

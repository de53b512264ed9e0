//! The relay on MySQL and Kafka.

use firstcome::broker::Publisher;
use firstcome::broker::kafka::{Kafka, KafkaConfig};
use firstcome::domain::Stream;

use super::bench::{Bench, Running, config, consume, events, fresh};

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
    let topic = Stream::Participation.topic(&config.topic_prefix);
    let kafka = KafkaConfig {
        brokers: brokers.clone(),
        message_timeout: std::time::Duration::from_secs(4),
        ..KafkaConfig::default()
    };
    let kafka = Kafka::connect(kafka).await.unwrap();
    let topics = [
        topic.clone(),
        Stream::Participation.dead_letter_topic(&config.topic_prefix),
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
    first.handle.hints().send(fresh(&events)).await.unwrap();
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

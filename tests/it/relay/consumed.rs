//! Reads the records of a topic as a consumer does.

use std::time::Duration;

use firstcome::domain::OutboxEvent;
use firstcome::parts::broker::Record;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(30);

/// A record as a consumer sees it.
#[derive(Clone, Debug)]
pub struct Consumed {
    pub key: String,
    pub payload: String,
    pub headers: Vec<(String, String)>,
}

impl Consumed {
    /// The record of an event.
    pub fn of(event: &OutboxEvent) -> Self {
        let record = Record::of(event, "test");
        let headers = record.headers.into_iter();
        Self {
            key: record.key,
            payload: record.payload,
            headers: headers
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads all current records of a topic.
pub async fn consume_all(brokers: &str, topic: &str) -> Vec<Consumed> {
    let client = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create::<BaseConsumer>()
        .unwrap();
    let name = topic.to_owned();
    let ends = tokio::task::spawn_blocking(move || {
        let timeout = Duration::from_secs(10);
        let metadata = client.fetch_metadata(Some(&name), timeout).unwrap();
        let partitions = metadata.topics()[0].partitions();
        let ends = partitions.iter().map(|partition| {
            let (start, end) = client
                .fetch_watermarks(&name, partition.id(), timeout)
                .unwrap();
            end - start
        });
        ends.sum::<i64>()
    });
    let records = usize::try_from(ends.await.unwrap()).unwrap();
    consume(brokers, topic, records).await
}

/// Reads a topic from its beginning until there are `enough` records.
pub async fn consume(brokers: &str, topic: &str, enough: usize) -> Vec<Consumed> {
    let records = consume_until(brokers, topic, move |read| read.len() >= enough).await;
    assert_eq!(records.len(), enough, "records in {topic}");
    records
}

/// Reads a topic from its beginning until the records satisfy `done`, or the time is over.
pub async fn consume_until(
    brokers: &str,
    topic: &str,
    done: impl Fn(&[Consumed]) -> bool + Send + 'static,
) -> Vec<Consumed> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "unused: nothing is committed")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let topic = topic.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        // Partitions are chosen here, because a group takes seconds to choose them.
        let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE).unwrap();
        let mut from = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            from.add_partition_offset(&topic, partition.id(), Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&from).unwrap();
        let began = std::time::Instant::now();
        let mut records = Vec::new();
        while !done(&records) && began.elapsed() < PATIENCE {
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                records.push(consumed_from(&message));
            }
        }
        // The drop may take a while, so nothing waits for it.
        std::thread::spawn(move || drop(consumer));
        records
    });
    reading.await.unwrap()
}

fn consumed_from(message: &rdkafka::message::BorrowedMessage<'_>) -> Consumed {
    let text =
        |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
    let headers = message.headers().unwrap();
    Consumed {
        key: text(message.key()),
        payload: text(message.payload()),
        headers: headers
            .iter()
            .map(|header| (header.key.to_owned(), text(header.value)))
            .collect(),
    }
}

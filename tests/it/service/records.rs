//! Reads a topic from its beginning, as a consumer does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use crate::support::real;

/// A record as a consumer sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub ce_id: String,
    pub ce_type: String,
    pub key: String,
    pub value: Value,
    pub headers: BTreeMap<String, String>,
    pub partition: i32,
}

/// A client for actions of operators on topics.
pub fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", real("FIRSTCOME_KAFKA_BROKERS"))
        .create()
        .unwrap()
}

/// Everything in `topic` until there are `wanted` records with different ids, or half a minute is over.
pub async fn read(brokers: String, topic: String, wanted: usize) -> Vec<Seen> {
    tokio::task::spawn_blocking(move || read_blocking(&brokers, &topic, wanted))
        .await
        .unwrap()
}

fn read_blocking(brokers: &str, topic: &str, wanted: usize) -> Vec<Seen> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "a test that only looks")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let metadata = consumer
        .fetch_metadata(Some(topic), Duration::from_secs(10))
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        partitions
            .add_partition_offset(topic, partition.id(), Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let mut seen: Vec<Seen> = Vec::new();
    let mut quiet_since = Instant::now();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(30) {
        match consumer.poll(Duration::from_millis(100)) {
            Some(record) => {
                seen.push(parse(&record.unwrap()));
                quiet_since = Instant::now();
            }
            // A little longer than needed, so that a record too many is seen, too.
            None if seen.len() >= wanted && quiet_since.elapsed() > Duration::from_millis(500) => {
                break;
            }
            None => {}
        }
    }
    seen
}

fn parse(record: &rdkafka::message::BorrowedMessage<'_>) -> Seen {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let headers: BTreeMap<String, String> = record
        .headers()
        .unwrap()
        .iter()
        .map(|header| (header.key.to_owned(), text(header.value.unwrap())))
        .collect();
    let header = |name: &str| {
        let value = headers.get(name).unwrap_or_else(|| panic!("no {name}"));
        value.clone()
    };
    Seen {
        ce_id: header("ce_id"),
        ce_type: header("ce_type"),
        key: text(record.key().unwrap()),
        value: serde_json::from_slice(record.payload().unwrap()).unwrap(),
        headers,
        partition: record.partition(),
    }
}

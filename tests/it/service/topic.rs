//! `verify --topic` on the real parts: clean after a sale, and not if a record is late, missing or foreign.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use firstcome::domain::Timestamp;
use firstcome::parts::broker::kafka::{Kafka, KafkaConfig, ReadError, RewindError};
use firstcome::parts::broker::{Consumed, Publisher, Record};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use tempfile::TempDir;

use super::process::{Service, command};
use super::real::{Parts, parts};
use super::records::{Seen, admin};
use super::sale::rush;
use crate::support::{real, unique, until};

const SOLD: u64 = 300;

/// The output of `verify --topic`, and whether it found no violation.
struct Verified {
    clean: bool,
    said: Value,
}

impl Verified {
    /// The finding about the only campaign.
    fn campaign(&self) -> &Value {
        let campaigns = &self.said["topic"]["verdict"]["campaigns"];
        assert_eq!(campaigns.as_array().unwrap().len(), 1, "{}", self.said);
        &campaigns[0]
    }

    fn contains(&self, text: &str) -> bool {
        self.said.to_string().contains(text)
    }
}

/// Verifies, with the topics of another prefix if one is given.
async fn verify(parts: &Parts, folder: &TempDir, prefix: Option<&str>) -> Verified {
    let mut command = command(folder, parts.settings());
    if let Some(prefix) = prefix {
        command.env("FIRSTCOME_KAFKA_TOPIC_PREFIX", prefix);
    }
    command.args(["verify", "--topic", "--json"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.unwrap().unwrap();
    let said = serde_json::from_slice(&output.stdout);
    Verified {
        clean: output.status.success(),
        said: said.unwrap_or_else(|error| panic!("{error}: {output:?}")),
    }
}

/// A campaign that was sold out, verified once everything is settled.
async fn sold(parts: &Parts, folder: &TempDir) -> Verified {
    let mut service = Service::start(folder, parts.settings()).await;
    let sale = rush(&service, SOLD, 400, 100).await;
    sale.is_exact(SOLD);
    // Under traffic the topic may have more events than the database has published, never fewer.
    let busy = verify(parts, folder, None).await;
    assert_eq!(busy.campaign()["lost"], 0, "{}", busy.said);
    until("all is published", || async {
        let id = firstcome::domain::CampaignId(sale.campaign);
        parts.test.store.counts(id).await.unwrap().pending == 0
    })
    .await;
    assert!(service.stop().await.success());
    verify(parts, folder, None).await
}

/// Writes records to a topic by hand.
struct Hand(FutureProducer);

impl Hand {
    fn new() -> Self {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", real("FIRSTCOME_KAFKA_BROKERS"))
            .create();
        Self(producer.unwrap())
    }

    async fn write(&self, topic: &str, partition: i32, record: &Seen) {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &record.headers {
            let value = Some(value);
            headers = headers.insert(Header { key, value });
        }
        let value = record.value.to_string();
        let record = FutureRecord::to(topic)
            .partition(partition)
            .key(&record.key)
            .payload(&value)
            .headers(headers);
        self.0.send(record, Duration::from_secs(10)).await.unwrap();
    }
}

fn topic(prefix: &str) -> String {
    format!("{prefix}.participation.v1")
}

/// An invented event of another change of the same participation.
fn another(record: &Seen, sequence: u32) -> Seen {
    let mut other = record.clone();
    other
        .headers
        .insert("ce_id".to_owned(), uuid::Uuid::now_v7().to_string());
    let sequence = sequence.to_string();
    other.headers.insert("ce_keysequence".to_owned(), sequence);
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_sale_the_topic_is_clean_also_with_redeliveries() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let verified = sold(&parts, &folder).await;
    assert!(verified.clean, "{}", verified.said);
    let found = verified.campaign();
    for (figure, expected) in [
        ("published", SOLD),
        ("distinct", SOLD),
        ("outOfOrder", 0),
        ("gaps", 0),
        ("moved", 0),
        ("lost", 0),
    ] {
        assert_eq!(found[figure], expected, "{figure} of {found}");
    }

    let records = parts.records(usize::try_from(SOLD).unwrap()).await;
    let again = &records[0];
    Hand::new()
        .write(&topic(&parts.prefix), again.partition, again)
        .await;
    let verified = verify(&parts, &folder, None).await;
    assert!(verified.clean, "{}", verified.said);
    let redelivered = verified.campaign()["redelivered"].as_u64();
    assert!(redelivered >= Some(1), "{}", verified.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_out_of_order_and_a_gap_are_named() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    sold(&parts, &folder).await;
    let records = parts.records(usize::try_from(SOLD).unwrap()).await;
    let (late, gap) = (&records[0], &records[1]);
    let (hand, topic) = (Hand::new(), topic(&parts.prefix));
    for sequence in [3, 2] {
        hand.write(&topic, late.partition, &another(late, sequence))
            .await;
    }
    let verified = verify(&parts, &folder, None).await;
    assert!(!verified.clean);
    assert_eq!(verified.campaign()["outOfOrder"], 1);
    assert_eq!(verified.campaign()["gaps"], 0);
    assert!(verified.contains("I8 1 events out of order"));
    assert!(
        verified.contains(&format!("key {}", late.key)),
        "{}",
        verified.said
    );

    hand.write(&topic, gap.partition, &another(gap, 5)).await;
    let verified = verify(&parts, &folder, None).await;
    assert_eq!(verified.campaign()["gaps"], 1);
    assert!(verified.contains(&format!("change 5 of {}", gap.key)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_topic_lacks_is_lost_unless_retention_took_it() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    sold(&parts, &folder).await;
    // The same topic again, without one of its records.
    let records = parts.records(usize::try_from(SOLD).unwrap()).await;
    let (other, hand) = (unique("it"), Hand::new());
    let copy = topic(&other);
    let new = NewTopic::new(&copy, 1, TopicReplication::Fixed(1));
    let created = admin().create_topics(&[new], &AdminOptions::new()).await;
    assert!(created.unwrap().iter().all(Result::is_ok));
    for record in records.iter().skip(1) {
        hand.write(&copy, 0, record).await;
    }
    let verified = verify(&parts, &folder, Some(&other)).await;
    assert!(!verified.clean);
    assert_eq!(verified.campaign()["lost"], 1);
    assert!(verified.contains("I4 1 events lost: 300 published, 299 in the topic"));
    let lost = &records[0].headers["ce_id"];
    let named = format!("event {lost} (change 1 of rank");
    assert!(verified.contains(&named), "{named}: {}", verified.said);

    // An invented one replaces the lost one: the counts agree.
    let phantom = another(&records[0], 1);
    hand.write(&copy, 0, &phantom).await;
    let verified = verify(&parts, &folder, Some(&other)).await;
    assert!(!verified.clean);
    let found = verified.campaign();
    assert_eq!(
        (&found["published"], &found["distinct"]),
        (&found["distinct"], &found["published"])
    );
    assert_eq!(
        (found["lost"].as_u64(), found["phantoms"].as_u64()),
        (Some(1), Some(1))
    );
    let phantom = &phantom.headers["ce_id"];
    for named in [
        named,
        format!("event {phantom} is in the topic and not in the database"),
    ] {
        assert!(verified.contains(&named), "{named}: {}", verified.said);
    }

    remove_first(&copy).await;
    let verified = verify(&parts, &folder, Some(&other)).await;
    assert_eq!(verified.said["topic"]["verdict"]["beginningIsGone"], true);
    assert_eq!(verified.campaign()["lost"], Value::Null);
    // Phantoms are reported in any case.
    assert!(!verified.clean, "{}", verified.said);
    assert_eq!(verified.campaign()["phantoms"], 1);
}

/// Removes the first record of a partition, as retention does.
async fn remove_first(topic: &str) {
    let mut until = TopicPartitionList::new();
    until
        .add_partition_offset(topic, 0, Offset::Offset(1))
        .unwrap();
    admin()
        .delete_records(&until, &AdminOptions::new())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_stops_at_the_end_of_the_topic_or_at_its_deadline() {
    let embedded = Kafka::embedded(KafkaConfig::default()).await.unwrap();
    embedded.create_topics(&["t".to_owned()], 3).await.unwrap();
    for key in ["a", "b", "c", "d"] {
        let record = Record {
            topic: "t".to_owned(),
            key: key.to_owned(),
            payload: "{}".to_owned(),
            headers: Vec::new(),
        };
        embedded.publish(&record).await.unwrap();
    }
    let config = KafkaConfig {
        brokers: Some(embedded.bootstrap_servers()),
        ..KafkaConfig::default()
    };
    let kafka = Kafka::connect(config).await.unwrap();
    let read = async |within| {
        let keys: Vec<Vec<u8>> = Vec::new();
        let feed = |keys: &mut Vec<Vec<u8>>, record: &Consumed<'_>| {
            keys.push(record.key.unwrap().to_vec());
        };
        kafka.read_topic("t", within, keys, feed).await
    };
    let (mut keys, extents) = read(Duration::from_secs(30)).await.unwrap();
    keys.sort();
    assert_eq!(keys, [b"a", b"b", b"c", b"d"]);
    assert_eq!(extents.iter().map(|extent| extent.to).sum::<i64>(), 4);
    let late = read(Duration::ZERO).await.unwrap_err();
    assert!(matches!(late, ReadError::Late { left: 4, .. }), "{late}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_topic_is_reported_in_one_line() {
    let parts = parts().await;
    let folder = TempDir::new().unwrap();
    let said = async |configure: fn(&mut std::process::Command)| {
        let mut command = command(&folder, parts.settings());
        configure(&mut command);
        command.args(["verify", "--topic"]);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.unwrap().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let none = said(|command| {
        command.env_remove("FIRSTCOME_KAFKA_BROKERS");
    });
    let none = none.await;
    assert!(none.contains("(set FIRSTCOME_KAFKA_BROKERS)"), "{none}");
    let missing = said(|_| {}).await;
    assert!(missing.contains("there is no such topic"), "{missing}");
}

/// Consumes the records of a topic in a group until it has committed the first; the group has a member until it is dropped.
fn member(topic: &str, group: &str) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", real("FIRSTCOME_KAFKA_BROKERS"))
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < Duration::from_secs(60), "no record");
        if let Some(record) = consumer.poll(Duration::from_millis(100)) {
            consumer
                .commit_message(&record.unwrap(), CommitMode::Sync)
                .unwrap();
            return consumer;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_set_back_only_without_members_and_never_forward() {
    let config = KafkaConfig {
        brokers: Some(real("FIRSTCOME_KAFKA_BROKERS")),
        ..KafkaConfig::default()
    };
    let kafka = Kafka::connect(config).await.unwrap();
    let (topic, group) = (unique("rewound"), unique("group"));
    kafka
        .create_topics(std::slice::from_ref(&topic), 1)
        .await
        .unwrap();
    let record = Record {
        topic: topic.clone(),
        key: "a".to_owned(),
        payload: "{}".to_owned(),
        headers: Vec::new(),
    };
    kafka.publish(&record).await.unwrap();
    let (of, name) = (topic.clone(), group.clone());
    let member = tokio::task::spawn_blocking(move || member(&of, &name));
    let member = member.await.unwrap();
    let rewound = async |to| kafka.rewind(&group, &topic, to).await;
    let later = Timestamp::UNIX_EPOCH + TimeDelta::days(100_000);
    // Nothing would be set back, and it is refused all the same.
    let refused = rewound(later).await.unwrap_err();
    assert!(matches!(refused, RewindError::Refused { .. }), "{refused}");
    tokio::task::spawn_blocking(move || drop(member))
        .await
        .unwrap();
    until("the group has no member", async || {
        kafka.members(&group).await.unwrap() == 0
    })
    .await;
    assert_eq!(rewound(later).await.unwrap(), 0);
    assert_eq!(rewound(Timestamp::UNIX_EPOCH).await.unwrap(), 1);
    assert_eq!(rewound(Timestamp::UNIX_EPOCH).await.unwrap(), 0);
    assert_eq!(rewound(later).await.unwrap(), 0);
}

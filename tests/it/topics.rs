//! Metadata of topics from the brokers, on three of librdkafka's mock brokers.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use firstcome::domain::Timestamp;
use firstcome::parts::broker::kafka::{Extent, Kafka, KafkaConfig, PartitionState, ReadError};
use firstcome::parts::broker::{PublishError, Publisher, Record};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// Three brokers with the topic `t`: partition 0 led by broker 1, and so on.
async fn scene() -> (Cluster, Arc<Kafka>) {
    let cluster = MockCluster::new(3).unwrap();
    cluster.create_topic("t", 3, 3).unwrap();
    for partition in 0..3 {
        let leader = Some(partition + 1);
        cluster.partition_leader("t", partition, leader).unwrap();
    }
    let config = KafkaConfig {
        brokers: Some(cluster.bootstrap_servers()),
        metadata_timeout: Duration::from_secs(2),
        ..KafkaConfig::default()
    };
    let kafka = Kafka::connect(config).await.unwrap();
    (cluster, kafka)
}

/// The partitions of topics, each with the name of its topic.
async fn look(kafka: &Kafka, names: &[&str]) -> Vec<(String, Option<Vec<PartitionState>>)> {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let topics = kafka.topics(names).await.unwrap().into_iter();
    topics.map(|topic| (topic.name, topic.partitions)).collect()
}

async fn partitions(kafka: &Kafka) -> Vec<PartitionState> {
    look(kafka, &["t"]).await.remove(0).1.unwrap()
}

fn partition(number: i32, leader: Option<i32>, to: Option<i64>) -> PartitionState {
    let extent = to.map(|to| Extent {
        partition: number,
        from: 0,
        to,
    });
    PartitionState {
        number,
        leader,
        replicas: 3,
        in_sync: 3,
        extent,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_have_their_leaders_copies_and_offsets() {
    let (_cluster, kafka) = scene().await;
    let record = Record {
        topic: "t".to_owned(),
        key: "a".to_owned(),
        payload: "{}".to_owned(),
        headers: Vec::new(),
    };
    let into = kafka.publish(&record).await.unwrap().partition;
    let end = |number| Some(i64::from(number == into));
    assert_eq!(
        partitions(&kafka).await,
        [0, 1, 2].map(|number| partition(number, Some(number + 1), end(number)))
    );
}

/// The mock brokers create every topic that a request names.
#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_of_a_topic_does_not_create_it() {
    let (_cluster, kafka) = scene().await;
    for _ in 0..2 {
        let found = look(&kafka, &["missing", "t"]).await;
        let found: Vec<_> = found
            .iter()
            .map(|(name, partitions)| (name.as_str(), partitions.as_ref().map(Vec::len)))
            .collect();
        assert_eq!(found, [("missing", None), ("t", Some(3))]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_leader_hides_only_its_own_offsets() {
    let (cluster, kafka) = scene().await;
    cluster.broker_down(1).unwrap();
    assert_eq!(
        partitions(&kafka).await,
        [
            partition(0, Some(1), None),
            partition(1, Some(2), Some(0)),
            partition(2, Some(3), Some(0))
        ]
    );
    cluster.partition_leader("t", 0, None).unwrap();
    assert_eq!(partitions(&kafka).await[0], partition(0, None, None));
    cluster.broker_up(1).unwrap();
    cluster.partition_leader("t", 0, Some(1)).unwrap();
    crate::support::until("it answers again", async || {
        partitions(&kafka).await[0] == partition(0, Some(1), Some(0))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_all_brokers_down_a_lookup_of_topics_fails_as_unavailable() {
    let (cluster, kafka) = scene().await;
    cluster.broker_down(-1).unwrap();
    let asked = kafka.topics(vec!["t".to_owned()]).await;
    assert!(matches!(asked, Err(PublishError::Away(_))), "{asked:?}");
}

/// A new leader answers `OFFSET_NOT_AVAILABLE` until its followers have caught up; librdkafka does not repeat the
/// request.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_a_topic_waits_for_the_leader_to_know_its_end() {
    let (cluster, kafka) = scene().await;
    let not_yet = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE; 12];
    cluster.request_errors(RDKafkaApiKey::ListOffsets, &not_yet);
    let read = kafka.read_topic("t", Duration::from_secs(60), (), |(), _| {});
    let ((), extents) = read.await.unwrap();
    assert_eq!(extents.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_a_topic_ends_in_time_if_no_leader_knows_its_end() {
    let (cluster, kafka) = scene().await;
    let never = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE; 1000];
    cluster.request_errors(RDKafkaApiKey::ListOffsets, &never);
    let read = kafka.read_topic("t", Duration::from_secs(3), (), |(), _| {});
    let refused = read.await.unwrap_err();
    assert!(matches!(refused, ReadError::Refused { .. }), "{refused}");
}

/// Takes the leader of partition 1, and elects another one when work that needs a leader has begun and waits.
async fn while_a_partition_has_no_leader<T>(cluster: &Cluster, work: impl Future<Output = T>) -> T {
    cluster.partition_leader("t", 1, None).unwrap();
    let mut work = pin!(work);
    let early = tokio::time::timeout(Duration::from_secs(1), &mut work).await;
    assert!(early.is_err(), "it did not wait for the leader");
    cluster.partition_leader("t", 1, Some(3)).unwrap();
    work.await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_a_topic_waits_for_the_election_of_a_leader() {
    let (cluster, kafka) = scene().await;
    let read = kafka.read_topic("t", Duration::from_secs(60), (), |(), _| {});
    let read = while_a_partition_has_no_leader(&cluster, read).await;
    assert_eq!(read.unwrap().1.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_not_set_back_without_the_partitions_that_have_no_leader() {
    let (cluster, kafka) = scene().await;
    let set_back = kafka.rewind("g", "t", Timestamp::UNIX_EPOCH);
    let set_back = while_a_partition_has_no_leader(&cluster, set_back).await;
    assert_eq!(set_back.unwrap(), 0);
}

//! One connection hangs while others to the same brokers work. The relay queries the state of a record through
//! the connection that hangs: a record that was never sent is not charged as one that may have arrived.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use firstcome::parts::broker::kafka::{Kafka, KafkaConfig};
use firstcome::parts::broker::{PublishError, Publisher, Record};
use rdkafka::mocking::MockCluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::spare::Spare;
use crate::support::until;

/// A record with this in its payload marks its connection.
const MARK: &str = "goes through the connection that will hang";

fn record(key: &str, payload: &str) -> Record {
    Record {
        topic: "t".to_owned(),
        key: key.to_owned(),
        payload: payload.to_owned(),
        headers: Vec::new(),
    }
}

fn config(brokers: String) -> KafkaConfig {
    KafkaConfig {
        brokers: Some(brokers),
        producers: 2,
        message_timeout: Duration::from_millis(1_500),
        metadata_timeout: Duration::from_secs(2),
        compression: "none".to_owned(),
        ..KafkaConfig::default()
    }
}

/// A key for each partition. The first producer, which handles general queries, has partition 0.
async fn keys(kafka: &Kafka) -> [String; 2] {
    assert_eq!(kafka.partitions("t").await.unwrap(), 2);
    let mut keys = [None, None];
    for nth in 0..100 {
        let key = format!("key-{nth}");
        let into = kafka.publish(&record(&key, "{}")).await.unwrap().partition;
        keys[usize::try_from(into).unwrap()].get_or_insert(key);
        if keys.iter().all(Option::is_some) {
            break;
        }
    }
    keys.map(Option::unwrap)
}

/// A proxy in front of a broker whose connections can be made to hang.
struct Proxy {
    address: SocketAddr,
    /// Until the address is known, no connection is accepted.
    target: Arc<OnceLock<SocketAddr>>,
    hangs: watch::Sender<bool>,
}

impl Proxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            target: Arc::default(),
            hangs: watch::Sender::new(false),
        };
        let (target, hangs) = (Arc::clone(&proxy.target), proxy.hangs.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let is_new = *hangs.borrow();
                if let Some(target) = target.get() {
                    tokio::spawn(carry(client, *target, hangs.clone(), is_new));
                }
            }
        });
        proxy
    }
}

/// Forwards until it must hang; then marked and new connections forward nothing, until it must continue.
async fn carry(
    mut client: TcpStream,
    target: SocketAddr,
    hangs: watch::Receiver<bool>,
    is_new: bool,
) {
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    let is_marked = AtomicBool::new(is_new);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        () = pass(from_client, to_server, &is_marked, hangs.clone()) => {}
        () = pass(from_server, to_client, &is_marked, hangs) => {}
    }
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    is_marked: &AtomicBool,
    mut hangs: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..read];
        if bytes
            .windows(MARK.len())
            .any(|window| window == MARK.as_bytes())
        {
            is_marked.store(true, Ordering::SeqCst);
        }
        if is_marked.load(Ordering::SeqCst) && hangs.wait_for(|hangs| !hangs).await.is_err() {
            return;
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

/// If a producer is bootstrapped through the proxy, it has only the connection that hangs; otherwise another
/// connection to the same broker serves metadata, and records use the one that hangs.
async fn hangs_and_recovers(proxy: &Proxy, bootstrap: String) {
    let kafka = Kafka::connect(config(bootstrap)).await.unwrap();
    let topics = ["t".to_owned()];
    kafka.create_topics(&topics, 2).await.unwrap();
    let [works, hangs] = keys(&kafka).await;
    kafka.publish(&record(&hangs, MARK)).await.unwrap();
    proxy.hangs.send_replace(true);
    for nth in 0..3 {
        let sent = kafka.publish(&record(&hangs, "{}")).await;
        assert!(
            matches!(
                sent,
                Err(PublishError::Away(_) | PublishError::Partition(_))
            ),
            "{nth}: {sent:?}"
        );
        kafka.publish(&record(&works, "{}")).await.unwrap();
    }
    proxy.hangs.send_replace(false);
    until("it goes on", async || {
        kafka.publish(&record(&hangs, "{}")).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_connection_hangs_is_not_charged_while_others_work() {
    let proxy = Proxy::start().await;
    let settings = [format!(
        "advertised.listeners=PLAINTEXT://{}",
        proxy.address
    )];
    let settings = settings.each_ref().map(String::as_str);
    // The check for readiness may go through the proxy.
    let (broker, ()) = tokio::join!(Spare::up("kafka", "hung", &settings), async {
        let address = Spare::address_of("hung").await;
        proxy.target.set(address.parse().unwrap()).unwrap();
    });
    hangs_and_recovers(&proxy, proxy.address.to_string()).await;
    hangs_and_recovers(&proxy, broker.address.clone()).await;
    broker.stop().await;
}

/// Two of librdkafka's mock brokers: the one that serves metadata is not the leader of the partition.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_leader_is_silent_is_not_charged_while_another_broker_answers() {
    let cluster = MockCluster::new(2).unwrap();
    cluster.create_topic("t", 2, 1).unwrap();
    for partition in 0..2 {
        let leader = Some(partition + 1);
        cluster.partition_leader("t", partition, leader).unwrap();
    }
    let kafka = Kafka::connect(config(cluster.bootstrap_servers())).await;
    let kafka = kafka.unwrap();
    let [works, hangs] = keys(&kafka).await;
    cluster
        .broker_round_trip_time(2, Duration::from_secs(60))
        .unwrap();
    for nth in 0..2 {
        let sent = kafka.publish(&record(&hangs, "{}")).await;
        assert!(
            matches!(
                sent,
                Err(PublishError::Away(_) | PublishError::Partition(_))
            ),
            "{nth}: {sent:?}"
        );
        kafka.publish(&record(&works, "{}")).await.unwrap();
    }
}

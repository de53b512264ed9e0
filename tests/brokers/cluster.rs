//! Three brokers of one cluster, each of them also a controller, and a proxy before each. Clients get the addresses of
//! the proxies, also from the brokers themselves; among each other the brokers use listeners of their own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::proxy::{Mode, Proxy};
use crate::sale::clock;
use crate::spare::Spare;

/// Longest wait for a state of the cluster that must come.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a broker is asked before it counts as silent.
const ANSWER_MAX: Duration = Duration::from_secs(3);
const ASK_AGAIN: Duration = Duration::from_millis(200);

pub struct Broker {
    pub id: i32,
    pub proxy: Proxy,
    part: Spare,
    /// The listener for other brokers, which no proxy is before.
    inner: SocketAddr,
}

fn stem(id: i32) -> String {
    format!("broker-{id}")
}

impl Broker {
    /// Starts it, which takes until most controllers run. Its proxy must be there first: the broker tells its address
    /// to clients.
    async fn up(id: i32) -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        let proxy = Proxy::start(nowhere).await;
        let node = format!("node.id={id}");
        let voters = (1..=3).map(|id| {
            let (stem, process) = (stem(id), std::process::id());
            format!("{id}@127.0.0.1:@next:{stem}-{process}")
        });
        let voters: Vec<String> = voters.collect();
        let voters = format!("controller.quorum.voters={}", voters.join(","));
        let roles = broker_and_controller(&proxy);
        let files = clock::files();
        let files = files.path().to_str().unwrap();
        let mut settings = vec!["--files", files, node.as_str(), voters.as_str()];
        settings.extend(SETTINGS);
        settings.extend(roles.iter().map(String::as_str));
        let part = Spare::up("kafka", &stem(id), &settings).await;
        let address: SocketAddr = part.address.parse().unwrap();
        proxy.redirect(address);
        Self {
            id,
            proxy,
            part,
            // `@third`
            inner: SocketAddr::new(address.ip(), address.port() + 2),
        }
    }
}

/// The settings of all brokers.
const SETTINGS: [&str; 14] = [
    "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name=BROKERS",
    "default.replication.factor=3",
    "min.insync.replicas=2",
    "offsets.topic.replication.factor=3",
    "transaction.state.log.replication.factor=3",
    "transaction.state.log.min.isr=2",
    "share.coordinator.state.topic.replication.factor=3",
    "share.coordinator.state.topic.min.isr=2",
    // A broker that is away or slow is soon out of sync.
    "replica.lag.time.max.ms=3000",
    "broker.heartbeat.interval.ms=500",
    // Leaders return to the brokers that should have them.
    "leader.imbalance.check.interval.seconds=5",
    "unclean.leader.election.enable=false",
    // Old records are deleted soon, if there are any.
    "log.retention.check.interval.ms=1000",
];

fn broker_and_controller(proxy: &Proxy) -> [String; 3] {
    [
        "process.roles=broker,controller".to_owned(),
        "listeners=PLAINTEXT://127.0.0.1:@port,BROKERS://127.0.0.1:@third,CONTROLLER://127.0.0.1:@next"
            .to_owned(),
        format!(
            "advertised.listeners=PLAINTEXT://{},BROKERS://127.0.0.1:@third",
            proxy.address
        ),
    ]
}

/// A node that has a vote and no records.
const ONLY_CONTROLLER: [&str; 3] = [
    "process.roles=controller",
    "listeners=CONTROLLER://127.0.0.1:@next",
    "advertised.listeners=CONTROLLER://127.0.0.1:@next",
];

/// A topic, as one of the brokers reports it.
#[derive(Clone, Debug)]
pub struct View {
    /// Known brokers.
    pub brokers: usize,
    pub partitions: Vec<PartitionView>,
}

#[derive(Clone, Debug)]
pub struct PartitionView {
    /// −1: it has none.
    pub leader: i32,
    pub in_sync: Vec<i32>,
}

impl View {
    /// Whether each partition has the records of this broker, and of how many in total.
    pub fn all_in_sync(&self, count: usize) -> bool {
        let mut partitions = self.partitions.iter();
        partitions.all(|one| one.in_sync.len() == count && one.leader >= 0)
    }

    pub fn all_without(&self, broker: i32) -> bool {
        let mut partitions = self.partitions.iter();
        partitions.all(|one| !one.in_sync.contains(&broker))
    }

    /// The leaders of the partitions, in order.
    pub fn leaders(&self) -> Vec<i32> {
        self.partitions.iter().map(|one| one.leader).collect()
    }
}

pub struct Cluster {
    pub brokers: [Broker; 3],
}

impl Cluster {
    pub async fn up() -> Self {
        let (first, second, third) = tokio::join!(Broker::up(1), Broker::up(2), Broker::up(3));
        Self {
            brokers: [first, second, third],
        }
    }

    /// All brokers run, and all proxies forward.
    pub async fn begin(&self) {
        self.set_proxies(Mode::Pass);
        self.start(&[0, 1, 2]).await;
    }

    /// The addresses of the proxies.
    pub fn addresses(&self) -> String {
        let addresses = self.brokers.iter().map(|one| one.proxy.address.to_string());
        addresses.collect::<Vec<_>>().join(",")
    }

    /// The addresses that no proxy is before.
    fn inner_addresses(&self) -> String {
        let addresses = self.brokers.iter().map(|one| one.inner.to_string());
        addresses.collect::<Vec<_>>().join(",")
    }

    pub fn set_proxies(&self, mode: Mode) {
        for broker in &self.brokers {
            broker.proxy.set(mode);
        }
    }

    /// Deviations of all proxies so far.
    pub fn harm(&self) -> u64 {
        let brokers = self.brokers.iter();
        brokers.map(|broker| broker.proxy.harm.total()).sum()
    }

    pub fn id(&self, nth: usize) -> i32 {
        self.brokers[nth].id
    }

    /// SIGKILL, to all at once.
    pub async fn kill(&self, which: &[usize]) {
        join_all(which.iter().map(|nth| self.brokers[*nth].part.kill())).await;
    }

    /// Starts those that do not run, and waits until they answer.
    pub async fn start(&self, which: &[usize]) {
        join_all(which.iter().map(|nth| self.brokers[*nth].part.start())).await;
    }

    /// SIGTERM: it gives its leaders to the others first.
    pub async fn stop(&self, nth: usize) {
        self.brokers[nth].part.stop().await;
    }

    /// SIGSTOP: connections stay open and silent.
    pub async fn pause(&self, nth: usize) {
        self.brokers[nth].part.pause().await;
    }

    /// SIGCONT.
    pub async fn resume(&self, nth: usize) {
        self.brokers[nth].part.resume().await;
    }

    /// Sets the clock of a broker to the true time plus this offset.
    pub async fn set_clock(&self, nth: usize, offset_seconds: i64) {
        clock::set(&self.brokers[nth].part, offset_seconds).await;
        clock::assert_is(offset_seconds, self.time_of(nth).await);
    }

    /// The time that a broker gives a record now, in seconds since 1970.
    async fn time_of(&self, nth: usize) -> i64 {
        let name = format!("time-{}", uuid::Uuid::now_v7());
        let id = [self.brokers[nth].id];
        let replicas: [&[i32]; 1] = [&id];
        let topic = NewTopic::new(&name, 1, TopicReplication::Variable(&replicas))
            .set("message.timestamp.type", "LogAppendTime")
            .set("min.insync.replicas", "1");
        let (admin, options) = (self.admin(), AdminOptions::new());
        for made in admin.create_topics([&topic], &options).await.unwrap() {
            made.unwrap();
        }
        let producer: FutureProducer = self.client().create().unwrap();
        let record = FutureRecord::<(), str>::to(&name).payload("what time is it?");
        let delivery = producer.send(record, PATIENCE).await.unwrap();
        for deleted in admin.delete_topics(&[&name], &options).await.unwrap() {
            deleted.unwrap();
        }
        delivery.timestamp.to_millis().unwrap() / 1_000
    }

    /// From its next start on it is only a controller.
    pub async fn make_controller(&self, nth: usize) {
        self.brokers[nth].part.set(&ONLY_CONTROLLER).await;
    }

    /// From its next start on it is a broker again.
    pub async fn make_broker(&self, nth: usize) {
        let broker = &self.brokers[nth];
        let settings = broker_and_controller(&broker.proxy);
        let settings = settings.iter().map(String::as_str);
        broker.part.set(&settings.collect::<Vec<_>>()).await;
    }

    /// A topic as it is now; none: no broker answers.
    pub async fn view(&self, topic: &str) -> Option<View> {
        let client = self.client();
        let topic = topic.to_owned();
        let view = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = client.create().unwrap();
            let metadata = consumer.fetch_metadata(Some(&topic), ANSWER_MAX).ok()?;
            let topic = metadata.topics().first()?;
            let partitions = topic.partitions().iter().map(|one| PartitionView {
                leader: one.leader(),
                in_sync: one.isr().to_vec(),
            });
            Some(View {
                brokers: metadata.brokers().len(),
                partitions: partitions.collect(),
            })
        });
        view.await.unwrap()
    }

    /// Waits until a topic is in a state. Returns it.
    pub async fn until(&self, topic: &str, what: &str, holds: impl Fn(&View) -> bool) -> View {
        let began = Instant::now();
        loop {
            let view = self.view(topic).await;
            if let Some(view) = view
                .clone()
                .filter(|view| !view.partitions.is_empty() && holds(view))
            {
                return view;
            }
            let waited = began.elapsed();
            assert!(waited < PATIENCE, "{what}: not after {waited:?}: {view:?}");
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Waits until each partition has three in-sync replicas.
    pub async fn until_whole(&self, topic: &str) {
        let is_whole = |view: &View| view.brokers == 3 && view.all_in_sync(3);
        self.until(topic, "all replicas are in sync", is_whole)
            .await;
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.inner_addresses());
        client
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    /// Sets one setting of topics; their other settings return to those of the brokers.
    pub async fn configure(&self, topics: &[String], name: &str, value: &str) {
        let configs: Vec<AlterConfig<'_>> = topics
            .iter()
            .map(|topic| AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value))
            .collect();
        let (admin, options) = (self.admin(), AdminOptions::new());
        let altered = admin.alter_configs(&configs, &options).await;
        for altered in altered.unwrap() {
            altered.unwrap();
        }
    }

    /// Increases the number of partitions of a topic.
    pub async fn add_partitions(&self, topic: &str, count: usize) {
        let wanted = [NewPartitions::new(topic, count)];
        let (admin, options) = (self.admin(), AdminOptions::new());
        let made = admin.create_partitions(&wanted, &options).await;
        for made in made.unwrap() {
            made.unwrap();
        }
    }
}

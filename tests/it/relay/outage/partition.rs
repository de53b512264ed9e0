//! The relay while partitions accept nothing, though the brokers answer: too few in-sync replicas, no leader, a
//! quota.

use std::time::{Duration, Instant};

use firstcome::domain::{OutboxEvent, Topic, key_hash};
use firstcome::parts::broker::kafka::KafkaConfig;

use super::quotas;
use super::scene::{Scene, failures, waves};
use super::spare::{self, FIRST, Pair, SECOND};
use crate::relay::bench::{Running, events_from, kafka, until};

/// How long a partition accepts nothing. If each timeout charged an attempt, there would be a dead letter within a
/// third of it.
const OUTAGE: Duration = Duration::from_secs(20);

/// An event of the other stream.
fn of_other_stream(nth: u32) -> OutboxEvent {
    let mut event = events_from(1_000 + nth, 1, 1).remove(0);
    event.topic = Topic::Campaign;
    event
}

/// A relay while the second of two brokers is down.
struct Outage {
    scene: Scene,
    running: Running,
    waves: Vec<Vec<OutboxEvent>>,
    began: Instant,
}

impl Outage {
    /// The second broker is killed while rows are committed and in flight.
    async fn begin(pair: &Pair, scene: Scene) -> Self {
        scene.create_on(&[FIRST], &scene.other, &[]).await;
        let waves = waves(30, 4);
        let running = scene.at_work(&waves[0]).await;
        scene.bench.settled().await;
        tokio::join!(scene.commit(&waves[1]), pair.second.kill());
        let began = Instant::now();
        scene.commit(&waves[2]).await;
        scene.held_back(&running).await;
        Self {
            scene,
            running,
            waves,
            began,
        }
    }

    /// Meanwhile the other topic gets its events, and no attempt is charged. At the end the cause is known for each
    /// partition.
    /// each partition.
    async fn other_topics_continue(&self, lacking: &str) {
        let scene = &self.scene;
        let mut others = 0;
        while self.began.elapsed() < OUTAGE {
            scene.commit(&[of_other_stream(others)]).await;
            others += 1;
            until("the other topic has its event", async || {
                scene.records_in(&scene.other).await == i64::from(others)
            })
            .await;
            let waiting = scene.waiting(&self.running).await;
            assert!(waiting >= 30, "{waiting} rows of 30 committed since wait");
        }
        assert!(others > 5, "{others} events of the other topic");
        assert!(failures(&self.running, "partition_away") > 0);
        assert_eq!(failures(&self.running, "possibly_delivered"), 0);
        let said = scene.lacks(&self.waves[2][0]).await;
        assert!(said.contains(lacking), "{said}");
    }

    async fn ends(self, pair: &Pair) {
        pair.second.start().await;
        self.scene.commit(&self.waves[3]).await;
        self.scene
            .ends_well(self.running, &self.waves.concat())
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_in_sync_replicas_only_delay() {
    let pair = spare::pair().await;
    let scene = Scene::on(&pair.addresses()).await;
    let both = [("min.insync.replicas", "2")];
    for topic in [&scene.topic, &scene.copies] {
        scene.create_on(&[SECOND, FIRST], topic, &both).await;
    }
    let outage = Outage::begin(&pair, scene).await;
    outage
        .other_topics_continue("has 1 of 2 in-sync replicas")
        .await;
    outage.ends(&pair).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_without_a_leader_only_delay() {
    let pair = spare::pair().await;
    let scene = Scene::on(&pair.addresses()).await;
    for topic in [&scene.topic, &scene.copies] {
        scene.create_on(&[SECOND], topic, &[]).await;
    }
    let outage = Outage::begin(&pair, scene).await;
    outage.other_topics_continue("has no leader").await;
    outage.ends(&pair).await;
}

/// The partition of an event, of three.
fn partition_of(event: &OutboxEvent) -> u32 {
    key_hash(&event.key) % 3
}

/// Rows of that partition, or of the others: two changes of each participation.
fn rows_of(range: std::ops::Range<u32>, wanted: impl Fn(u32) -> bool) -> Vec<OutboxEvent> {
    let events = events_from(range.start, range.end - range.start, 2).into_iter();
    events.filter(|event| wanted(partition_of(event))).collect()
}

/// The rows of the partition are older than the others, and more than a poll reads or a probe sends. No rows
/// are handed over: they come only from the poll, as in a process that only publishes.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_partitions_that_accepts_nothing_delays_no_other() {
    const AWAY: u32 = 2;
    let pair = spare::pair().await;
    let scene = Scene::on(&pair.addresses()).await.reading(50);
    let spread: [&[i32]; 3] = [&[FIRST], &[FIRST], &[SECOND]];
    for topic in [&scene.topic, &scene.copies] {
        scene.create_spread(&spread, topic, &[]).await;
    }
    let first = rows_of(0..30, |_| true);
    let running = scene.at_work(&first).await;
    scene.bench.settled().await;
    pair.second.kill().await;
    let stuck = rows_of(1_000..1_300, |partition| partition == AWAY);
    assert!(stuck.len() > 100, "{} rows", stuck.len());
    scene.bench.commit_together(&stuck).await;
    scene.held_back(&running).await;
    let mut all = [first, stuck.clone()].concat();
    for round in 2..4 {
        let others = rows_of(round * 1_000..round * 1_000 + 100, |partition| {
            partition != AWAY
        });
        scene.bench.commit_together(&others).await;
        until("the other partitions have their rows", async || {
            usize::try_from(scene.unsettled().await).unwrap() == stuck.len()
        })
        .await;
        all.extend(others);
    }
    assert!(!running.handle.is_publishing(), "a partition is away");
    assert_eq!(running.handle.metrics().partitions_away.get(), 1);
    assert_eq!(failures(&running, "possibly_delivered"), 0);
    pair.second.start().await;
    scene.ends_well(running, &all).await;
}

/// A throttling broker acknowledges its records, and then reads nothing for seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_throttling_quota_only_delays() {
    let broker = spare::shared().await;
    let client_id = "throttled";
    let settings = KafkaConfig {
        client_id: client_id.to_owned(),
        ..kafka()
    };
    let scene = Scene::with(&broker.address, settings).await;
    let waves = waves(30, 4);
    let running = scene.at_work(&waves[0]).await;
    scene.bench.settled().await;
    quotas::limit(&broker.address, client_id, Some(100.0)).await;
    scene.commit(&waves[1]).await;
    scene.commit(&waves[2]).await;
    scene.held_back(&running).await;
    let began = Instant::now();
    while began.elapsed() < OUTAGE / 2 {
        scene.waiting(&running).await;
    }
    assert_eq!(failures(&running, "possibly_delivered"), 0);
    quotas::limit(&broker.address, client_id, None).await;
    scene.commit(&waves[3]).await;
    scene.ends_well(running, &waves.concat()).await;
}

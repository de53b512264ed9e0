//! Several replicas as processes that are killed, paused beyond their leases, stopped and started by a
//! random schedule while events are committed: nothing is lost, and no key's events come out of order
//! but for re-deliveries.
//!
//! Two seeds by default; `FIRSTCOME_TEST_SEEDS=100..120` runs those.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use firstcome::domain::{CampaignId, KeyChoice, OutboxEvent, Participation, Topic};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use super::bench::{Bench, Consumed, consume_all, events, participation, until};
use crate::service::process::{ADMIN_TOKEN, Settings, command};
use crate::support::{real, unique};

/// Duration of the schedule.
const CHAOS: Duration = Duration::from_secs(12);
/// The replicas' lease; a pause is longer.
const LEASE: Duration = Duration::from_secs(4);
const REPLICAS_MAX: usize = 3;
const KEYS: u32 = 60;
const STREAMS: u32 = 7;

/// An action on a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    Pause,
    Leave,
}

enum State {
    Running,
    Paused { until: Instant },
    Down { until: Instant },
}

struct Replica {
    child: Child,
    state: State,
    /// `serve` or `relay`.
    role: &'static str,
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It may have ended already; this also ends a paused process.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

struct Stage<'a> {
    folder: TempDir,
    settings: Settings<'a>,
    replicas: Vec<Replica>,
    started: u32,
    faults: BTreeMap<Fault, u32>,
    joins: u32,
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    Command::new("kill")
        .args(["-s", name, &pid])
        .status()
        .unwrap();
}

impl Stage<'_> {
    fn spawn(&mut self, role: &'static str) -> Child {
        self.started += 1;
        let log = self.folder.path().join(format!("{role}-{}", self.started));
        command(&self.folder, self.settings)
            .arg(role)
            .env("FIRSTCOME_KAFKA_MESSAGE_TIMEOUT", "1s")
            .env("FIRSTCOME_RELAY_LEASE", humantime(LEASE))
            .stdout(Stdio::null())
            .stderr(File::create(log).unwrap())
            .spawn()
            .unwrap()
    }

    fn join(&mut self, role: &'static str) {
        let child = self.spawn(role);
        let state = State::Running;
        self.replicas.push(Replica { child, state, role });
    }

    /// Ends finished actions, and performs the next one on a running replica.
    fn step(&mut self, random: &mut StdRng) {
        let now = Instant::now();
        for nth in 0..self.replicas.len() {
            match self.replicas[nth].state {
                State::Paused { until } if now >= until => {
                    signal(&self.replicas[nth].child, "CONT");
                    self.replicas[nth].state = State::Running;
                }
                State::Down { until } if now >= until => {
                    let role = self.replicas[nth].role;
                    self.replicas[nth].child.kill().ok();
                    self.replicas[nth].child.wait().ok();
                    self.replicas[nth].child = self.spawn(role);
                    self.replicas[nth].state = State::Running;
                }
                _ => {}
            }
        }
        if random.random_ratio(1, 12) {
            self.strike(random, now);
        }
    }

    fn strike(&mut self, random: &mut StdRng, now: Instant) {
        if self.replicas.len() < REPLICAS_MAX && random.random_ratio(1, 3) {
            self.joins += 1;
            return self.join("relay");
        }
        let nth = random.random_range(0..self.replicas.len());
        let replica = &mut self.replicas[nth];
        if !matches!(replica.state, State::Running) {
            return;
        }
        let back = |from: u64, to: u64, random: &mut StdRng| {
            now + Duration::from_millis(random.random_range(from..to))
        };
        let fault = match random.random_range(0..4) {
            0 | 1 => Fault::Kill,
            2 => Fault::Pause,
            _ => Fault::Leave,
        };
        replica.state = match fault {
            Fault::Kill => {
                replica.child.kill().unwrap();
                let until = back(0, 2_000, random);
                State::Down { until }
            }
            Fault::Pause => {
                signal(&replica.child, "STOP");
                let lease = u64::try_from(LEASE.as_millis()).unwrap();
                let until = back(lease + 300, lease + 2_000, random);
                State::Paused { until }
            }
            Fault::Leave => {
                signal(&replica.child, "TERM");
                // A replica that has not stopped by then is killed.
                let until = back(1_000, 3_000, random);
                State::Down { until }
            }
        };
        *self.faults.entry(fault).or_default() += 1;
    }

    /// All replicas run again.
    fn heal(&mut self) {
        for nth in 0..self.replicas.len() {
            let role = self.replicas[nth].role;
            signal(&self.replicas[nth].child, "CONT");
            if matches!(self.replicas[nth].state, State::Down { .. }) {
                self.replicas[nth].child.kill().ok();
                self.replicas[nth].child.wait().ok();
                self.replicas[nth].child = self.spawn(role);
            }
            self.replicas[nth].state = State::Running;
        }
    }
}

fn humantime(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// Commits the next event of some keys, repeatedly until it is stopped. Returns all of them.
async fn commit_until(
    bench: Arc<Bench>,
    stop: Arc<AtomicBool>,
    keys: Range<u32>,
    seed: u64,
) -> Vec<OutboxEvent> {
    let mut random = StdRng::seed_from_u64(seed);
    let participations: Vec<_> = keys
        .map(|nth| Participation {
            // Several streams, which the replicas share.
            campaign_id: CampaignId(i64::from(nth % STREAMS) + 1),
            ..participation(nth)
        })
        .collect();
    let mut sequences = vec![0; participations.len()];
    let mut committed = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let mut batch = Vec::new();
        for (participation, sequence) in participations.iter().zip(&mut sequences) {
            if random.random_ratio(1, 4) {
                *sequence += 1;
                let choice = KeyChoice::Participation;
                let now = participation.created_at;
                batch.push(OutboxEvent::about(participation, *sequence, choice, now));
            }
        }
        bench.commit_together(&batch).await;
        committed.extend(batch);
        tokio::time::sleep(Duration::from_millis(random.random_range(5..25))).await;
    }
    committed
}

/// Re-deliveries, if nothing is lost and every key is in order.
fn judge(committed: &[OutboxEvent], read: &[Consumed], seed: u64) -> usize {
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut last: HashMap<&str, u32> = HashMap::new();
    for record in read {
        let id = record.header("ce_id").unwrap();
        let times = known.entry(id).or_default();
        *times += 1;
        if *times > 1 {
            continue;
        }
        let sequence: u32 = record.header("ce_keysequence").unwrap().parse().unwrap();
        let last = last.entry(record.key.as_str()).or_default();
        assert_eq!(
            sequence,
            *last + 1,
            "seed {seed}: key {} out of order",
            record.key
        );
        *last = sequence;
    }
    for event in committed {
        let id = event.id.to_string();
        assert!(
            known.contains_key(id.as_str()),
            "seed {seed}: event {id} is lost"
        );
    }
    assert_eq!(known.len(), committed.len(), "seed {seed}: foreign events");
    read.len() - known.len()
}

async fn run(seed: u64) {
    let began = Instant::now();
    let bench = Arc::new(Bench::mysql(&real("FIRSTCOME_DATABASE_URL")).await);
    let prefix = unique("replicas");
    let brokers = real("FIRSTCOME_KAFKA_BROKERS");
    let settings = [
        ("FIRSTCOME_DATABASE_URL", bench.url.clone()),
        ("FIRSTCOME_REDIS_URL", real("FIRSTCOME_REDIS_URL")),
        ("FIRSTCOME_REDIS_PREFIX", prefix.clone()),
        ("FIRSTCOME_KAFKA_BROKERS", brokers.clone()),
        ("FIRSTCOME_KAFKA_TOPIC_PREFIX", prefix.clone()),
        ("FIRSTCOME_KAFKA_CREATE_TOPICS", "true".to_owned()),
        ("FIRSTCOME_ADMIN_TOKEN", ADMIN_TOKEN.to_owned()),
    ];
    let mut stage = Stage {
        folder: TempDir::new().unwrap(),
        settings: &settings,
        replicas: Vec::new(),
        started: 0,
        faults: BTreeMap::new(),
        joins: 0,
    };
    stage.join("serve");
    stage.join("relay");
    until("a relay has come to life", async || {
        !bench.store.relay_leases().await.unwrap().is_empty()
    })
    .await;

    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2)
        .map(|nth| {
            tokio::spawn(commit_until(
                Arc::clone(&bench),
                Arc::clone(&stop),
                nth * KEYS..(nth + 1) * KEYS,
                seed * 10 + u64::from(nth),
            ))
        })
        .collect();
    let mut random = StdRng::seed_from_u64(seed);
    while began.elapsed() < CHAOS {
        stage.step(&mut random);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.store(true, Ordering::SeqCst);
    let mut committed = Vec::new();
    for writer in writers {
        committed.extend(writer.await.unwrap());
    }
    stage.heal();
    bench.settled().await;
    let topic = Topic::Participation.name(&prefix);
    let read = consume_all(&brokers, &topic).await;
    let again = judge(&committed, &read, seed);
    eprintln!(
        "seed {seed}: {} events, 0 lost, 0 out of order, {again} re-delivered; {:?}, {} joins; {:.0?}",
        committed.len(),
        stage.faults,
        stage.joins,
        began.elapsed(),
    );
    drop(stage);
    Arc::into_inner(bench).unwrap().drop_schema().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_stop_die_and_freeze_lose_nothing_and_keep_the_order() {
    let seeds = std::env::var("FIRSTCOME_TEST_SEEDS").unwrap_or_else(|_| "1..3".to_owned());
    let (from, to) = seeds.split_once("..").unwrap();
    for seed in from.parse::<u64>().unwrap()..to.parse().unwrap() {
        eprintln!("seed {seed}");
        run(seed).await;
    }
}

#[test]
#[should_panic(expected = "out of order")]
fn an_event_that_overtakes_another_is_reported() {
    let events = events(1, 2);
    let read: Vec<_> = events.iter().rev().map(Consumed::of).collect();
    judge(&events, &read, 0);
}

#[test]
#[should_panic(expected = "is lost")]
fn a_missing_event_is_reported() {
    let events = events(2, 1);
    let read: Vec<_> = events.iter().skip(1).map(Consumed::of).collect();
    judge(&events, &read, 0);
}

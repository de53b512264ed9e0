//! Publishes what was committed: every outbox row reaches Kafka at least once, the rows of one key
//! in their order, and no row leaves by another door than acknowledged or parked.
//!
//! ```text
//!  writer ──hints──▶ dispatcher ──▶ lanes ──acknowledged──▶ settler ──▶ row deleted
//!                      ▲  ▲            └────failed─────────▶ parker ──▶ row parked ──▶ copier
//!            poll ─────┘  └───────────── due again ◀───────────┘
//! ```
//!
//! - [`owner`](self) keeps the leases: which buckets are ours, and until when we may send.
//! - `dispatcher` knows every row that is under way, so that none goes out twice; it reads its own
//!   buckets, plainly and by state: no `SKIP LOCKED` (it breaks per-key order and collapses under
//!   REPEATABLE READ), no `id > last` (order of ids is not order of commits).
//! - `lane` sends: one record of a key at a time, many keys at once.
//! - `settler` deletes acknowledged rows in batches; `parker` writes down what failed.
//! - `breaker` holds everything back while the broker, a topic, or a partition is away; `away` says what is not
//!   to be read meanwhile.
//! - `purger` deletes what was published long ago; `history` samples what old snapshots cost.
//!
//! It must not write outbox rows, know about gates, or decide what a participation means.

mod away;
mod breaker;
mod claims;
mod copier;
mod dispatcher;
mod elsewhere;
mod history;
mod keys;
mod lane;
mod metrics;
mod owner;
mod pace;
mod parker;
mod purger;
mod reading;
mod record;
mod settings;
mod settler;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Notify, Semaphore, mpsc};
use tokio::time::Instant;

pub use breaker::BreakerState;
pub use elsewhere::Elsewhere;
pub use metrics::{Metrics, ParkedIn, Published, RetentionMetrics};
pub use purger::Retention;
pub use settings::RelaySettings;

use crate::domain::{BucketSet, EventId, Fresh, OutboxEvent, Stream};
use crate::parts::broker::Publisher;
use crate::parts::broker::kafka::KafkaConfig;
use crate::parts::store::Store;
use crate::runtime::clock::Clock;
use crate::runtime::retry;
use crate::runtime::supervisor::{Policy, Spawner, Stage};

/// Of rows under way and their keys, each of which is looked up a dozen times: ids and numbers, for which a fast
/// hash is good enough.
type Map<K, V> = HashMap<K, V, RandomState>;
type Set<K> = HashSet<K, RandomState>;

/// What becomes of later rows of a key whose row is to be tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPolicy {
    /// They wait: order is kept.
    #[default]
    Block,
    /// They pass: order is given up for speed.
    Skip,
}

/// How the relay works. Every queue, batch and wait has its bound here.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of this relay in the lease rows; unlike any other's.
    pub owner: String,
    /// How long a bucket stays ours without a renewal.
    pub lease: Duration,
    /// The producer's own time-out: sending stops this long before the lease ends.
    pub publish_timeout: Duration,
    /// Wait between polls that find something.
    pub poll_min: Duration,
    /// Wait between polls after many that found nothing.
    pub poll_max: Duration,
    /// New rows one poll takes.
    pub poll_rows_max: u32,
    /// Lanes.
    pub lanes: u16,
    /// Rows that wait in a lane's channel.
    pub lane_rows_max: u32,
    /// Rows under way in all, from the moment they are read until they are settled.
    pub in_flight_max: u32,
    /// Hand-overs of the writer that wait to be looked at.
    pub hints_max: u32,
    /// Acknowledged rows deleted at once.
    pub settle_rows_max: u32,
    /// How long an acknowledged row waits for company.
    pub settle_delay: Duration,
    /// Attempts, and waits between them, for one row.
    pub retry: retry::Policy,
    /// Waits between probes while the broker, a topic or a partition is away.
    pub probe: retry::Policy,
    /// Waits between attempts of the copy to the dead letter topic.
    pub copy_delay: Duration,
    /// What becomes of later rows of a parked key.
    pub key_policy: KeyPolicy,
    /// First part of the topics' names.
    pub topic_prefix: String,
    /// How often the outbox is counted for the metrics at least; more often while something waits in it.
    pub sample_interval: Duration,
    /// What becomes of published events.
    pub retention: Retention,
}

impl Default for Config {
    fn default() -> Self {
        Self::new(
            &RelaySettings::default(),
            &KafkaConfig::default(),
            Retention::default(),
        )
    }
}

impl Config {
    /// The configuration of a relay that publishes to this broker.
    #[must_use]
    pub fn new(settings: &RelaySettings, kafka: &KafkaConfig, retention: Retention) -> Self {
        Self {
            owner: EventId::generate().to_string(),
            lease: settings.lease(kafka.message_timeout),
            publish_timeout: kafka.message_timeout,
            poll_min: Duration::from_millis(10),
            poll_max: Duration::from_secs(1),
            poll_rows_max: 2_000,
            lanes: settings.lanes,
            lane_rows_max: 2_048,
            in_flight_max: settings.in_flight_max,
            hints_max: 1_024,
            settle_rows_max: 500,
            settle_delay: Duration::from_millis(50),
            retry: retry::Policy {
                initial: settings.retry_initial,
                max: settings.retry_max,
                attempts_max: settings.attempts_max,
                ..retry::Policy::default()
            },
            probe: retry::Policy {
                max: Duration::from_secs(5),
                ..retry::Policy::default()
            },
            copy_delay: Duration::from_secs(10),
            key_policy: settings.key_policy,
            topic_prefix: kafka.topic_prefix.clone(),
            sample_interval: Duration::from_secs(30),
            retention,
        }
    }

    /// Everything that is wrong with it, each mistake by name.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut must = |holds: bool, mistake: &str| {
            if !holds {
                mistakes.push(format!("relay: {mistake}"));
            }
        };
        must(
            self.lease >= self.publish_timeout * 2 + Duration::from_secs(1),
            "lease must be at least twice kafka.message_timeout and a second",
        );
        must(self.poll_min <= self.poll_max, "poll_min exceeds poll_max");
        must(!self.poll_min.is_zero(), "poll_min must not be zero");
        must(self.poll_rows_max > 0, "poll_rows_max must not be zero");
        must(self.lanes > 0, "lanes must not be zero");
        must(self.lane_rows_max > 0, "lane_rows_max must not be zero");
        must(
            self.in_flight_max >= u32::from(self.lanes),
            "in_flight_max must be at least lanes",
        );
        must(self.hints_max > 0, "hints_max must not be zero");
        must(
            (1..=5_000).contains(&self.settle_rows_max),
            "settle_rows_max must be from 1 to 5000",
        );
        must(
            self.retry.attempts_max > 0,
            "retry.attempts_max must not be zero",
        );
        must(
            (1..=64).contains(&self.owner.len()) && self.owner.is_ascii(),
            "owner must have 1 to 64 ASCII characters",
        );
        for mistake in self.retention.mistakes() {
            must(false, &format!("retention.{mistake}"));
        }
        mistakes
    }
}

/// What all parts of the relay share.
struct Shared {
    config: Config,
    store: Store,
    publisher: Arc<dyn Publisher>,
    clock: Clock,
    metrics: Metrics,
    ownership: owner::Ownership,
    breakers: breaker::Breakers,
    topics: away::Topics,
    blocked: keys::Blocked,
    recalled: keys::Recalled,
    /// One for each record at the producer; all of them for one that must go alone.
    permits: Arc<Semaphore>,
    /// Where other relays have work to do.
    elsewhere: Elsewhere,
    /// Makes the dispatcher poll now.
    wake: Notify,
    /// Makes the parker look now.
    unparked: Notify,
    /// Makes the parker look for rows that may go again.
    released: Notify,
    /// Makes the copier look now.
    died: Notify,
}

type Parts = Arc<Shared>;

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Relay")
            .field("owner", &self.config.owner)
            .finish_non_exhaustive()
    }
}

/// Where a row under way comes from, and so where its result is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Pending,
    Parked { attempts: u32 },
}

/// Whether somebody may be waiting for a row, or it is one of many that have waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Haste {
    Fresh,
    Backlog,
}

/// A row under way.
#[derive(Clone, Debug)]
struct Item {
    event: OutboxEvent,
    origin: Origin,
    /// Tenure of its bucket under which it was read.
    epoch: u64,
    /// A batch with it was refused: it goes alone, to see whether it was the one.
    alone: bool,
    haste: Haste,
    /// When it was committed, if its writer said so.
    committed_at: Option<Instant>,
}

/// What the dispatcher is told about rows under way.
#[derive(Debug)]
enum Signal {
    /// Published and settled.
    Settled(Vec<EventId>),
    /// Recorded otherwise, or given back unpublished: no longer under way.
    Back(Vec<EventId>),
    /// Parked rows whose time has come.
    Due(Vec<Item>),
}

/// The way into a running relay.
#[derive(Clone, Debug)]
pub struct RelayHandle {
    hints: mpsc::Sender<Fresh>,
    parts: Parts,
}

impl RelayHandle {
    /// Where the writer hands over what it has just committed, with `try_send`: a hint that is
    /// dropped costs at most one wait of the poll. Rows held for somebody else are not handed over.
    #[must_use]
    pub fn hints(&self) -> mpsc::Sender<Fresh> {
        self.hints.clone()
    }

    /// Another replica said that there are rows in `buckets`: makes it look now if one is its own.
    pub fn wake(&self, buckets: BucketSet) {
        if BucketSet::of(self.buckets()).meets(buckets) {
            self.parts.metrics.woken.inc();
            self.parts.wake.notify_one();
        }
    }

    /// The buckets other relays should be told of.
    #[must_use]
    pub fn elsewhere(&self) -> Elsewhere {
        self.parts.elsewhere.clone()
    }

    /// The relay's numbers.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.parts.metrics
    }

    /// Whether broker, topics and partitions are written to; false while a breaker holds rows back.
    #[must_use]
    pub fn is_publishing(&self) -> bool {
        self.parts.breakers.closed()
    }

    /// The breaker of the broker, and those of the topics: one is not closed while a partition takes nothing.
    #[must_use]
    pub fn breakers(&self) -> (BreakerState, Vec<(Stream, BreakerState)>) {
        self.parts.breakers.states()
    }

    /// Its name in the lease rows.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.parts.config.owner
    }

    /// The buckets this relay owns now.
    #[must_use]
    pub fn buckets(&self) -> Vec<u16> {
        self.parts.ownership.buckets()
    }
}

/// The relay; see the module.
#[derive(Debug)]
pub struct Relay;

impl Relay {
    /// Starts all tasks of a relay. `config` is expected to have no [mistakes](Config::mistakes).
    #[must_use]
    pub fn start(
        spawner: &Spawner,
        store: Store,
        publisher: Arc<dyn Publisher>,
        clock: Clock,
        config: Config,
        metrics: Metrics,
    ) -> RelayHandle {
        let bound = |rows: u32| usize::try_from(rows).unwrap_or(usize::MAX).max(1);
        let (hints, hinted) = mpsc::channel(bound(config.hints_max));
        let (signals, signalled) = mpsc::channel(1_024);
        let (settle, acknowledged) = mpsc::channel(bound(config.in_flight_max));
        let (park, notes) = mpsc::channel(bound(config.in_flight_max));
        let parts = Arc::new(Shared {
            breakers: breaker::Breakers::new(
                config.probe,
                metrics.breaker_open.clone(),
                metrics.partitions_away.clone(),
            ),
            topics: away::Topics::new(&config.topic_prefix),
            permits: Arc::new(Semaphore::new(bound(config.in_flight_max))),
            ownership: owner::Ownership::default(),
            blocked: keys::Blocked::default(),
            recalled: keys::Recalled::default(),
            elsewhere: Elsewhere::default(),
            wake: Notify::new(),
            unparked: Notify::new(),
            released: Notify::new(),
            died: Notify::new(),
            config,
            store,
            publisher,
            clock,
            metrics,
        });
        let outlets = lane::Outlets {
            settle,
            park: park.clone(),
            signals: signals.clone(),
        };
        let lanes = lane::start(spawner, &parts, &outlets);
        start_loops(spawner, &parts);
        let dispatcher = dispatcher::Dispatcher::new(&parts, lanes, park);
        let inlets = dispatcher::Inlets {
            hints: hinted,
            signals: signalled,
        };
        once(spawner, "relay.dispatcher", Stage::Relay, move |stop| {
            dispatcher.run(inlets, stop)
        });
        let settler = settler::Settler::new(&parts, acknowledged, signals.clone());
        once(spawner, "relay.settler", Stage::Settler, move |stop| {
            settler.run(stop)
        });
        let parker = parker::Parker::new(&parts, notes, signals);
        once(spawner, "relay.parker", Stage::Settler, move |stop| {
            parker.run(stop)
        });
        RelayHandle { hints, parts }
    }
}

/// Tasks that keep nothing in memory and so can simply be started again.
fn start_loops(spawner: &Spawner, parts: &Parts) {
    let restart = Policy::restart();
    let (of_owner, of_copier) = (Arc::clone(parts), Arc::clone(parts));
    let of_sampler = Arc::clone(parts);
    let (of_purger, of_history) = (Arc::clone(parts), Arc::clone(parts));
    spawner.start("relay.owner", Stage::Background, restart, move |stop| {
        owner::keep(Arc::clone(&of_owner), stop)
    });
    spawner.start("relay.copier", Stage::Relay, restart, move |stop| {
        copier::copy(Arc::clone(&of_copier), stop)
    });
    spawner.start("relay.sampler", Stage::Background, restart, move |stop| {
        metrics::sample(Arc::clone(&of_sampler), stop)
    });
    spawner.start("relay.purger", Stage::Background, restart, move |stop| {
        purger::purge(Arc::clone(&of_purger), stop)
    });
    spawner.start("relay.history", Stage::Background, restart, move |stop| {
        history::sample(Arc::clone(&of_history), stop)
    });
}

/// Starts a task that knows what is under way. Its failure is a bug that loses this knowledge, so
/// the process stops and the next one reads the truth from the database.
fn once<F, Fut>(spawner: &Spawner, name: &'static str, stage: Stage, work: F)
where
    F: FnOnce(tokio_util::sync::CancellationToken) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), crate::runtime::supervisor::BoxError>> + Send + 'static,
{
    let work = Mutex::new(Some(work));
    spawner.start(name, stage, Policy::StopProcess, move |stop| {
        let work = work.try_lock().ok().and_then(|mut work| work.take());
        let running = work.map(|work| work(stop));
        async move {
            match running {
                Some(running) => running.await,
                None => Err("it cannot be started again".into()),
            }
        }
    });
}

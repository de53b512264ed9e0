//! Publishes what was committed: every outbox row reaches Kafka at least once, the rows of one key in their
//! order. A row leaves the outbox only acknowledged or parked.
//!
//! ```text
//!  writer ──hints──▶ dispatcher ──▶ workers ──acknowledged──▶ settler ──▶ row deleted
//!                      ▲  ▲            └────failed──────────▶ parker ──▶ row parked ──▶ copier
//!            poll ─────┘  └───────────── due again ◀────────────┘
//! ```
//!
//! - `owner` renews the leases: which buckets this relay owns, and until when it may send.
//! - `dispatcher` knows every row in flight, so that none is sent twice; it reads its own buckets, plainly and by
//!   state: no `SKIP LOCKED` (it breaks per-key order and collapses under REPEATABLE READ), no `id > last` (order
//!   of ids is not order of commits).
//! - `worker` sends: one record of a key at a time, many keys at once.
//! - `settler` deletes acknowledged rows in batches; `parker` records failures.
//! - `breakers` hold records back while the broker, a topic or a partition fails; `targets` excludes their rows from
//!   reading.
//! - `purger` deletes events published long ago; `history` samples the cost of old snapshots.
//!
//! It must not write outbox rows, know gates, or decide what a participation means.

mod breaker;
mod breakers;
mod config;
mod copier;
mod dispatcher;
mod foreign_buckets;
mod handle;
mod history;
mod in_flight;
mod keys;
mod metrics;
mod owner;
mod pace;
mod parker;
mod purger;
mod reading;
mod record;
mod settings;
mod settler;
mod targets;
mod worker;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use tokio::sync::{Mutex, Notify, Semaphore, mpsc};
use tokio::time::Instant;

pub use breaker::BreakerState;
pub use config::Config;
pub use foreign_buckets::ForeignBuckets;
pub use handle::RelayHandle;
pub use metrics::{Metrics, ParkedIn, Published, RetentionMetrics};
pub use purger::Retention;
pub use settings::RelaySettings;

use crate::domain::words::words;
use crate::domain::{EventId, OutboxEvent};
use crate::parts::broker::Publisher;
use crate::parts::store::Store;
use crate::runtime::clock::Clock;
use crate::runtime::supervisor::{Policy, Spawner, Stage};

/// Maps of rows in flight and their keys, read often: a fast hash is enough for ids.
type Map<K, V> = HashMap<K, V, RandomState>;
type Set<K> = HashSet<K, RandomState>;

words! {
    /// What becomes of later rows of a key whose row is to be tried again.
    #[derive(Default)]
    pub enum KeyPolicy {
        /// They wait: order is kept.
        #[default]
        Block = "block",
        /// They pass: order is given up for speed.
        Skip = "skip",
    }
}

/// State shared by the tasks of the relay.
struct RelayContext {
    config: Config,
    store: Store,
    publisher: Arc<dyn Publisher>,
    clock: Clock,
    metrics: Metrics,
    ownership: owner::Ownership,
    breakers: breakers::Breakers,
    topics: targets::Topics,
    blocked_keys: keys::BlockedKeys,
    recalled_keys: keys::RecalledKeys,
    /// One for each record at the producer; all of them for a record that is sent alone.
    permits: Arc<Semaphore>,
    foreign_buckets: ForeignBuckets,
    /// Makes the dispatcher poll at once.
    wake: Notify,
    /// Makes the parker read parked rows and orphans at once.
    buckets_gained: Notify,
    /// Makes the parker read due rows at once.
    breaker_closed: Notify,
    /// Makes the copier run at once.
    dead_letter_added: Notify,
}

type Context = Arc<RelayContext>;

impl std::fmt::Debug for RelayContext {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Relay")
            .field("owner", &self.config.owner)
            .finish_non_exhaustive()
    }
}

/// The table of a row in flight, where its result is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Pending,
    Parked { attempts: u32 },
}

/// Whether a row was just committed, or belongs to a backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urgency {
    Fresh,
    Backlog,
}

/// A row in flight.
#[derive(Clone, Debug)]
struct Item {
    event: OutboxEvent,
    origin: Origin,
    /// Tenure of its bucket when it was read.
    epoch: u64,
    /// Its batch was refused: it is sent alone, to find the refused record.
    alone: bool,
    urgency: Urgency,
    /// When it was committed, if the writer handed it over.
    committed_at: Option<Instant>,
}

/// A message to the dispatcher about rows in flight.
#[derive(Debug)]
enum Signal {
    /// Published and settled.
    Settled(Vec<EventId>),
    /// Parked, or returned unpublished: no longer in flight.
    Back(Vec<EventId>),
    /// Parked rows that are due.
    Due(Vec<Item>),
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
        let (park, reports) = mpsc::channel(bound(config.in_flight_max));
        let context = Arc::new(RelayContext {
            breakers: breakers::Breakers::new(
                config.probe,
                metrics.breaker_open.clone(),
                metrics.partitions_away.clone(),
            ),
            topics: targets::Topics::new(&config.topic_prefix),
            permits: Arc::new(Semaphore::new(bound(config.in_flight_max))),
            ownership: owner::Ownership::default(),
            blocked_keys: keys::BlockedKeys::default(),
            recalled_keys: keys::RecalledKeys::default(),
            foreign_buckets: ForeignBuckets::default(),
            wake: Notify::new(),
            buckets_gained: Notify::new(),
            breaker_closed: Notify::new(),
            dead_letter_added: Notify::new(),
            config,
            store,
            publisher,
            clock,
            metrics,
        });
        let outlets = worker::Outlets {
            settle,
            park: park.clone(),
            signals: signals.clone(),
        };
        let workers = worker::start(spawner, &context, &outlets);
        start_loops(spawner, &context);
        let dispatcher = dispatcher::Dispatcher::new(&context, workers, park);
        let inlets = dispatcher::Inlets {
            hints: hinted,
            signals: signalled,
        };
        once(spawner, "relay.dispatcher", Stage::Relay, move |stop| {
            dispatcher.run(inlets, stop)
        });
        let settler = settler::Settler::new(&context, acknowledged, signals.clone());
        once(spawner, "relay.settler", Stage::Settler, move |stop| {
            settler.run(stop)
        });
        let parker = parker::Parker::new(&context, reports, signals);
        once(spawner, "relay.parker", Stage::Settler, move |stop| {
            parker.run(stop)
        });
        RelayHandle { hints, context }
    }
}

/// Starts the tasks without state in memory, which can be restarted.
fn start_loops(spawner: &Spawner, context: &Context) {
    let restart = Policy::restart();
    let (of_owner, of_copier) = (Arc::clone(context), Arc::clone(context));
    let of_sampler = Arc::clone(context);
    let (of_purger, of_history) = (Arc::clone(context), Arc::clone(context));
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

/// Starts a task that holds the rows in flight. Its failure loses them, so the process stops, and the next one
/// reads them from the database.
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

//! Publishes what was committed: every outbox event reaches Kafka at least once, the events of one key in their
//! order. The events of a campaign for one topic are a stream with a position; the position moves over events that are
//! acknowledged or parked, and over no others.
//!
//! ```text
//!  group commit ──hints──▶ dispatcher ──▶ sender ──acknowledged──▶ window ──▶ positions written
//!                             ▲             └──failed──▶ parker ──▶ row parked ──▶ copier
//!            poll of streams ─┘             ▲              │
//!                                           └── due again ─┘
//! ```
//!
//! - `owner` renews the leases: which buckets of streams this relay owns, and until when it may send.
//! - `dispatcher` gives the events of its streams to the sender in order of sequence, each once.
//! - `window` knows which events in flight are done; `positions` writes the position. `sender` sends a batch at a time.
//! - `parker` records what could not be published, and tries it again.
//! - `parts/broker/kafka/classify.rs` decides the class of a failure, and `sender/parker_handle.rs` what follows.
//! - `breakers` hold records back while a target fails. `purger` deletes old events, and `history` samples their cost.
//!
//! It must not write events, know gates, or decide what a participation means.

mod breaker;
mod breakers;
mod config;
mod copier;
mod dispatcher;
mod foreign_streams;
mod handle;
mod history;
mod keys;
mod metrics;
mod offsets;
mod owner;
mod ownerless_leases;
mod pace;
mod parker;
mod positions;
mod purger;
mod record;
mod report;
mod sender;
mod settings;
mod stream;
mod targets;
mod window;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex as Lock, PoisonError};

use foldhash::fast::RandomState;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::Instant;

pub use breaker::BreakerState;
pub use config::Config;
pub use foreign_streams::ForeignStreams;
pub use handle::RelayHandle;
pub use metrics::{Metrics, ParkedIn, Published, RetentionMetrics};
pub use purger::Retention;
pub use settings::RelaySettings;

use crate::domain::words::words;
use crate::domain::{CampaignId, LogPlace, OutboxEvent, Timestamp};
use crate::parts::broker::{Acknowledged, Publisher};
use crate::parts::store::{PublishedEvent, Store, StreamKey};
use crate::runtime::clock::Clock;
use crate::runtime::supervisor::{Policy, Spawner, Stage};

/// Maps of streams, keys and places, read often: a fast hash is enough for ids.
type Map<K, V> = HashMap<K, V, RandomState>;
type Set<K> = HashSet<K, RandomState>;

words! {
    /// What happens to later events of a key while one of its events waits for a retry.
    #[derive(Default)]
    pub enum KeyPolicy {
        /// They wait: the order is kept.
        #[default]
        Block = "block",
        /// They pass: the order is lost, and they are published sooner.
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
    in_flight: window::InFlight,
    positions: positions::Positions,
    offsets: offsets::Offsets,
    foreign_streams: ForeignStreams,
    /// Campaigns to whose streams another replica has appended events.
    appended_campaigns: Lock<BTreeSet<CampaignId>>,
    /// Whether rows of held events may have been acknowledged since the last check.
    held_may_be_acknowledged: AtomicBool,
    /// Cancelled when the parker has written everything.
    parker_ended: tokio_util::sync::CancellationToken,
    /// Makes the dispatcher poll at once.
    wake: Notify,
    /// Makes the parker read parked rows and orphans at once.
    buckets_gained: Notify,
    /// Makes the parker read due rows at once.
    breaker_closed: Notify,
    /// Makes the copier run at once.
    dead_letter_added: Notify,
}

impl RelayContext {
    /// Whether this relay may still send an event of this stream.
    fn may_send(&self, item: &Item) -> bool {
        self.ownership.may_send(item.event.campaign_id.bucket())
    }

    /// Where an event was published, if positions are stored (`relay.keep_offsets`).
    fn published(
        &self,
        event: &OutboxEvent,
        at: Acknowledged,
        published_at: Timestamp,
    ) -> Option<PublishedEvent> {
        self.config.keep_offsets.then(|| PublishedEvent {
            place: event.place(),
            topic: event.topic.name(&self.config.topic_prefix),
            partition: at.partition,
            offset: at.offset,
            published_at,
        })
    }

    fn appended_campaigns(&self) -> std::sync::MutexGuard<'_, BTreeSet<CampaignId>> {
        self.appended_campaigns
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
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

/// Where an event in flight comes from, and where its result is recorded.
#[derive(Debug)]
enum Origin {
    /// Its stream.
    Log(window::Claim),
    /// A parked row.
    Parked {
        claim: report::ParkedClaim,
        attempts: u32,
    },
}

/// An event in flight.
#[derive(Debug)]
struct Item {
    event: OutboxEvent,
    origin: Origin,
    /// Its batch was rejected: it is sent alone, to find the rejected record.
    alone: bool,
    /// When it was committed, if it was handed over.
    committed_at: Option<Instant>,
}

impl Item {
    fn key(&self) -> StreamKey {
        (self.event.stream(), Arc::clone(&self.event.key))
    }

    fn place(&self) -> LogPlace {
        self.event.place()
    }

    /// Whether its stream has lost an event in flight, and is read again.
    fn is_lost(&self) -> bool {
        matches!(&self.origin, Origin::Log(claim) if claim.is_lost())
    }

    fn is_parked(&self) -> bool {
        matches!(self.origin, Origin::Parked { .. })
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
        let (park, reports) = mpsc::channel(bound(config.in_flight_max));
        let context = Arc::new(RelayContext {
            breakers: breakers::Breakers::new(
                config.probe,
                metrics.breaker_open.clone(),
                metrics.partitions_away.clone(),
            ),
            topics: targets::Topics::new(&config.topic_prefix),
            in_flight: window::InFlight::new(bound(config.in_flight_max)),
            ownership: owner::Ownership::default(),
            blocked_keys: keys::BlockedKeys::default(),
            positions: positions::Positions::default(),
            offsets: offsets::Offsets::default(),
            foreign_streams: ForeignStreams::default(),
            appended_campaigns: Lock::default(),
            held_may_be_acknowledged: AtomicBool::new(false),
            parker_ended: tokio_util::sync::CancellationToken::new(),
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
        let sender = sender::start(spawner, &context, &park);
        start_loops(spawner, &context);
        let dispatcher = dispatcher::Dispatcher::new(&context, sender.clone());
        once(spawner, "relay.dispatcher", Stage::Relay, move |stop| {
            dispatcher.run(hinted, stop)
        });
        let parker = parker::Parker::new(&context, reports, sender);
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
    let of_positions = Arc::clone(context);
    spawner.start("relay.positions", Stage::Settler, restart, move |stop| {
        positions::write(Arc::clone(&of_positions), stop)
    });
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

/// Starts a task that holds events in flight. Its failure loses them, so the process stops, and the next one
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

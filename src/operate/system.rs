//! The state of the installation: how many events wait to be published and for how long, which relays publish them, and
//! the breakers of this replica. It is read at most once a second for all clients, and less often the longer a read
//! takes: after hours without a broker there is much to count. Reading must not change anything.

mod topics;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use crate::domain::{self, Timestamp};
use crate::events::relay::RelayHandle;
use crate::parts::gate::ScriptGate;
use crate::parts::store::{OutboxCounts, RelayLease, Store, StoreError};
use crate::runtime::cache::ReadThrough;
use crate::runtime::clock::Clock;
use crate::runtime::metrics::registers;

pub use crate::events::relay::BreakerState;
pub use crate::parts::broker::kafka::{PartitionState, TopicState};
pub use topics::{TopicBoard, TopicsError, TopicsState};

/// Maximum age of a fast read.
const AGE_MIN: Duration = Duration::from_secs(1);
/// Maximum age of a slow read.
const AGE_MAX: Duration = Duration::from_secs(30);

/// The calls that a breaker guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guards {
    /// Calls of the gate.
    Gate,
    /// Publishing to any topic.
    Broker,
    /// Publishing to one topic.
    Topic(domain::Topic),
}

/// The state of the installation.
#[derive(Clone, Debug)]
pub struct SystemState {
    /// When it was read.
    pub at: Timestamp,
    /// Unpublished events, by state.
    pub outbox: OutboxCounts,
    /// Age of the oldest pending event; none: no event is pending.
    pub oldest: Option<Duration>,
    /// The live relays of all replicas.
    pub relays: Vec<RelayLease>,
    /// The breakers of this replica. A replica without a relay has only that of the gate.
    pub breakers: Vec<(Guards, BreakerState)>,
    /// This replica's relay among `relays`; none: another process publishes.
    pub here: Option<String>,
}

/// Reads the state of the installation.
#[derive(Clone)]
pub struct SystemBoard {
    store: Store,
    gate: Arc<ScriptGate>,
    relay: Option<RelayHandle>,
    clock: Clock,
    last: ReadThrough<(), Arc<SystemState>, StoreError>,
    reads: Counter,
}

registers!(pub SystemBoard: reads = SYSTEM_READS);

impl SystemBoard {
    /// A board over these parts.
    #[must_use]
    pub fn new(
        store: Store,
        gate: Arc<ScriptGate>,
        relay: Option<RelayHandle>,
        clock: Clock,
    ) -> Self {
        Self {
            store,
            gate,
            relay,
            clock,
            last: ReadThrough::new(1, AGE_MIN..=AGE_MAX),
            reads: Counter::default(),
        }
    }

    /// The state of the installation.
    pub async fn state(&self) -> Result<Arc<SystemState>, Arc<StoreError>> {
        self.last.get((), || self.read()).await
    }

    async fn read(&self) -> Result<Arc<SystemState>, StoreError> {
        self.reads.inc();
        let outbox = self.store.outbox_counts(None).await?;
        let oldest = match outbox.pending {
            0 => None,
            _ => self.store.oldest_pending_age().await?,
        };
        Ok(Arc::new(SystemState {
            at: self.clock.now(),
            outbox,
            oldest,
            relays: self.store.relay_leases().await?,
            breakers: self.breakers(),
            here: self.relay.as_ref().map(|relay| relay.owner().to_owned()),
        }))
    }

    fn breakers(&self) -> Vec<(Guards, BreakerState)> {
        let gate = if self.gate.is_away() {
            BreakerState::Open
        } else {
            BreakerState::Closed
        };
        let mut breakers = vec![(Guards::Gate, gate)];
        if let Some(relay) = &self.relay {
            let (broker, topics) = relay.breakers();
            breakers.push((Guards::Broker, broker));
            let topics = topics.into_iter();
            breakers.extend(topics.map(|(stream, state)| (Guards::Topic(stream), state)));
        }
        breakers
    }
}

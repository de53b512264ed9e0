//! The writer: commits admitted participations, many in one transaction, and reports the result of each. It must
//! never report a commit that is not durable, nor commit under an expired lease.

mod committer;
mod settle;

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use self::committer::{Committer, Waits};
use crate::domain::metric;
use crate::domain::{self, Campaign, CampaignId};
use crate::parts::gate::Gate;
use crate::parts::store::{Intake, Store};
use crate::runtime::batcher::{BatcherConfig, Batchers, Occupancy, Place, Reply, WAIT_BUCKETS};
use crate::runtime::metrics::RegisterMetric;
use crate::runtime::retry;
use crate::runtime::supervisor::{Spawner, Stage};
use crate::sale::relay_hints::RelayHints;

/// The result of one participation's commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitResult {
    /// Durable, with its outbox row.
    Committed {
        /// Store time when the hold starts; none if there is no hold or it is unknown.
        held_from: Option<domain::Instant>,
        /// Number of its event in the campaign's stream; none: unknown.
        sequence: Option<u64>,
    },
    /// Not committed: the gate was rebuilt after the admission. Ask it again.
    StaleEpoch,
    /// Not committed, and released: the store has too few units.
    SoldOut,
    /// Not committed, and released: the schema refuses it (the user or the key has one already).
    Conflict,
    /// Not committed, and released: the store did not answer in time.
    Unavailable,
    /// Unknown. The sweeper ends the lease.
    Unknown,
}

/// The bounds of the writer.
#[derive(Clone, Copy, Debug)]
pub struct WriterConfig {
    /// Queue and batch.
    pub lanes: BatcherConfig,
    /// What must be left of a lease when a transaction begins.
    pub lease_margin: Duration,
    /// How deadlocks and lock waits are retried.
    pub contention: retry::Policy,
}

/// One participation to commit.
#[derive(Debug)]
pub struct Job {
    /// Its campaign.
    pub campaign: Arc<Campaign>,
    /// Generation of the gate that admitted it.
    pub epoch: u64,
    /// When its lease ends.
    pub lease_deadline: Instant,
    /// The rows.
    pub intake: Intake,
}

/// A place in the writer's queue, taken before a unit is.
pub struct WriterPlace(Place<Queued>);

impl WriterPlace {
    /// Commits in the next group. The reply is called with the result; dropped without one, the result is unknown.
    pub fn commit(self, job: Job, reply: Reply<CommitResult>) {
        self.0.send(Queued {
            job,
            since: Instant::now(),
            reply,
        });
    }
}

struct Queued {
    job: Job,
    since: Instant,
    reply: Reply<CommitResult>,
}

/// Commits participations in groups.
#[derive(Clone)]
pub struct Writer {
    lanes: Batchers<Queued>,
    committer: Arc<Committer>,
}

impl Writer {
    /// Starts the writer's lanes.
    pub fn start(
        spawner: &Spawner,
        store: Store,
        gate: Arc<dyn Gate>,
        hints: RelayHints,
        config: WriterConfig,
    ) -> Self {
        let settle = settle::lanes(spawner, Arc::clone(&gate), config.lanes);
        let committer = Arc::new(Committer {
            store,
            gate,
            hints,
            settle,
            config,
            waits: Waits {
                queue: Histogram::new(WAIT_BUCKETS),
                commit: Histogram::new(WAIT_BUCKETS),
            },
        });
        let of_batches = Arc::clone(&committer);
        let lanes = Batchers::start(
            spawner,
            "writer.lane",
            Stage::Writer,
            config.lanes,
            move |batch| {
                let committer = Arc::clone(&of_batches);
                async move { committer.commit_queued(batch).await }
            },
        );
        Self { lanes, committer }
    }

    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        let waits = &self.committer.waits;
        registry.add(&metric::WRITER_QUEUE_SECONDS, waits.queue.clone());
        registry.add(&metric::WRITER_COMMIT_SECONDS, waits.commit.clone());
    }

    /// Reserves a place in the queue; none: it is full. The caller drops the occupancy when it has the result.
    #[must_use]
    pub fn reserve(&self, campaign: CampaignId) -> Option<(WriterPlace, Occupancy)> {
        let (place, occupancy) = self.lanes.reserve(campaign)?.split();
        Some((WriterPlace(place), occupancy))
    }

    /// Whether there is a place now.
    #[must_use]
    pub fn has_place(&self, campaign: CampaignId) -> bool {
        self.lanes.has_slot(campaign)
    }

    /// Commits at once, in a transaction of its own: the synchronous path.
    pub async fn commit_alone(&self, job: Job) -> CommitResult {
        let mut results = self.committer.commit_group(vec![job]).await;
        results.pop().unwrap_or(CommitResult::Unknown)
    }
}

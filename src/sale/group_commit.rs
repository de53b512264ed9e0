//! The writer: carries out commands for campaigns, many in one transaction, and reports the result of each. A command
//! commits a participation that the gate admitted, lets the database admit an applicant while the gate is away, or
//! changes a participation. It must never report a commit that is not durable, nor commit an admission whose lease
//! has ended.

mod committer;
mod report;
mod settle;
mod waiting;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::future::join_all;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;

pub use self::committer::Dependencies;
use self::committer::{Committer, Waits};
use self::waiting::{Command, Queued};
use crate::domain::metric;
use crate::domain::{self, Campaign, CampaignId, Obstacle, OutboxEvent, Participation};
use crate::parts::store::{
    Applicant, ChangeRequest, Closing, Decision, Mismatch, NewParticipation,
};
use crate::runtime::batcher::{BatcherConfig, Batchers, Occupancy, QueueSlot, Reply, WAIT_BUCKETS};
use crate::runtime::metrics::RegisterMetric;
use crate::runtime::retry;
use crate::runtime::supervisor::{Spawner, Stage};

/// A participation that is durable, with its outbox row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Store time when the hold starts; none if there is no hold or it is unknown.
    pub held_from: Option<domain::Timestamp>,
    /// Number of its event in the campaign's stream; none: unknown.
    pub sequence: Option<u64>,
}

/// The result for an applicant.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The decision; an acceptance is durable.
    pub decision: Decision,
    /// The event, if its request publishes it.
    pub event: Option<OutboxEvent>,
}

/// The result of a requested change of a participation.
#[derive(Clone, Debug)]
pub enum ChangeOutcome {
    /// It was changed; durable.
    Changed(Participation),
    /// The change is not possible.
    Unchanged(Participation, Obstacle),
    /// It has a value that this release does not know.
    Unreadable,
    /// The campaign has no such participation.
    NotFound,
}

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCommitted {
    /// The gate was rebuilt after the admission. Ask it again.
    StaleEpoch,
    /// The store has too few units.
    SoldOut,
    /// A rule of the schema is broken (the user or the key has a participation already).
    Conflict,
    /// The gate is open, so the database admits nobody. Ask the gate.
    GateOpen,
    /// There is no such campaign.
    UnknownCampaign,
    /// It is a line of an order that is already decided.
    OrderDecided,
    /// Too many commands concern the same participation.
    Busy,
    /// The store did not answer in time.
    Unavailable,
    /// It may have been committed.
    Unknown,
}

impl NotCommitted {
    /// Whether it is certain that nothing was committed in the epoch of the admission.
    const fn releases_the_lease(self) -> bool {
        !matches!(self, Self::StaleEpoch | Self::Unknown)
    }
}

impl From<Mismatch> for NotCommitted {
    fn from(mismatch: Mismatch) -> Self {
        match mismatch {
            Mismatch::StaleEpoch => Self::StaleEpoch,
            Mismatch::SoldOut => Self::SoldOut,
            Mismatch::GateOpen => Self::GateOpen,
            Mismatch::UnknownCampaign => Self::UnknownCampaign,
            Mismatch::OrderDecided => Self::OrderDecided,
        }
    }
}

/// The result of the commit of an admission. With any error but `StaleEpoch` and `Unknown`, its lease is released;
/// after those two the sweeper ends it.
pub type CommitResult = Result<Committed, NotCommitted>;
/// The result of the database path.
pub type DecidedResult = Result<Decided, NotCommitted>;
/// The result of a change.
pub type ChangeResult = Result<ChangeOutcome, NotCommitted>;

/// The bounds of the writer.
#[derive(Clone, Copy, Debug)]
pub struct WriterConfig {
    /// Queue and batch.
    pub batchers: BatcherConfig,
    /// Time limit of a transaction of admissions. Each lease must last at least this long when the transaction
    /// begins.
    pub transaction_max: Duration,
    /// Time limit of any other transaction.
    pub unleased_max: Duration,
    /// How deadlocks and lock waits are retried.
    pub contention: retry::Policy,
}

/// One participation to commit.
#[derive(Debug)]
pub struct CommitJob {
    /// Its campaign.
    pub campaign: Arc<Campaign>,
    /// Generation of the gate that admitted it.
    pub epoch: u64,
    /// When its lease ends.
    pub lease_deadline: Instant,
    /// The rows.
    pub new_participation: NewParticipation,
}

/// A slot in the writer's queue. Each reply is called with the result; if it is dropped, the result is unknown.
pub struct WriterSlot {
    campaign: CampaignId,
    slot: QueueSlot<Queued>,
}

impl WriterSlot {
    /// Commits an admission, in the next group.
    pub fn commit(self, job: CommitJob, reply: Reply<CommitResult>) {
        self.send(Command::Commit(Box::new(job), reply));
    }

    /// Lets the database admit an applicant, in the next group.
    pub fn admit(self, applicant: Applicant, closing: Closing, reply: Reply<DecidedResult>) {
        self.send(Command::Admit {
            applicant,
            closing,
            hold: None,
            reply,
        });
    }

    /// Changes a participation, in the next group. Returns the result.
    pub fn change(
        self,
        change_request: ChangeRequest,
    ) -> impl Future<Output = ChangeResult> + use<> {
        let (reply, result) = reply();
        self.send(Command::Change(change_request, reply));
        async { known(result.await) }
    }

    fn send(self, command: Command) {
        self.slot.send(Queued {
            campaign: self.campaign,
            command,
            since: Instant::now(),
        });
    }
}

/// Carries out commands in groups.
#[derive(Clone)]
pub struct Writer {
    batchers: Batchers<Queued>,
    committer: Arc<Committer>,
}

impl Writer {
    /// Starts the writer's batchers.
    #[must_use]
    pub fn start(spawner: &Spawner, dependencies: Dependencies, config: WriterConfig) -> Self {
        let settle = settle::start(spawner, Arc::clone(&dependencies.gate), config.batchers);
        let waits = Waits {
            queue: Histogram::new(WAIT_BUCKETS),
            commit: Histogram::new(WAIT_BUCKETS),
        };
        let committer = Arc::new(Committer {
            dependencies,
            settle,
            config,
            waits,
        });
        let of_batches = Arc::clone(&committer);
        let batchers = Batchers::start_with_prior(
            spawner,
            "writer.batcher",
            Stage::Writer,
            config.batchers,
            move |batch| {
                let committer = Arc::clone(&of_batches);
                async move { committer.commit_queued(batch).await }
            },
        );
        Self {
            batchers,
            committer,
        }
    }

    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        let waits = &self.committer.waits;
        registry.add(&metric::WRITER_QUEUE_SECONDS, waits.queue.clone());
        registry.add(&metric::WRITER_COMMIT_SECONDS, waits.commit.clone());
    }

    /// Reserves a slot in the queue; none: it is full. The caller drops the occupancy when it has the result.
    #[must_use]
    pub fn reserve(&self, campaign: CampaignId) -> Option<(WriterSlot, Occupancy)> {
        let (slot, occupancy) = self.batchers.reserve(campaign)?.split();
        Some((WriterSlot { campaign, slot }, occupancy))
    }

    /// Reserves a slot for a change. New participations cannot use these slots, so existing participants come
    /// first.
    #[must_use]
    pub fn reserve_change(&self, campaign: CampaignId) -> Option<(WriterSlot, Occupancy)> {
        let (slot, occupancy) = self.batchers.reserve_prior(campaign)?.split();
        Some((WriterSlot { campaign, slot }, occupancy))
    }

    /// Whether a slot for a change is free now.
    #[must_use]
    pub fn has_place_for_change(&self, campaign: CampaignId) -> bool {
        self.batchers.has_prior_slot(campaign)
    }

    /// Whether a slot is free now.
    #[must_use]
    pub fn has_place(&self, campaign: CampaignId) -> bool {
        self.batchers.has_slot(campaign)
    }

    /// Commits at once, in a separate transaction: the synchronous path.
    pub async fn commit_alone(&self, job: CommitJob) -> CommitResult {
        let campaign = job.campaign.id;
        let command = |reply| Command::Commit(Box::new(job), reply);
        self.at_once(campaign, command).await
    }

    /// Lets the database admit an applicant at once, in a separate transaction. The relay does not publish the event
    /// for this long, because the request does.
    pub async fn admit_alone(
        &self,
        campaign: CampaignId,
        applicant: Applicant,
        closing: Closing,
        hold: TimeDelta,
    ) -> DecidedResult {
        let command = |reply| Command::Admit {
            applicant,
            closing,
            hold: Some(hold),
            reply,
        };
        self.at_once(campaign, command).await
    }

    /// Changes participations of a campaign at once, in a separate transaction. Returns a result for each, in order.
    pub async fn change_all(
        &self,
        campaign: CampaignId,
        change_requests: Vec<ChangeRequest>,
    ) -> Vec<ChangeResult> {
        let since = Instant::now();
        let (queued, results): (Vec<Queued>, Vec<_>) = change_requests
            .into_iter()
            .map(|change_request| {
                let (reply, result) = reply();
                let command = Command::Change(change_request, reply);
                let queued = Queued {
                    campaign,
                    command,
                    since,
                };
                (queued, result)
            })
            .unzip();
        self.committer.commit(queued).await;
        let results = join_all(results).await.into_iter();
        results.map(known).collect()
    }

    async fn at_once<T: Send + 'static>(
        &self,
        campaign: CampaignId,
        command: impl FnOnce(Reply<Result<T, NotCommitted>>) -> Command,
    ) -> Result<T, NotCommitted> {
        let (reply, result) = reply();
        let queued = Queued {
            campaign,
            command: command(reply),
            since: Instant::now(),
        };
        self.committer.commit(vec![queued]).await;
        known(result.await)
    }
}

type Received<T> = Result<Result<T, NotCommitted>, oneshot::error::RecvError>;

type ReplyAndResult<T> = (Reply<T>, oneshot::Receiver<T>);

fn reply<T: Send + 'static>() -> ReplyAndResult<Result<T, NotCommitted>> {
    let (sender, receiver) = oneshot::channel();
    // The caller may be disconnected: a commit stays committed.
    (Box::new(move |result| drop(sender.send(result))), receiver)
}

fn known<T>(received: Received<T>) -> Result<T, NotCommitted> {
    received.unwrap_or(Err(NotCommitted::Unknown))
}

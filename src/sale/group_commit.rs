//! The writer: carries out commands for campaigns, many in one transaction, and reports the result of each. A command
//! is a participation that the gate admitted, an applicant whom the database admits while the gate is away, or a change
//! of a participation. It must never report a commit that is not durable, nor commit an admission whose lease has ended.

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
use crate::parts::store::{Applicant, Closing, Decision, Intake, Mismatch, Wished};
use crate::runtime::batcher::{BatcherConfig, Batchers, Occupancy, Place, Reply, WAIT_BUCKETS};
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
    /// By the rules; durable if accepted.
    pub decision: Decision,
    /// The event, if its request publishes it.
    pub event: Option<OutboxEvent>,
}

/// The result of a wish to change a participation.
#[derive(Clone, Debug)]
pub enum ChangeOutcome {
    /// Durable.
    Changed(Participation),
    /// It stays as it is.
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
    /// The schema refuses it (the user or the key has one already).
    Conflict,
    /// The gate is open, so the database admits nobody. Ask the gate.
    GateOpen,
    /// There is no such campaign.
    UnknownCampaign,
    /// The order of which it is a line is decided.
    OrderDecided,
    /// Too many commands concern the same participation.
    Busy,
    /// The store did not answer in time.
    Unavailable,
    /// It may have been committed.
    Unknown,
}

impl NotCommitted {
    /// Whether it is certain that nothing happened, in the epoch of the admission.
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

/// The result of the commit of what the gate admitted. A lease is released with any error but `StaleEpoch` and
/// `Unknown`, which the sweeper ends.
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
    /// How long a transaction of admissions may take, which is left of each lease when it begins.
    pub transaction_max: Duration,
    /// How long another transaction may take.
    pub unleased_max: Duration,
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

/// A place in the writer's queue. Each reply is called with the result; dropped without one, the result is unknown.
pub struct WriterPlace {
    campaign: CampaignId,
    place: Place<Queued>,
}

impl WriterPlace {
    /// Commits what the gate admitted, in the next group.
    pub fn commit(self, job: Job, reply: Reply<CommitResult>) {
        self.send(Command::Commit(Box::new(job), reply));
    }

    /// Has the database admit an applicant, in the next group.
    pub fn admit(self, applicant: Applicant, closing: Closing, reply: Reply<DecidedResult>) {
        self.send(Command::Admit {
            applicant,
            closing,
            hold: None,
            reply,
        });
    }

    /// Changes a participation, in the next group: the result.
    pub fn change(self, wished: Wished) -> impl Future<Output = ChangeResult> + use<> {
        let (reply, result) = reply();
        self.send(Command::Change(wished, reply));
        async { known(result.await) }
    }

    fn send(self, command: Command) {
        self.place.send(Queued {
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

    /// Reserves a place in the queue; none: it is full. The caller drops the occupancy when it has the result.
    #[must_use]
    pub fn reserve(&self, campaign: CampaignId) -> Option<(WriterPlace, Occupancy)> {
        let (place, occupancy) = self.batchers.reserve(campaign)?.split();
        Some((WriterPlace { campaign, place }, occupancy))
    }

    /// Reserves a place for a change. Those who want to take part cannot use these places: who has something comes first.
    #[must_use]
    pub fn reserve_change(&self, campaign: CampaignId) -> Option<(WriterPlace, Occupancy)> {
        let (place, occupancy) = self.batchers.reserve_prior(campaign)?.split();
        Some((WriterPlace { campaign, place }, occupancy))
    }

    /// Whether there is a place for a change now.
    #[must_use]
    pub fn has_place_for_change(&self, campaign: CampaignId) -> bool {
        self.batchers.has_prior_slot(campaign)
    }

    /// Whether there is a place now.
    #[must_use]
    pub fn has_place(&self, campaign: CampaignId) -> bool {
        self.batchers.has_slot(campaign)
    }

    /// Commits at once, in a transaction of its own: the synchronous path.
    pub async fn commit_alone(&self, job: Job) -> CommitResult {
        let campaign = job.campaign.id;
        let command = |reply| Command::Commit(Box::new(job), reply);
        self.at_once(campaign, command).await
    }

    /// Has the database admit an applicant at once, in a transaction of its own. The relay leaves the event to the
    /// request for this long.
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

    /// Changes participations of a campaign at once, in a transaction of their own: a result for each, in order.
    pub async fn change_all(&self, campaign: CampaignId, wishes: Vec<Wished>) -> Vec<ChangeResult> {
        let since = Instant::now();
        let (queued, results): (Vec<Queued>, Vec<_>) = wishes
            .into_iter()
            .map(|wished| {
                let (reply, result) = reply();
                let command = Command::Change(wished, reply);
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
    // The caller may have gone: what is committed stays committed.
    (Box::new(move |result| drop(sender.send(result))), receiver)
}

fn known<T>(received: Received<T>) -> Result<T, NotCommitted> {
    received.unwrap_or(Err(NotCommitted::Unknown))
}

//! The writer: commits what the gate admitted, many participations in one transaction, and says of
//! each what is known. It must never answer yes to what is not durable, nor commit under a lease that
//! has run out.

mod settle;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt, join_all};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot};

use crate::domain::metric;
use crate::domain::{self, Campaign, CampaignId, Fresh, ParticipationId};
use crate::parts::gate::Gate;
use crate::parts::store::{BatchOutcome, CommitError, Intake, Mismatch, Store};
use crate::runtime::batcher::{LaneConfig, Lanes, Place, WAIT_BUCKETS};
use crate::runtime::failpoint;
use crate::runtime::metrics::RegisterMetric;
use crate::runtime::retry;
use crate::runtime::supervisor::{Spawner, Stage};

/// What is known of one participation after the writer had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Durable, with its outbox row.
    Committed {
        /// The store's time from which it is held, where it is and that is known.
        held_from: Option<domain::Instant>,
    },
    /// Not committed: the gate was rebuilt since it admitted this one. Ask it again.
    StaleEpoch,
    /// Not committed, and released: the database has not enough units.
    SoldOut,
    /// Not committed, and released: the schema refuses it (the user or the key has one already).
    Conflict,
    /// Not committed, and released: the store did not take it in time.
    Unavailable,
    /// Not known. The lease stays, for the sweeper to find out.
    Unknown,
}

/// The bounds of the writer.
#[derive(Clone, Copy, Debug)]
pub struct WriterConfig {
    /// Queue and batch.
    pub lanes: LaneConfig,
    /// What must be left of a lease when a transaction begins.
    pub lease_margin: Duration,
    /// How deadlocks and lock waits are retried.
    pub contention: retry::Policy,
}

/// One participation on its way into the store.
#[derive(Debug)]
pub struct Job {
    /// What it takes part in.
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

struct Queued {
    job: Job,
    since: Instant,
    reply: oneshot::Sender<Verdict>,
}

/// Commits participations in groups.
#[derive(Clone)]
pub struct Writer {
    lanes: Lanes<Queued>,
    desk: Arc<Committer>,
}

impl Writer {
    /// Starts the writer's lanes. `wake` carries the committed events to the relay; it may be full,
    /// because the relay finds them in the outbox anyway.
    pub fn start(
        spawner: &Spawner,
        store: Store,
        gate: Arc<dyn Gate>,
        wake: Option<mpsc::Sender<Fresh>>,
        config: WriterConfig,
    ) -> Self {
        let settle = settle::lanes(spawner, Arc::clone(&gate), config.lanes);
        let desk = Arc::new(Committer {
            store,
            gate,
            wake,
            settle,
            config,
            waits: Waits {
                queue: Histogram::new(WAIT_BUCKETS),
                commit: Histogram::new(WAIT_BUCKETS),
            },
        });
        let committer = Arc::clone(&desk);
        let lanes = Lanes::start(
            spawner,
            "writer.lane",
            Stage::Writer,
            config.lanes,
            move |batch| {
                let committer = Arc::clone(&committer);
                async move { committer.commit_queued(batch).await }
            },
        );
        Self { lanes, desk }
    }

    /// Makes visible where those wait who are committed in groups.
    pub fn register(&self, registry: &mut Registry) {
        let waits = &self.desk.waits;
        registry.add(&metric::WRITER_QUEUE_SECONDS, waits.queue.clone());
        registry.add(&metric::WRITER_COMMIT_SECONDS, waits.commit.clone());
    }

    /// Keeps a place in the queue, or none when it is full.
    #[must_use]
    pub fn reserve(&self, campaign: CampaignId) -> Option<WriterPlace> {
        self.lanes.reserve(campaign).map(WriterPlace)
    }

    /// Whether there is a place now.
    #[must_use]
    pub fn has_place(&self, campaign: CampaignId) -> bool {
        self.lanes.has_place(campaign)
    }

    /// Commits in the next group, and waits until what became of it is known.
    pub async fn commit(&self, place: WriterPlace, job: Job) -> Verdict {
        let (reply, verdict) = oneshot::channel();
        let _seat = place.0.send(Queued {
            job,
            since: Instant::now(),
            reply,
        });
        verdict.await.unwrap_or(Verdict::Unknown)
    }

    /// Commits at once, in a transaction of its own: the synchronous path.
    pub async fn commit_alone(&self, job: Job) -> Verdict {
        let mut verdicts = self.desk.commit_group(vec![job]).await;
        verdicts.pop().unwrap_or(Verdict::Unknown)
    }
}

/// What the rows of one transaction have in common.
#[derive(Clone, Copy)]
struct Group<'a> {
    campaign: &'a Campaign,
    epoch: u64,
    /// End of the shortest lease among them.
    lease_ends: Instant,
}

/// How long each of those in a group waited, for what.
struct Waits {
    queue: Histogram,
    commit: Histogram,
}

struct Committer {
    store: Store,
    gate: Arc<dyn Gate>,
    wake: Option<mpsc::Sender<Fresh>>,
    settle: Lanes<(CampaignId, ParticipationId)>,
    config: WriterConfig,
    waits: Waits,
}

impl Committer {
    async fn commit_queued(&self, batch: Vec<Queued>) {
        let taken = Instant::now();
        let mut groups: HashMap<(CampaignId, u64), Vec<Queued>> = HashMap::new();
        for queued in batch {
            let waited = taken.duration_since(queued.since);
            self.waits.queue.observe(waited.as_secs_f64());
            groups
                .entry((queued.job.campaign.id, queued.job.epoch))
                .or_default()
                .push(queued);
        }
        join_all(groups.into_values().map(|group| async {
            let (jobs, replies): (Vec<Job>, Vec<_>) = group
                .into_iter()
                .map(|queued| (queued.job, queued.reply))
                .unzip();
            for (reply, verdict) in replies.into_iter().zip(self.commit_group(jobs).await) {
                if reply.send(verdict).is_err() {
                    tracing::debug!(
                        ?verdict,
                        "who asked has gone; what was committed stays committed"
                    );
                }
            }
        }))
        .await;
    }

    /// Commits jobs of one campaign and epoch; one verdict for each, in order.
    async fn commit_group(&self, jobs: Vec<Job>) -> Vec<Verdict> {
        let begins = Instant::now() + self.config.lease_margin;
        let is_alive = |job: &Job| job.lease_deadline > begins;
        let lease_ends = jobs.iter().filter(|job| is_alive(job));
        let lease_ends = lease_ends.map(|job| job.lease_deadline).min();
        let Some(first) = jobs.first() else {
            return Vec::new();
        };
        let campaign = Arc::clone(&first.campaign);
        let group = Group {
            campaign: &campaign,
            epoch: first.epoch,
            lease_ends: lease_ends.unwrap_or(begins),
        };
        let alive: Vec<bool> = jobs.iter().map(is_alive).collect();
        let (in_time, late): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(is_alive);
        let in_time: Vec<Intake> = in_time.into_iter().map(|job| job.intake).collect();
        let began = Instant::now();
        failpoint::point("writer.begin");
        let known = self.commit_or_split(group, &in_time).await;
        let took = began.elapsed();
        tracing::debug!(rows = in_time.len(), ?took, "group written");
        for _ in known.iter().filter(|verdict| is_committed(verdict)) {
            self.waits.commit.observe(took.as_secs_f64());
        }
        if known.iter().any(is_committed) {
            failpoint::point("writer.committed");
        }
        let late = late.iter().map(|job| job.intake.participation.id);
        self.tell(group, in_time, &known, late.collect()).await;
        let mut known = known.into_iter();
        let verdict = |in_time| {
            if in_time {
                known.next().unwrap_or(Verdict::Unknown)
            } else {
                Verdict::Unavailable
            }
        };
        alive.into_iter().map(verdict).collect()
    }

    /// Tries the whole; when one row spoils it, the halves, down to the bad row alone.
    fn commit_or_split<'a>(
        &'a self,
        group: Group<'a>,
        batch: &'a [Intake],
    ) -> BoxFuture<'a, Vec<Verdict>> {
        async move {
            if batch.is_empty() {
                return Vec::new();
            }
            if !self.may_begin(group) {
                return vec![Verdict::Unavailable; batch.len()];
            }
            let single = match self.commit_with_retry(group, batch).await {
                Ok(BatchOutcome::Committed { held_from }) => Verdict::Committed { held_from },
                Ok(BatchOutcome::Mismatch(Mismatch::StaleEpoch)) => Verdict::StaleEpoch,
                Ok(BatchOutcome::Mismatch(Mismatch::SoldOut) | BatchOutcome::Conflict)
                    if batch.len() > 1 =>
                {
                    let (left, right) = batch.split_at(batch.len() / 2);
                    let mut verdicts = self.commit_or_split(group, left).await;
                    verdicts.extend(self.commit_or_split(group, right).await);
                    return verdicts;
                }
                Ok(BatchOutcome::Mismatch(Mismatch::SoldOut)) => Verdict::SoldOut,
                Ok(BatchOutcome::Conflict) => Verdict::Conflict,
                Err(CommitError::RolledBack(error)) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        rows = batch.len(),
                        "a batch was rolled back"
                    );
                    Verdict::Unavailable
                }
                Err(error @ (CommitError::Unknown(_) | CommitError::Late)) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        rows = batch.len(),
                        "a commit was cut off"
                    );
                    return self.look_up(batch).await;
                }
            };
            vec![single; batch.len()]
        }
        .boxed()
    }

    async fn commit_with_retry(
        &self,
        group: Group<'_>,
        batch: &[Intake],
    ) -> Result<BatchOutcome, CommitError> {
        let class = |error: &CommitError| match error {
            error if error.may_retry() && self.may_begin(group) => retry::Verdict::Again,
            _ => retry::Verdict::GiveUp,
        };
        retry::retry(&self.config.contention, class, || async {
            let commit = self
                .store
                .commit_participations(group.campaign, group.epoch, batch);
            // What is left of the lease is all that a transaction may take.
            tokio::time::timeout(self.config.lease_margin, commit)
                .await
                .unwrap_or(Err(CommitError::Late))
        })
        .await
    }

    /// Whether enough is left of the group's shortest lease for one more transaction.
    fn may_begin(&self, group: Group<'_>) -> bool {
        Instant::now() + self.config.lease_margin <= group.lease_ends
    }

    /// After a lost COMMIT, only the database knows.
    async fn look_up(&self, batch: &[Intake]) -> Vec<Verdict> {
        let ids: Vec<ParticipationId> =
            batch.iter().map(|intake| intake.participation.id).collect();
        let found = self.store.committed_among(&ids);
        let found = tokio::time::timeout(self.config.lease_margin, found).await;
        let found = found.map_or_else(|_| Vec::new(), Result::unwrap_or_default);
        // What is not found may still be on its way in: never a no, and never released here.
        ids.iter()
            .map(|id| {
                if found.contains(id) {
                    Verdict::Committed { held_from: None }
                } else {
                    Verdict::Unknown
                }
            })
            .collect()
    }

    /// Tells the relay and the gate what became of a group, of which `refused` came too late.
    async fn tell(
        &self,
        group: Group<'_>,
        intakes: Vec<Intake>,
        verdicts: &[Verdict],
        mut refused: Vec<ParticipationId>,
    ) {
        let campaign = group.campaign.id;
        let mut committed = Vec::with_capacity(intakes.len());
        let mut events = Vec::with_capacity(intakes.len());
        for (intake, verdict) in intakes.into_iter().zip(verdicts) {
            let id = intake.participation.id;
            match verdict {
                Verdict::Committed { .. } => {
                    committed.push(id);
                    events.extend(intake.hold_until.is_none().then_some(intake.event));
                }
                Verdict::SoldOut | Verdict::Conflict | Verdict::Unavailable => refused.push(id),
                Verdict::StaleEpoch | Verdict::Unknown => {}
            }
        }
        if let (Some(wake), false) = (&self.wake, events.is_empty()) {
            // A dropped hint costs a poll, not an event.
            drop(wake.try_send(Fresh {
                events,
                committed_at: Instant::now(),
            }));
        }
        for id in committed {
            if self.settle.offer(campaign, (campaign, id)).is_err() {
                tracing::debug!("no room to settle a lease; the sweeper will");
            }
        }
        if refused.is_empty() {
            return;
        }
        failpoint::point("writer.releasing");
        let released = failpoint::amid(
            "writer.released",
            self.gate.release(campaign, group.epoch, &refused),
        )
        .await;
        if let Err(error) = released {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                leases = refused.len(),
                "leases were not released; the sweeper will"
            );
        }
    }
}

const fn is_committed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Committed { .. })
}

//! Commits groups, splits a group that one row spoils, and reports each result to the gate and the relay.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::{BoxFuture, FutureExt, join_all};
use prometheus_client::metrics::histogram::Histogram;

use super::{CommitResult, Job, Queued, WriterConfig};
use crate::domain::{Campaign, CampaignId, OutboxEvent, ParticipationId};
use crate::parts::gate::Gate;
use crate::parts::store::{BatchOutcome, CommitError, Intake, Mismatch, Store};
use crate::runtime::batcher::Batchers;
use crate::runtime::failpoint;
use crate::runtime::retry;
use crate::runtime::telemetry::cause;
use crate::sale::relay_hints::RelayHints;

/// What the rows of one transaction have in common.
#[derive(Clone, Copy)]
struct Group<'a> {
    campaign: &'a Campaign,
    epoch: u64,
    /// End of the shortest lease among them.
    lease_ends: Instant,
}

/// How long each of those in a group waited, for what.
pub(super) struct Waits {
    pub(super) queue: Histogram,
    pub(super) commit: Histogram,
}

pub(super) struct Committer {
    pub(super) store: Store,
    pub(super) gate: Arc<dyn Gate>,
    pub(super) hints: RelayHints,
    pub(super) settle: Batchers<(CampaignId, ParticipationId)>,
    pub(super) config: WriterConfig,
    pub(super) waits: Waits,
}

impl Committer {
    pub(super) async fn commit_queued(&self, batch: Vec<Queued>) {
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
            for (reply, result) in replies.into_iter().zip(self.commit_group(jobs).await) {
                reply(result);
            }
        }))
        .await;
    }

    /// Commits jobs of one campaign and epoch; one result for each, in order.
    pub(super) async fn commit_group(&self, jobs: Vec<Job>) -> Vec<CommitResult> {
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
        for _ in known.iter().filter(|result| is_committed(result)) {
            self.waits.commit.observe(took.as_secs_f64());
        }
        if known.iter().any(is_committed) {
            failpoint::point("writer.committed");
        }
        let late = late.iter().map(|job| job.intake.participation.id);
        self.tell(group, in_time, &known, late.collect()).await;
        let mut known = known.into_iter();
        let result = |in_time| {
            if in_time {
                known.next().unwrap_or(CommitResult::Unknown)
            } else {
                CommitResult::Unavailable
            }
        };
        alive.into_iter().map(result).collect()
    }

    /// Tries the whole; when one row spoils it, the halves, down to the bad row alone.
    fn commit_or_split<'a>(
        &'a self,
        group: Group<'a>,
        batch: &'a [Intake],
    ) -> BoxFuture<'a, Vec<CommitResult>> {
        async move {
            if batch.is_empty() {
                return Vec::new();
            }
            if !self.may_begin(group) {
                return vec![CommitResult::Unavailable; batch.len()];
            }
            let single = match self.commit_with_retry(group, batch).await {
                Ok(BatchOutcome::Committed {
                    held_from,
                    first_sequence,
                }) => {
                    return (first_sequence..)
                        .take(batch.len())
                        .map(|sequence| CommitResult::Committed {
                            held_from,
                            sequence: Some(sequence),
                        })
                        .collect();
                }
                Ok(BatchOutcome::Mismatch(Mismatch::StaleEpoch)) => CommitResult::StaleEpoch,
                Ok(BatchOutcome::Mismatch(Mismatch::SoldOut) | BatchOutcome::Conflict)
                    if batch.len() > 1 =>
                {
                    let (left, right) = batch.split_at(batch.len() / 2);
                    let mut results = self.commit_or_split(group, left).await;
                    results.extend(self.commit_or_split(group, right).await);
                    return results;
                }
                Ok(BatchOutcome::Mismatch(Mismatch::SoldOut)) => CommitResult::SoldOut,
                Ok(BatchOutcome::Conflict) => CommitResult::Conflict,
                Err(CommitError::RolledBack(error)) => {
                    tracing::error!(
                        error = cause(&error),
                        rows = batch.len(),
                        "a batch was rolled back"
                    );
                    CommitResult::Unavailable
                }
                Err(error @ (CommitError::Unknown(_) | CommitError::Late)) => {
                    tracing::error!(
                        error = cause(&error),
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
    async fn look_up(&self, batch: &[Intake]) -> Vec<CommitResult> {
        let ids: Vec<ParticipationId> =
            batch.iter().map(|intake| intake.participation.id).collect();
        let found = self.store.committed_among(&ids);
        let found = tokio::time::timeout(self.config.lease_margin, found).await;
        let found = found.map_or_else(|_| Vec::new(), Result::unwrap_or_default);
        // What is not found may still be on its way in: never a no, and never released here.
        ids.iter()
            .map(|id| {
                if found.contains(id) {
                    CommitResult::Committed {
                        held_from: None,
                        sequence: None,
                    }
                } else {
                    CommitResult::Unknown
                }
            })
            .collect()
    }

    /// Tells the relay and the gate what became of a group, of which `refused` came too late.
    async fn tell(
        &self,
        group: Group<'_>,
        intakes: Vec<Intake>,
        results: &[CommitResult],
        mut refused: Vec<ParticipationId>,
    ) {
        let campaign = group.campaign.id;
        let mut committed = Vec::with_capacity(intakes.len());
        let mut events = Vec::with_capacity(intakes.len());
        for (intake, result) in intakes.into_iter().zip(results) {
            let id = intake.participation.id;
            match *result {
                CommitResult::Committed { sequence, .. } => {
                    committed.push(id);
                    // Without a sequence, because the answer was lost, the poll finds the event.
                    let event = sequence.map(|sequence| OutboxEvent {
                        sequence,
                        ..intake.event
                    });
                    match event {
                        Some(event) if intake.hold_until.is_some() => self.hints.held(event),
                        event => events.extend(event),
                    }
                }
                CommitResult::SoldOut | CommitResult::Conflict | CommitResult::Unavailable => {
                    refused.push(id);
                }
                CommitResult::StaleEpoch | CommitResult::Unknown => {}
            }
        }
        self.hints.committed(events);
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
                error = cause(&error),
                leases = refused.len(),
                "leases were not released; the sweeper will"
            );
        }
    }
}

const fn is_committed(result: &CommitResult) -> bool {
    matches!(result, CommitResult::Committed { .. })
}

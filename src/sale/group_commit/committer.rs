//! Commits groups: retries, splits a group with a faulty command, and looks up the result after a lost COMMIT.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::{BoxFuture, FutureExt, join_all};
use prometheus_client::metrics::histogram::Histogram;

use super::waiting::{Entrants, Queued, Waiting, gather};
use super::{NotCommitted, WriterConfig};
use crate::domain::{CampaignId, KeyChoice, Participation, ParticipationId, to_stored_precision};
use crate::parts::gate::Gate;
use crate::parts::store::{CommitError, GroupOutcome, Mismatch, Store, StoreError};
use crate::runtime::batcher::Batchers;
use crate::runtime::clock::Clock;
use crate::runtime::failpoint;
use crate::runtime::retry;
use crate::runtime::supervisor::Spawner;
use crate::runtime::telemetry::cause;
use crate::sale::catalogue::Catalogue;
use crate::sale::relay_hints::RelayHints;

/// What the writer uses.
pub struct Dependencies {
    /// Decides, and stores.
    pub store: Store,
    /// Settles or releases leases, and receives returned units.
    pub gate: Arc<dyn Gate>,
    /// Notified when units are returned.
    pub catalogue: Catalogue,
    /// Hands the events to the relay.
    pub hints: RelayHints,
    /// Time.
    pub clock: Clock,
    /// Runs work that no other command must wait for.
    pub spawner: Spawner,
    /// What the key of an event is.
    pub key_choice: KeyChoice,
}

/// Participations that were found after a lost COMMIT; with their rows if they are needed.
pub(super) type FoundParticipations = HashMap<ParticipationId, Option<Participation>>;

/// How long commands waited: in the queue, and for their commit.
pub(super) struct Waits {
    pub(super) queue: Histogram,
    pub(super) commit: Histogram,
}

pub(super) struct Committer {
    pub(super) dependencies: Dependencies,
    pub(super) settle: Batchers<(CampaignId, ParticipationId)>,
    pub(super) config: WriterConfig,
    pub(super) waits: Waits,
}

impl Committer {
    pub(super) async fn commit_queued(self: &Arc<Self>, batch: Vec<Queued>) {
        let taken = Instant::now();
        for queued in &batch {
            let waited = taken.duration_since(queued.since);
            self.waits.queue.observe(waited.as_secs_f64());
        }
        self.commit(batch).await;
    }

    /// Replies to every command.
    pub(super) async fn commit(self: &Arc<Self>, batch: Vec<Queued>) {
        let campaigns = gather(batch).into_values();
        join_all(campaigns.map(|groups| async {
            for mut group in groups {
                let late = group.take_late(Instant::now() + self.config.transaction_max);
                failpoint::point("writer.begin");
                self.commit_or_split(group).await;
                self.refuse(late, NotCommitted::Unavailable).await;
            }
        }))
        .await;
    }

    /// Tries the whole group. If one command makes it fail, tries its parts, down to the single command.
    fn commit_or_split(self: &Arc<Self>, mut waiting: Waiting) -> BoxFuture<'_, ()> {
        async move {
            let commands = waiting.len();
            if commands == 0 {
                return;
            }
            if !self.may_begin(&waiting) {
                return self.refuse(waiting, NotCommitted::Unavailable).await;
            }
            let began = Instant::now();
            match self.commit_in_doubt(&waiting).await {
                Ok(GroupOutcome::Committed(entries_result, changed)) => {
                    let took = began.elapsed();
                    tracing::debug!(commands, ?took, "a group was committed");
                    for _ in 0..commands {
                        self.waits.commit.observe(took.as_secs_f64());
                    }
                    self.report(waiting, entries_result, changed);
                }
                Ok(
                    GroupOutcome::Mismatch(Mismatch::SoldOut | Mismatch::OrderDecided)
                    | GroupOutcome::Conflict,
                ) if commands > 1 => {
                    self.commit_parts(waiting).await;
                }
                Ok(GroupOutcome::Mismatch(mismatch)) => {
                    let changes = waiting.take_changes();
                    self.refuse(waiting, mismatch.into()).await;
                    self.commit_or_split(changes).await;
                }
                Ok(GroupOutcome::Conflict) => self.refuse(waiting, NotCommitted::Conflict).await,
                Err(CommitError::RolledBack(error)) if commands > 1 && error.is_about_values() => {
                    self.commit_parts(waiting).await;
                }
                Err(error @ CommitError::RolledBack(_)) => {
                    tracing::error!(error = cause(&error), commands, "a group was rolled back");
                    self.refuse(waiting, NotCommitted::Unavailable).await;
                }
                Err(error @ (CommitError::Unknown(_) | CommitError::Late)) => {
                    tracing::error!(error = cause(&error), commands, "commit result unknown");
                    self.look_up(waiting).await;
                }
            }
        }
        .boxed()
    }

    async fn commit_parts(self: &Arc<Self>, waiting: Waiting) {
        let (first, second) = waiting.split();
        self.commit_or_split(first).await;
        self.commit_or_split(second).await;
    }

    /// Retries a single change that broke a rule of the schema: another transaction recorded the same payment after
    /// this change had checked it, and the retry sees that payment.
    async fn commit_in_doubt(&self, waiting: &Waiting) -> Result<GroupOutcome, CommitError> {
        let outcome = self.commit_with_retry(waiting).await;
        if matches!(outcome, Ok(GroupOutcome::Conflict)) && waiting.is_one_change() {
            return self.commit_with_retry(waiting).await;
        }
        outcome
    }

    async fn commit_with_retry(&self, waiting: &Waiting) -> Result<GroupOutcome, CommitError> {
        let Dependencies {
            store,
            clock,
            key_choice,
            ..
        } = &self.dependencies;
        let class = |error: &CommitError| {
            retry::RetryDecision::again_if(error.may_retry() && self.may_begin(waiting))
        };
        let group = waiting.group(*key_choice, to_stored_precision(clock.now()));
        retry::retry(&self.config.contention, class, || async {
            let commit = store.commit_group(&group);
            tokio::time::timeout(waiting.transaction_max(&self.config), commit)
                .await
                .unwrap_or(Err(CommitError::Late))
        })
        .await
    }

    /// Whether another transaction can end before the deadline.
    fn may_begin(&self, waiting: &Waiting) -> bool {
        Instant::now() + waiting.transaction_max(&self.config) <= waiting.deadline()
    }

    /// Looks the commands up after a lost COMMIT. A command that is not found may still be committed later, so it is
    /// never rejected or released here.
    async fn look_up(&self, waiting: Waiting) {
        let store = &self.dependencies.store;
        let found = async {
            match &waiting.entries {
                Entrants::None => Ok(FoundParticipations::default()),
                Entrants::Admitted(jobs) => {
                    let ids = jobs
                        .iter()
                        .map(|(job, _)| job.new_participation.participation.id);
                    let found = store.committed_among(&ids.collect::<Vec<_>>()).await?;
                    Ok(found.into_iter().map(|id| (id, None)).collect())
                }
                Entrants::Applicants { applicants, .. } => {
                    let ids = applicants.iter().map(|(one, _)| one.participation);
                    let found = store.participations(&ids.collect::<Vec<_>>()).await?;
                    Ok(found.into_iter().map(|one| (one.id, Some(one))).collect())
                }
            }
        };
        let found = tokio::time::timeout(self.config.unleased_max, found).await;
        let found: Result<FoundParticipations, StoreError> =
            found.unwrap_or_else(|_| Ok(FoundParticipations::default()));
        self.report_found(waiting, found.unwrap_or_default());
    }
}

//! The database path: while the gate is away, the database admits and commits, many participations in one
//! transaction. It is slower than the gate, above all for refusals, so its queue is short; without room the client
//! has to retry.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::{BoxFuture, FutureExt, join_all};
use tokio::sync::oneshot;

use crate::domain::{
    CampaignId, KeyChoice, OutboxEvent, Participation, ParticipationId, to_stored_precision,
};
use crate::parts::store::{
    Applicant, Closing, CommitError, Decision, DirectOutcome, Making, Store,
};
use crate::runtime::batcher::{BatcherConfig, Batchers};
use crate::runtime::clock::Clock;
use crate::runtime::retry;
use crate::runtime::supervisor::{Spawner, Stage};
use crate::runtime::telemetry::cause;
use crate::sale::relay_hints::RelayHints;

/// How long the database path keeps a gate closed after each commit. A gate that is back is rebuilt once
/// this is over for whoever could not reach it.
pub const TERM: Duration = Duration::from_millis(500);

/// Why the database path is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The gate is away for this replica.
    GateAway,
    /// The gate is away for another replica, which has the campaign's gate closed.
    GateClosed,
}

/// The result for one applicant.
#[derive(Clone, Debug)]
pub enum DirectAnswer {
    /// Decided by the rules, and durable if accepted.
    Decided(Decision),
    /// Not committed: the idempotency key was used.
    Conflict,
    /// Not committed: the gate is open again. Ask it.
    Open,
    /// There is no such campaign.
    UnknownCampaign,
    /// Not committed: the store failed.
    Unavailable,
    /// Unknown: the connection was lost during COMMIT.
    Unknown,
}

/// The bounds of the database path, and how rows are made.
#[derive(Clone, Debug)]
pub struct DirectConfig {
    /// Queue and batch.
    pub lanes: BatcherConfig,
    /// How deadlocks and lock waits are retried.
    pub contention: retry::Policy,
    /// How long a transaction may take.
    pub transaction_max: Duration,
    /// What the key of an event is.
    pub key_choice: KeyChoice,
}

struct Queued {
    campaign: CampaignId,
    cause: Cause,
    applicant: Applicant,
    reply: oneshot::Sender<DirectAnswer>,
}

/// Admits and commits without a gate.
#[derive(Clone)]
pub struct Direct {
    lanes: Batchers<Queued>,
    committer: Arc<DirectCommitter>,
}

impl Direct {
    /// Starts the lanes.
    #[must_use]
    pub fn start(
        spawner: &Spawner,
        store: Store,
        clock: Clock,
        hints: RelayHints,
        config: DirectConfig,
    ) -> Self {
        let lanes = config.lanes;
        let committer = Arc::new(DirectCommitter {
            store,
            clock,
            hints,
            config,
        });
        let worker = Arc::clone(&committer);
        let lanes = Batchers::start(
            spawner,
            "direct.lane",
            Stage::Writer,
            lanes,
            move |batch: Vec<Queued>| {
                let committer = Arc::clone(&worker);
                async move { committer.serve_queued(batch).await }
            },
        );
        Self { lanes, committer }
    }

    /// Asks in the next group and waits for the answer; none: no room, and nothing was taken.
    pub async fn ask(
        &self,
        campaign: CampaignId,
        cause: Cause,
        applicant: Applicant,
    ) -> Option<DirectAnswer> {
        let (reply, answer) = oneshot::channel();
        let queued = Queued {
            campaign,
            cause,
            applicant,
            reply,
        };
        self.lanes.offer(campaign, queued).ok()?;
        Some(answer.await.unwrap_or(DirectAnswer::Unknown))
    }

    /// Asks at once, in a transaction of its own: the synchronous path, which publishes by itself.
    pub async fn ask_alone(
        &self,
        campaign: CampaignId,
        cause: Cause,
        applicant: Applicant,
        hold: TimeDelta,
    ) -> (DirectAnswer, Option<OutboxEvent>) {
        let group = Group {
            campaign,
            cause,
            hold: Some(hold),
        };
        let (mut answers, mut events) = self.committer.serve(group, &[applicant]).await;
        let event = events.pop();
        if let Some(event) = event.clone() {
            if event.shares_its_key() {
                self.committer.hints.committed(vec![event]);
            } else {
                self.committer.hints.held(event);
            }
        }
        (answers.pop().unwrap_or(DirectAnswer::Unknown), event)
    }
}

/// What the applicants of one transaction have in common.
#[derive(Clone, Copy)]
struct Group {
    campaign: CampaignId,
    cause: Cause,
    hold: Option<TimeDelta>,
}

/// Answers of a group in order, and the events it put into the outbox.
type Served = (Vec<DirectAnswer>, Vec<OutboxEvent>);

struct DirectCommitter {
    store: Store,
    clock: Clock,
    hints: RelayHints,
    config: DirectConfig,
}

impl DirectCommitter {
    async fn serve_queued(&self, batch: Vec<Queued>) {
        let mut groups: HashMap<(CampaignId, Cause), Vec<Queued>> = HashMap::new();
        for queued in batch {
            let group = groups.entry((queued.campaign, queued.cause));
            group.or_default().push(queued);
        }
        join_all(
            groups
                .into_iter()
                .map(|((campaign, cause), group)| async move {
                    let (applicants, replies): (Vec<Applicant>, Vec<_>) = group
                        .into_iter()
                        .map(|queued| (queued.applicant, queued.reply))
                        .unzip();
                    let group = Group {
                        campaign,
                        cause,
                        hold: None,
                    };
                    let (answers, events) = self.serve(group, &applicants).await;
                    self.hints.committed(events);
                    for (reply, answer) in replies.into_iter().zip(answers) {
                        // Who asked may have gone; what was committed stays committed.
                        drop(reply.send(answer));
                    }
                }),
        )
        .await;
    }

    /// Tries the whole; when one row spoils it, the halves, down to the bad row alone.
    fn serve<'a>(&'a self, group: Group, applicants: &'a [Applicant]) -> BoxFuture<'a, Served> {
        async move {
            let same = |answer: DirectAnswer| (vec![answer; applicants.len()], Vec::new());
            match self.try_whole(group, applicants).await {
                Ok(DirectOutcome::Decided(decisions, events)) => {
                    let answers = decisions.into_iter().map(DirectAnswer::Decided);
                    (answers.collect(), events)
                }
                Ok(DirectOutcome::Conflict) if applicants.len() > 1 => {
                    let (left, right) = applicants.split_at(applicants.len() / 2);
                    let (mut answers, mut events) = self.serve(group, left).await;
                    let (more_answers, more_events) = self.serve(group, right).await;
                    answers.extend(more_answers);
                    events.extend(more_events);
                    (answers, events)
                }
                Ok(DirectOutcome::Conflict) => same(DirectAnswer::Conflict),
                Ok(DirectOutcome::Open) => same(DirectAnswer::Open),
                Ok(DirectOutcome::Unknown) => same(DirectAnswer::UnknownCampaign),
                Err(CommitError::RolledBack(error)) => {
                    tracing::error!(
                        error = cause(&error),
                        rows = applicants.len(),
                        "a batch of the database path was rolled back"
                    );
                    same(DirectAnswer::Unavailable)
                }
                Err(error @ (CommitError::Unknown(_) | CommitError::Late)) => {
                    tracing::error!(
                        error = cause(&error),
                        rows = applicants.len(),
                        "a commit of the database path was cut off"
                    );
                    (self.look_up(applicants).await, Vec::new())
                }
            }
        }
        .boxed()
    }

    async fn try_whole(
        &self,
        group: Group,
        applicants: &[Applicant],
    ) -> Result<DirectOutcome, CommitError> {
        let class = |error: &CommitError| retry::Verdict::again_if(error.may_retry());
        let closing = match group.cause {
            Cause::GateAway => Closing::For(TERM),
            Cause::GateClosed => Closing::Never,
        };
        retry::retry(&self.config.contention, class, || async {
            let making = Making {
                key_choice: self.config.key_choice,
                now: to_stored_precision(self.clock.now()),
                hold: group.hold,
            };
            let admit = self
                .store
                .admit_directly(group.campaign, applicants, &making, closing);
            tokio::time::timeout(self.config.transaction_max, admit)
                .await
                .unwrap_or(Err(CommitError::Late))
        })
        .await
    }

    /// After a lost COMMIT, only the database knows, and what is not found may still be on its way in.
    async fn look_up(&self, applicants: &[Applicant]) -> Vec<DirectAnswer> {
        let ids: Vec<ParticipationId> = applicants.iter().map(|one| one.participation).collect();
        let found = self.store.participations(&ids);
        let found = tokio::time::timeout(self.config.transaction_max, found).await;
        let found = found.map_or_else(|_| Vec::new(), Result::unwrap_or_default);
        let mut found: HashMap<ParticipationId, Participation> =
            found.into_iter().map(|one| (one.id, one)).collect();
        let answer = |id| match found.remove(id) {
            Some(participation) => DirectAnswer::Decided(Decision::Accepted(participation)),
            None => DirectAnswer::Unknown,
        };
        ids.iter().map(answer).collect()
    }
}

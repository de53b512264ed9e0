//! Commits changes. Those of a campaign that are wished for while a transaction runs are made together in
//! the next, as the writer does with participations: they would stand in line for the same rows anyway.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::{ChangeError, as_it_stands};
use crate::domain::{CampaignId, KeyChoice, Participation, ParticipationId, Return};
use crate::parts::gate::{Gate, GivenBack};
use crate::parts::store::{Changed, CommitError, Store, StoreError, Wished};
use crate::runtime::failpoint;
use crate::runtime::retry;
use crate::runtime::supervisor::{Spawner, Stage};
use crate::runtime::telemetry::cause;
use crate::sale::catalogue::Catalogue;
use crate::sale::relay_hints::RelayHints;

/// How often, and how far apart, a gate is told of units given back that is just being rebuilt.
const TELLINGS_MAX: usize = 20;
const TELLING_PAUSE: Duration = Duration::from_millis(100);

/// Transactions that a lane makes one after another for wishes about the same participation; who wishes
/// more of it at the same time is told to come back.
const ROUNDS_MAX: usize = 4;
/// How long a commit may take with its repetitions: after that, nobody who waits for it is there.
const COMMIT_MAX: Duration = Duration::from_secs(8);

/// What a commit takes.
pub struct Committer {
    /// Decides.
    pub store: Store,
    /// Gets the units back.
    pub gate: Arc<dyn Gate>,
    /// Forgets that a campaign was sold out.
    pub catalogue: Catalogue,
    /// Hands the events over to the relay.
    pub hints: RelayHints,
    /// Runs what nobody waits for.
    pub spawner: Spawner,
    /// What the key of an event is.
    pub key_choice: KeyChoice,
    /// How deadlocks and lock waits are retried.
    pub contention: retry::Policy,
}

/// What became of one wish.
pub(super) type Granted = Result<Participation, ChangeError>;

/// A wish that waits for its transaction.
pub(super) struct Queued {
    pub campaign: CampaignId,
    pub wished: Wished,
    pub reply: Reply,
}

type Reply = oneshot::Sender<Granted>;

impl Committer {
    /// Grants what was queued, in its order where several concern the same participation.
    pub(super) async fn grant(self: &Arc<Self>, batch: Vec<Queued>) {
        let mut campaigns: HashMap<CampaignId, Vec<(Wished, Reply)>> = HashMap::new();
        for queued in batch {
            let of_campaign = campaigns.entry(queued.campaign).or_default();
            of_campaign.push((queued.wished, queued.reply));
        }
        join_all(
            campaigns
                .into_iter()
                .map(|(campaign, mut waiting)| async move {
                    for _ in 0..ROUNDS_MAX {
                        let mut met = HashSet::new();
                        let (firsts, later): (Vec<_>, Vec<_>) = waiting
                            .into_iter()
                            .partition(|(wished, _)| met.insert(wished.id));
                        if !firsts.is_empty() {
                            self.grant_together(campaign, firsts).await;
                        }
                        waiting = later;
                    }
                    for (_, reply) in waiting {
                        answer(reply, Err(ChangeError::Busy));
                    }
                }),
        )
        .await;
    }

    /// Grants wishes of one campaign, one for each participation, in one transaction; if one spoils it, the
    /// halves, down to the bad one alone.
    async fn grant_together(self: &Arc<Self>, campaign: CampaignId, asked: Vec<(Wished, Reply)>) {
        let (wishes, replies): (Vec<Wished>, Vec<Reply>) = asked.into_iter().unzip();
        let mut changed = match self.commit_in_doubt(campaign, &wishes).await {
            Ok(changed) => changed,
            Err(CommitError::RolledBack(error)) if wishes.len() > 1 && spoils(&error) => {
                let mut asked: Vec<_> = wishes.into_iter().zip(replies).collect();
                let others = asked.split_off(asked.len() / 2);
                Box::pin(self.grant_together(campaign, asked)).await;
                return Box::pin(self.grant_together(campaign, others)).await;
            }
            Err(error) => {
                tracing::warn!(
                    error = cause(&error),
                    wishes = wishes.len(),
                    "participations could not be changed"
                );
                for reply in replies {
                    answer(reply, Err(ChangeError::Unavailable));
                }
                return;
            }
        };
        let mut outcomes = outcomes(&mut changed);
        let mut gave_back = Vec::new();
        for (wished, reply) in wishes.iter().zip(replies) {
            let outcome = outcomes
                .remove(&wished.id)
                .unwrap_or(Err(ChangeError::Unknown));
            if wished.wish.returns_units() && outcome.is_ok() {
                gave_back.push((reply, outcome));
            } else {
                answer(reply, outcome);
            }
        }
        if gave_back.is_empty() {
            return;
        }
        // A gate that is slow holds up nobody else's change.
        let committer = Arc::clone(self);
        let telling = async move {
            committer.give_back(campaign, &changed).await;
            for (reply, outcome) in gave_back {
                answer(reply, outcome);
            }
        };
        self.spawner
            .detach("change.give_back", Stage::Admission, telling);
    }

    /// Asks again for a wish that alone broke a rule of the schema: the payment that it names was recorded by
    /// another transaction after this one had looked, and is seen now.
    async fn commit_in_doubt(
        &self,
        campaign: CampaignId,
        wishes: &[Wished],
    ) -> Result<Changed, CommitError> {
        match self.commit(campaign, wishes).await {
            Err(CommitError::RolledBack(error)) if wishes.len() == 1 && is_taken(&error) => {
                self.commit(campaign, wishes).await
            }
            committed => committed,
        }
    }

    /// Makes changes of one campaign, and wakes the relay. The gate is still to be told.
    async fn commit(
        &self,
        campaign: CampaignId,
        wishes: &[Wished],
    ) -> Result<Changed, CommitError> {
        let class = |error: &CommitError| retry::Verdict::again_if(error.may_retry());
        let changing = retry::retry(&self.contention, class, || {
            self.store
                .change_participations(campaign, wishes, self.key_choice)
        });
        let changed = tokio::time::timeout(COMMIT_MAX, changing).await;
        let mut changed = changed.unwrap_or(Err(CommitError::Late))?;
        if !changed.changed.is_empty() {
            failpoint::point("change.committed");
        }
        if !changed.returns.is_empty() {
            self.catalogue.note_commit(campaign);
        }
        self.hints.committed(std::mem::take(&mut changed.events));
        Ok(changed)
    }

    /// Makes changes of one campaign, and tells whoever has to know.
    pub(super) async fn make(
        self: &Arc<Self>,
        campaign: CampaignId,
        wishes: &[Wished],
    ) -> Result<Made, CommitError> {
        let changed = self.commit(campaign, wishes).await?;
        self.give_back(campaign, &changed).await;
        Ok(Made {
            changed: changed.changed.len(),
            unreadable: changed.unreadable,
        })
    }

    /// Tells the gate, so that others can have what was given back. Only the first try is waited for.
    async fn give_back(self: &Arc<Self>, campaign: CampaignId, changed: &Changed) {
        let (epoch, returns) = (changed.epoch, &changed.returns);
        if returns.is_empty() {
            return;
        }
        match self.gate.give_back(campaign, epoch, returns).await {
            Ok(GivenBack::Units(_)) => self.catalogue.invalidate(campaign).await,
            Ok(GivenBack::Behind) => {
                let (committer, returns) = (Arc::clone(self), returns.clone());
                let later =
                    async move { committer.give_back_later(campaign, epoch, &returns).await };
                self.spawner
                    .detach("change.give_back", Stage::Admission, later);
            }
            Err(error) => not_told(&error),
        }
    }

    async fn give_back_later(&self, campaign: CampaignId, epoch: u64, returns: &[Return]) {
        for _ in 0..TELLINGS_MAX {
            tokio::time::sleep(TELLING_PAUSE).await;
            match self.gate.give_back(campaign, epoch, returns).await {
                Ok(GivenBack::Behind) => {}
                Ok(GivenBack::Units(_)) => return self.catalogue.invalidate(campaign).await,
                Err(error) => return not_told(&error),
            }
        }
    }
}

/// Whether something that has to be unique is another's.
const fn is_taken(error: &StoreError) -> bool {
    matches!(error, StoreError::Constraint(_))
}

/// Whether one wish may be the reason why none of its transaction was granted.
fn spoils(error: &StoreError) -> bool {
    is_taken(error) || error.is_about_values()
}

/// What came of changes that nobody waits for.
pub(super) struct Made {
    /// How many there were.
    pub(super) changed: usize,
    /// The participations that could not be read.
    pub(super) unreadable: Vec<ParticipationId>,
}

/// What became of each.
fn outcomes(changed: &mut Changed) -> HashMap<ParticipationId, Granted> {
    let kept = std::mem::take(&mut changed.kept);
    let kept = kept
        .into_iter()
        .map(|(kept, obstacle)| (kept.id, as_it_stands(kept, obstacle)));
    let unreadable = std::mem::take(&mut changed.unreadable);
    let unreadable = unreadable
        .into_iter()
        .map(|id| (id, Err(ChangeError::Unavailable)));
    let granted = std::mem::take(&mut changed.changed);
    let granted = granted.into_iter().map(|granted| (granted.id, Ok(granted)));
    granted.chain(kept).chain(unreadable).collect()
}

fn answer(reply: Reply, outcome: Granted) {
    if reply.send(outcome).is_err() {
        tracing::debug!("who asked has gone; what was changed stays changed");
    }
}

fn not_told(error: &crate::parts::gate::GateError) {
    tracing::debug!(
        error = cause(error),
        "the gate does not know of units given back: the sweeper sees to it"
    );
}

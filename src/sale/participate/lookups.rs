//! Looks participations up in the store, by id or by idempotency key, many at a time. A flood of keys takes a few
//! connections, and never those of commits. It decides and caches nothing: a key without a participation just now may
//! be in progress in another replica.

use std::collections::{HashMap, HashSet};

use tokio::sync::oneshot;

use super::{ParticipateError, Request, unavailable};
use crate::domain::{CampaignId, Participation, ParticipationId};
use crate::parts::store::{GateStatus, Store, StoreError, UserKey};
use crate::runtime::batcher::{BatcherConfig, Batchers};
use crate::runtime::supervisor::{Spawner, Stage};

/// Workers, each with one connection.
const WORKERS: usize = 2;

/// What the store knows of a key or an id.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// This participation is committed.
    Participation(Participation),
    /// There is no participation.
    Nothing,
    /// An open transaction may commit one.
    UnderWay,
    /// There is no participation, but the database serves the campaign, or did so until now: no gate knows all its
    /// keys.
    GateClosed,
}

/// What is looked up.
#[derive(Clone)]
enum Question {
    /// The participation of this id.
    Id(ParticipationId),
    /// The participation of this key.
    Committed(UserKey),
    /// The participation of this key, or whether one may still be committed.
    Any(UserKey),
}

/// What a caller waits for. A reply that is dropped: the store did not answer.
enum LookupRequest {
    Known {
        campaign: CampaignId,
        question: Question,
        reply: oneshot::Sender<Known>,
    },
    /// The current epoch of the campaign.
    Epoch {
        campaign: CampaignId,
        reply: oneshot::Sender<Option<u64>>,
    },
}

/// Looks participations up.
#[derive(Clone)]
pub struct Lookups {
    batchers: Batchers<LookupRequest>,
}

impl Lookups {
    /// Starts the workers, with the queue and batch of `config`.
    #[must_use]
    pub fn start(spawner: &Spawner, store: Store, config: BatcherConfig) -> Self {
        let config = BatcherConfig {
            count: WORKERS,
            ..config
        };
        let work = move |batch| answer_all(store.clone(), batch);
        let batchers = Batchers::start(spawner, "lookups.batcher", Stage::Admission, config, work);
        Self { batchers }
    }

    /// The participation of this id, if it is committed.
    pub(super) async fn participation(
        &self,
        campaign: CampaignId,
        id: ParticipationId,
    ) -> Result<Option<Participation>, ParticipateError> {
        let known = self.ask(campaign, Question::Id(id)).await?;
        Ok(known.participation())
    }

    /// The participation that the request's key led to.
    pub(super) async fn by_key(
        &self,
        request: &Request,
        key: &str,
    ) -> Result<Option<Participation>, ParticipateError> {
        let question = Question::Committed(user_key(request, key));
        let known = self.ask(request.campaign, question).await?;
        Ok(known.participation())
    }

    /// What is known of the request's key, before it is refused.
    pub(super) async fn any_by_key(
        &self,
        request: &Request,
        key: &str,
    ) -> Result<Known, ParticipateError> {
        let question = Question::Any(user_key(request, key));
        self.ask(request.campaign, question).await
    }

    /// The current epoch of the campaign, read from a server that accepts writes; none: there is no such campaign.
    pub(super) async fn epoch(
        &self,
        campaign: CampaignId,
    ) -> Result<Option<u64>, ParticipateError> {
        let asking = |reply| LookupRequest::Epoch { campaign, reply };
        self.answer(campaign, asking).await
    }

    async fn ask(
        &self,
        campaign: CampaignId,
        question: Question,
    ) -> Result<Known, ParticipateError> {
        let asking = |reply| LookupRequest::Known {
            campaign,
            question,
            reply,
        };
        self.answer(campaign, asking).await
    }

    async fn answer<T>(
        &self,
        campaign: CampaignId,
        asking: impl FnOnce(oneshot::Sender<T>) -> LookupRequest,
    ) -> Result<T, ParticipateError> {
        let (reply, answer) = oneshot::channel();
        let queued = self.batchers.offer(campaign, asking(reply));
        queued.map_err(|_| ParticipateError::Busy)?;
        // The reason was logged, once for the whole batch.
        let unknown = |_| ParticipateError::Unavailable { part: "store" };
        answer.await.map_err(unknown)
    }
}

impl Known {
    fn participation(self) -> Option<Participation> {
        match self {
            Self::Participation(participation) => Some(participation),
            Self::Nothing | Self::UnderWay | Self::GateClosed => None,
        }
    }
}

fn user_key(request: &Request, key: &str) -> UserKey {
    UserKey {
        user: request.applicant.user,
        key: key.to_owned(),
    }
}

/// The results of a batch.
#[derive(Default)]
struct LookupResults {
    by_id: HashMap<ParticipationId, Participation>,
    by_key: HashMap<UserKey, Participation>,
    under_way: HashSet<UserKey>,
    closed: HashSet<CampaignId>,
    epochs: HashMap<CampaignId, u64>,
}

async fn answer_all(store: Store, batch: Vec<LookupRequest>) {
    let results = match read(&store, &batch).await {
        Ok(results) => results,
        Err(error) => {
            unavailable("store", &error);
            return;
        }
    };
    for asking in batch {
        // The caller may be disconnected.
        match asking {
            LookupRequest::Known {
                campaign,
                question,
                reply,
            } => drop(reply.send(results.known(campaign, &question))),
            LookupRequest::Epoch { campaign, reply } => {
                let _disconnected = reply.send(results.epochs.get(&campaign).copied());
            }
        }
    }
}

/// Reads commits first, then open transactions: a commit in between still counts as in progress. Gates are read
/// before and after, because commits of the database path in between would not be seen.
async fn read(store: &Store, batch: &[LookupRequest]) -> Result<LookupResults, StoreError> {
    let mut results = LookupResults::default();
    let (mut ids, mut keys, mut in_epochs) = (Vec::new(), Vec::new(), HashSet::new());
    for asking in batch {
        match asking {
            LookupRequest::Epoch { campaign, .. } => {
                in_epochs.insert(*campaign);
            }
            LookupRequest::Known { question, .. } => match question {
                Question::Id(id) => ids.push(*id),
                Question::Committed(key) | Question::Any(key) => keys.push(key.clone()),
            },
        }
    }
    if !in_epochs.is_empty() {
        let campaigns: Vec<CampaignId> = in_epochs.into_iter().collect();
        let gates = store.current_gates_in_force(&campaigns).await?.into_iter();
        results.epochs = gates.map(|(id, gate)| (id, gate.epoch)).collect();
    }
    if !ids.is_empty() {
        let found = store.participations(&ids).await?;
        results.by_id = found.into_iter().map(|one| (one.id, one)).collect();
    }
    let campaigns: HashSet<CampaignId> = batch.iter().filter_map(LookupRequest::in_doubt).collect();
    let campaigns: Vec<CampaignId> = campaigns.into_iter().collect();
    if campaigns.is_empty() {
        results.by_key = store.participations_by_keys(&keys).await?;
        return Ok(results);
    }
    let before = store.gate_statuses(&campaigns).await?;
    results.by_key = store.participations_by_keys(&keys).await?;
    let in_doubt = batch.iter().filter_map(|asking| match asking {
        LookupRequest::Known {
            question: Question::Any(key),
            ..
        } if !results.by_key.contains_key(key) => Some(key.clone()),
        _ => None,
    });
    let in_doubt: Vec<UserKey> = in_doubt.collect();
    if !in_doubt.is_empty() {
        results.under_way = store.keys_under_way(&in_doubt).await?.into_iter().collect();
        let after = store.current_gates_in_force(&campaigns).await?;
        // The database path may have committed between the reads, and closed and reopened the gate.
        results.closed = campaigns
            .into_iter()
            .filter(|id| had_no_gate(before.get(id), after.get(id)))
            .collect();
    }
    Ok(results)
}

/// Whether the database served a campaign at some time between two looks at its gate: each closing and each
/// opening raises the epoch.
fn had_no_gate(before: Option<&GateStatus>, after: Option<&GateStatus>) -> bool {
    before != after || after.is_some_and(|gate| gate.is_closed)
}

impl LookupRequest {
    /// The campaign, if the question includes open transactions.
    fn in_doubt(&self) -> Option<CampaignId> {
        match self {
            Self::Known {
                campaign,
                question: Question::Any(_),
                ..
            } => Some(*campaign),
            _ => None,
        }
    }
}

impl LookupResults {
    fn known(&self, campaign: CampaignId, question: &Question) -> Known {
        let found = match question {
            Question::Id(id) => self.by_id.get(id),
            Question::Committed(key) | Question::Any(key) => self.by_key.get(key),
        };
        match (found, question) {
            (Some(participation), _) => Known::Participation(participation.clone()),
            (None, Question::Any(key)) if self.under_way.contains(key) => Known::UnderWay,
            (None, Question::Any(_)) if self.closed.contains(&campaign) => Known::GateClosed,
            (None, _) => Known::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_closed_and_reopened_between_two_reads_is_detected() {
        let gate = |epoch, is_closed| GateStatus { epoch, is_closed };
        let open = gate(3, false);
        assert!(!had_no_gate(Some(&open), Some(&open)));
        for after in [gate(4, true), gate(5, false)] {
            assert!(had_no_gate(Some(&open), Some(&after)), "{after:?}");
        }
        let closed = gate(4, true);
        assert!(had_no_gate(Some(&closed), Some(&closed)));
        assert!(had_no_gate(Some(&closed), Some(&gate(5, false))));
    }
}

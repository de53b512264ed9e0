//! Reports the result of a group: to the relay, to the gate, and to the callers.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::committer::{Committer, FoundParticipations};
use super::waiting::{Entrants, Waiting};
use super::{ChangeOutcome, ChangeResult, Committed, Decided, DecidedResult, NotCommitted};
use crate::domain::{CampaignId, OutboxEvent, ParticipationId, Return};
use crate::parts::gate::GivenBack;
use crate::parts::store::{ChangeRequest, Changed, Decision, EntriesResult};
use crate::runtime::batcher::Reply;
use crate::runtime::failpoint;
use crate::runtime::supervisor::Stage;
use crate::runtime::telemetry::cause;

/// How often, and how far apart, a gate that is being rebuilt is notified of returned units.
const RETURN_ATTEMPTS_MAX: usize = 20;
const RETURN_PAUSE: Duration = Duration::from_millis(100);

impl Committer {
    /// Reports a committed group.
    pub(super) fn report(
        self: &Arc<Self>,
        waiting: Waiting,
        entries_result: EntriesResult,
        changed: Changed,
    ) {
        let campaign = waiting.campaign;
        match (waiting.entries, entries_result) {
            (
                Entrants::Admitted(jobs),
                EntriesResult::Admitted {
                    held_from,
                    first_sequence,
                },
            ) => {
                failpoint::point("writer.committed");
                let mut events = Vec::with_capacity(jobs.len());
                let mut replies = Vec::with_capacity(jobs.len());
                for ((job, reply), sequence) in jobs.into_iter().zip(first_sequence..) {
                    let id = job.new_participation.participation.id;
                    let event = OutboxEvent {
                        sequence,
                        ..job.new_participation.event
                    };
                    if job.new_participation.hold_until.is_some() {
                        self.dependencies.hints.held(event);
                    } else {
                        events.push(event);
                    }
                    self.settle(campaign, id);
                    replies.push(reply);
                }
                self.dependencies.hints.committed(events);
                for (reply, sequence) in replies.into_iter().zip(first_sequence..) {
                    reply(Ok(Committed {
                        held_from,
                        sequence: Some(sequence),
                    }));
                }
            }
            (
                Entrants::Applicants {
                    applicants, hold, ..
                },
                EntriesResult::Decided(decisions, events),
            ) => {
                let replies = applicants.into_iter().map(|(_, reply)| reply);
                if hold.is_none() {
                    self.dependencies.hints.committed(events);
                    report_decided(replies, decisions, Vec::new());
                } else {
                    for event in &events {
                        self.hint_held(event.clone());
                    }
                    report_decided(replies, decisions, events);
                }
            }
            // The entries have no result, so their replies are dropped, and the callers treat the result as unknown.
            _ => {}
        }
        self.report_changed(campaign, waiting.changes, changed);
    }

    /// Reports an event that its request publishes, unless it shares its key: then the relay publishes it in order.
    fn hint_held(&self, event: OutboxEvent) {
        if event.shares_its_key() {
            self.dependencies.hints.committed(vec![event]);
        } else {
            self.dependencies.hints.held(event);
        }
    }

    /// Reports a group after a lost COMMIT; only these entries are known to be committed.
    pub(super) fn report_found(&self, waiting: Waiting, mut found: FoundParticipations) {
        match waiting.entries {
            Entrants::None => {}
            Entrants::Admitted(jobs) => {
                for (job, reply) in jobs {
                    let id = job.new_participation.participation.id;
                    // The poll of the relay finds the event.
                    let committed = found.remove(&id).map(|_| Committed {
                        held_from: None,
                        sequence: None,
                    });
                    if committed.is_some() {
                        self.settle(waiting.campaign, id);
                    }
                    reply(committed.ok_or(NotCommitted::Unknown));
                }
            }
            Entrants::Applicants { applicants, .. } => {
                for (applicant, reply) in applicants {
                    let found = found.remove(&applicant.participation).flatten();
                    let decided = found.map(|found| Decided {
                        decision: Decision::Accepted(found),
                        event: None,
                    });
                    reply(decided.ok_or(NotCommitted::Unknown));
                }
            }
        }
        // A repeated request gets the result of the change.
        for (_, reply) in waiting.changes {
            reply(Err(NotCommitted::Unknown));
        }
    }

    /// Reports a group that was not committed, and releases its leases.
    pub(super) async fn refuse(&self, waiting: Waiting, why: NotCommitted) {
        for (_, reply) in waiting.changes {
            reply(Err(why));
        }
        let jobs = match waiting.entries {
            Entrants::None => return,
            Entrants::Admitted(jobs) => jobs,
            Entrants::Applicants { applicants, .. } => {
                for (_, reply) in applicants {
                    reply(Err(why));
                }
                return;
            }
        };
        let epoch = jobs.first().map(|(job, _)| job.epoch);
        if let (true, Some(epoch)) = (why.releases_the_lease(), epoch) {
            let ids = jobs
                .iter()
                .map(|(job, _)| job.new_participation.participation.id);
            self.release(waiting.campaign, epoch, &ids.collect::<Vec<_>>())
                .await;
        }
        for (_, reply) in jobs {
            reply(Err(why));
        }
    }

    async fn release(&self, campaign: CampaignId, epoch: u64, ids: &[ParticipationId]) {
        failpoint::point("writer.releasing");
        let release = self.dependencies.gate.release(campaign, epoch, ids);
        if let Err(error) = failpoint::amid("writer.released", release).await {
            tracing::warn!(
                error = cause(&error),
                leases = ids.len(),
                "leases were not released; the sweeper will"
            );
        }
    }

    fn settle(&self, campaign: CampaignId, id: ParticipationId) {
        if self.settle.offer(campaign, (campaign, id)).is_err() {
            tracing::debug!("no room to settle a lease; the sweeper will");
        }
    }

    fn report_changed(
        self: &Arc<Self>,
        campaign: CampaignId,
        waiting: Vec<(ChangeRequest, Reply<ChangeResult>)>,
        mut changed: Changed,
    ) {
        if !changed.changed.is_empty() {
            failpoint::point("change.committed");
        }
        if !changed.returns.is_empty() {
            self.dependencies.catalogue.note_commit(campaign);
        }
        self.dependencies
            .hints
            .committed(mem::take(&mut changed.events));
        let mut outcomes = outcomes(&mut changed);
        let mut returned = Vec::new();
        for (change_request, reply) in waiting {
            let outcome = outcomes
                .remove(&change_request.id)
                .unwrap_or(ChangeOutcome::NotFound);
            let is_returned = matches!(outcome, ChangeOutcome::Changed(_));
            if change_request.requested.returns_units() && is_returned {
                returned.push((reply, outcome));
            } else {
                reply(Ok(outcome));
            }
        }
        if returned.is_empty() {
            return;
        }
        // A slow gate must not delay other commands.
        let committer = Arc::clone(self);
        let (epoch, returns) = (changed.epoch, changed.returns);
        let spawner = &self.dependencies.spawner;
        spawner.detach("writer.return", Stage::Admission, async move {
            let is_behind = committer.return_units(campaign, epoch, &returns).await;
            for (reply, outcome) in returned {
                reply(Ok(outcome));
            }
            if is_behind {
                committer
                    .return_units_later(campaign, epoch, &returns)
                    .await;
            }
        });
    }

    async fn return_units_later(&self, campaign: CampaignId, epoch: u64, returns: &[Return]) {
        for _ in 0..RETURN_ATTEMPTS_MAX {
            tokio::time::sleep(RETURN_PAUSE).await;
            if !self.return_units(campaign, epoch, returns).await {
                return;
            }
        }
    }

    /// Notifies the gate of returned units, so that others can get them. Returns whether the gate still lacks them,
    /// because it is being rebuilt.
    async fn return_units(&self, campaign: CampaignId, epoch: u64, returns: &[Return]) -> bool {
        let given_back = self.dependencies.gate.give_back(campaign, epoch, returns);
        match given_back.await {
            Ok(GivenBack::Behind) => return true,
            Ok(GivenBack::Units(_)) => self.dependencies.catalogue.invalidate(campaign).await,
            Err(error) => tracing::debug!(
                error = cause(&error),
                "the gate was not notified of returned units; the sweeper will correct it"
            ),
        }
        false
    }
}

/// Replies with the decisions, and with the events of accepted applicants, in order, if their requests publish them.
fn report_decided(
    replies: impl Iterator<Item = Reply<DecidedResult>>,
    decisions: Vec<Decision>,
    events: Vec<OutboxEvent>,
) {
    let mut events = events.into_iter();
    for (reply, decision) in replies.zip(decisions) {
        let event = match decision {
            Decision::Accepted(_) => events.next(),
            Decision::Refused { .. } | Decision::Outstanding => None,
        };
        reply(Ok(Decided { decision, event }));
    }
}

/// The outcome of each change.
fn outcomes(changed: &mut Changed) -> HashMap<ParticipationId, ChangeOutcome> {
    let kept = mem::take(&mut changed.kept);
    let kept = kept
        .into_iter()
        .map(|(kept, obstacle)| (kept.id, ChangeOutcome::Unchanged(kept, obstacle)));
    let unreadable = mem::take(&mut changed.unreadable);
    let unreadable = unreadable
        .into_iter()
        .map(|id| (id, ChangeOutcome::Unreadable));
    let done = mem::take(&mut changed.changed);
    let done = done
        .into_iter()
        .map(|done| (done.id, ChangeOutcome::Changed(done)));
    done.chain(kept).chain(unreadable).collect()
}

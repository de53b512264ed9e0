//! One attempt through the gate: from the admission to the commit, without the request's task.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::domain::{Campaign, Participation, to_stored_precision};
use crate::parts::gate::{Admission, Gate, Lease};
use crate::parts::store::{Making, NewParticipation, RankAssignment};
use crate::runtime::batcher::Occupancy;
use crate::runtime::failpoint;
use crate::runtime::supervisor::Stage;
use crate::runtime::telemetry::cause;
use crate::runtime::trace::Traced;
use crate::sale::admission::{AdmissionAnswer, AdmissionError};
use crate::sale::group_commit::{CommitJob, CommitResult, WriterSlot};
use crate::sale::participate::{Dependencies, Request, SYNC_HOLD};

/// How an attempt ended.
pub(super) enum AttemptResult {
    /// The gate did not answer.
    Unanswered(AdmissionError),
    /// The gate did not admit.
    NotAdmitted(AdmissionAnswer),
    /// The key was refused after the attempt began, or may have been.
    TooLate,
    /// Admitted on the synchronous path: the request commits it.
    Ready(Box<(CommitJob, Admitted)>),
    /// Admitted, with the result of the commit.
    Committed(Admitted, CommitResult),
}

/// A participation that the gate has admitted.
pub(super) struct Admitted {
    pub(super) epoch: u64,
    pub(super) participation: Participation,
}

pub(super) struct Attempt {
    dependencies: Arc<Dependencies>,
    campaign: Arc<Campaign>,
    request: Request,
    /// Where it is to be committed; none on the synchronous path.
    slot: Option<(WriterSlot, Occupancy)>,
    /// The span of the admission.
    span: Option<Traced>,
    reply: oneshot::Sender<AttemptResult>,
}

impl Attempt {
    pub(super) fn new(
        dependencies: &Arc<Dependencies>,
        campaign: &Arc<Campaign>,
        request: &Request,
        slot: Option<(WriterSlot, Occupancy)>,
        reply: oneshot::Sender<AttemptResult>,
    ) -> Self {
        Self {
            dependencies: Arc::clone(dependencies),
            campaign: Arc::clone(campaign),
            slot,
            span: request.span("gate.admit"),
            request: request.clone(),
            reply,
        }
    }

    /// Continues with the answer of the gate.
    pub(super) fn answered(mut self, answer: Result<AdmissionAnswer, AdmissionError>) {
        drop(self.span.take());
        let ended = match answer {
            Err(error) => AttemptResult::Unanswered(error),
            Ok(answer) => match answer.admission {
                Admission::Admitted(lease) => {
                    failpoint::point("participate.admitted");
                    if !lease.may_be_refused_since(self.request.applicant.since.elapsed()) {
                        return self.admitted(&lease, answer.lease_deadline);
                    }
                    self.release(lease.epoch);
                    AttemptResult::TooLate
                }
                _ => AttemptResult::NotAdmitted(answer),
            },
        };
        end(self.reply, ended);
    }

    fn admitted(self, lease: &Lease, lease_deadline: std::time::Instant) {
        let slot = RankAssignment {
            rank: lease.rank,
            remaining: lease.remaining,
        };
        let making = Making {
            key_choice: self.dependencies.key_choice,
            now: to_stored_precision(self.dependencies.clock.now()),
            hold: self.slot.is_none().then_some(SYNC_HOLD),
        };
        let new_participation =
            NewParticipation::of(&self.campaign, &self.request.applicant, slot, &making);
        let admitted = Admitted {
            epoch: lease.epoch,
            participation: new_participation.participation.clone(),
        };
        let job = CommitJob {
            campaign: self.campaign,
            epoch: lease.epoch,
            lease_deadline,
            new_participation,
        };
        let Some((slot, occupancy)) = self.slot else {
            return end(self.reply, AttemptResult::Ready(Box::new((job, admitted))));
        };
        let (span, reply) = (self.request.span("writer.commit"), self.reply);
        slot.commit(
            job,
            Box::new(move |result| {
                drop((span, occupancy));
                end(reply, AttemptResult::Committed(admitted, result));
            }),
        );
    }

    /// Releases an admission that came too late, also if the client has disconnected.
    fn release(&self, epoch: u64) {
        let dependencies = Arc::clone(&self.dependencies);
        let (campaign, ids) = (self.campaign.id, [self.request.applicant.participation]);
        let release = async move {
            let released = dependencies.gate.release(campaign, epoch, &ids).await;
            if let Err(error) = released {
                tracing::debug!(
                    error = cause(&error),
                    "a lease was not released; the sweeper will"
                );
            }
        };
        let spawner = &self.dependencies.spawner;
        spawner.detach("participate.release", Stage::Admission, release);
    }
}

/// Reports the end. The client may have disconnected: a commit stays committed, and otherwise the sweeper ends the
/// lease.
fn end(reply: oneshot::Sender<AttemptResult>, ended: AttemptResult) {
    drop(reply.send(ended));
}

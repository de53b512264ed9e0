//! One attempt through the gate, on its way from the admission to the commit without the request's task.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::domain::{Campaign, Participation, to_stored_precision};
use crate::parts::gate::{Admission, Gate, Lease};
use crate::parts::store::{Intake, Making, Place};
use crate::runtime::batcher::Occupancy;
use crate::runtime::failpoint;
use crate::runtime::supervisor::Stage;
use crate::runtime::telemetry::cause;
use crate::runtime::trace::Traced;
use crate::sale::admission::{AdmissionAnswer, AdmissionError};
use crate::sale::group_commit::{CommitResult, Job, WriterPlace};
use crate::sale::participate::{Dependencies, Request, SYNC_HOLD};

/// How an attempt ended.
pub(super) enum Ended {
    /// The gate did not answer.
    Unanswered(AdmissionError),
    /// The gate answered something else.
    NotAdmitted(AdmissionAnswer),
    /// The key was refused since the attempt began, or may have been.
    TooLate,
    /// Admitted on the synchronous path: the request commits it.
    Ready(Box<(Job, Admitted)>),
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
    place: Option<(WriterPlace, Occupancy)>,
    /// The span of the admission.
    span: Option<Traced>,
    reply: oneshot::Sender<Ended>,
}

impl Attempt {
    pub(super) fn new(
        dependencies: &Arc<Dependencies>,
        campaign: &Arc<Campaign>,
        request: &Request,
        place: Option<(WriterPlace, Occupancy)>,
        reply: oneshot::Sender<Ended>,
    ) -> Self {
        Self {
            dependencies: Arc::clone(dependencies),
            campaign: Arc::clone(campaign),
            place,
            span: request.span("gate.admit"),
            request: request.clone(),
            reply,
        }
    }

    /// Goes on with the answer of the gate.
    pub(super) fn answered(mut self, answer: Result<AdmissionAnswer, AdmissionError>) {
        drop(self.span.take());
        let ended = match answer {
            Err(error) => Ended::Unanswered(error),
            Ok(answer) => match answer.admission {
                Admission::Admitted(lease) => {
                    failpoint::point("participate.admitted");
                    if !lease.may_be_refused_since(self.request.applicant.since.elapsed()) {
                        return self.admitted(&lease, answer.lease_deadline);
                    }
                    self.release(lease.epoch);
                    Ended::TooLate
                }
                _ => Ended::NotAdmitted(answer),
            },
        };
        end(self.reply, ended);
    }

    fn admitted(self, lease: &Lease, lease_deadline: std::time::Instant) {
        let place = Place {
            rank: lease.rank,
            remaining: lease.remaining,
        };
        let making = Making {
            key_choice: self.dependencies.key_choice,
            now: to_stored_precision(self.dependencies.clock.now()),
            hold: self.place.is_none().then_some(SYNC_HOLD),
        };
        let intake = Intake::of(&self.campaign, &self.request.applicant, place, &making);
        let admitted = Admitted {
            epoch: lease.epoch,
            participation: intake.participation.clone(),
        };
        let job = Job {
            campaign: self.campaign,
            epoch: lease.epoch,
            lease_deadline,
            intake,
        };
        let Some((place, occupancy)) = self.place else {
            return end(self.reply, Ended::Ready(Box::new((job, admitted))));
        };
        let (span, reply) = (self.request.span("writer.commit"), self.reply);
        place.commit(
            job,
            Box::new(move |result| {
                drop((span, occupancy));
                end(reply, Ended::Committed(admitted, result));
            }),
        );
    }

    /// Gives back what the gate admitted too late, also when the client has gone.
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

/// The client may have gone: what is committed stays committed, and the sweeper ends the lease of what is not.
fn end(reply: oneshot::Sender<Ended>, ended: Ended) {
    drop(reply.send(ended));
}

//! One attempt through the gate, on its way from the admission to the commit without the request's task.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::domain::{Campaign, KeyChoice, Participation, to_stored_precision};
use crate::parts::gate::{Admission, Lease};
use crate::parts::store::{Intake, Making, Place};
use crate::runtime::clock::Clock;
use crate::runtime::failpoint;
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
    TooLate(Lease),
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
    campaign: Arc<Campaign>,
    request: Request,
    key_choice: KeyChoice,
    clock: Clock,
    /// None on the synchronous path.
    place: Option<WriterPlace>,
    /// The span of the admission.
    span: Option<Traced>,
    reply: oneshot::Sender<Ended>,
}

impl Attempt {
    pub(super) fn new(
        dependencies: &Dependencies,
        campaign: &Arc<Campaign>,
        request: &Request,
        place: Option<WriterPlace>,
        reply: oneshot::Sender<Ended>,
    ) -> Self {
        Self {
            campaign: Arc::clone(campaign),
            key_choice: dependencies.key_choice,
            clock: dependencies.clock.clone(),
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
                    Ended::TooLate(lease)
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
            key_choice: self.key_choice,
            now: to_stored_precision(self.clock.now()),
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
        let Some(place) = self.place else {
            return end(self.reply, Ended::Ready(Box::new((job, admitted))));
        };
        let (span, reply) = (self.request.span("writer.commit"), self.reply);
        place.commit(
            job,
            Box::new(move |result| {
                drop(span);
                end(reply, Ended::Committed(admitted, result));
            }),
        );
    }
}

/// The client may have gone: what is committed stays committed, and the sweeper ends the lease of what is not.
fn end(reply: oneshot::Sender<Ended>, ended: Ended) {
    drop(reply.send(ended));
}

//! Through the gate: a place in the writer's queue, the admission, the commit.

mod refusal;
mod renewal;

use std::sync::Arc;

use self::refusal::GateCall;
use super::{
    CommitMode, Dependencies, FIRST_ANSWER_PAUSE, FIRST_ANSWER_READS, Outcome, ParticipateError,
    Replayed, Request, SYNC_HOLD, Step,
};
use crate::domain::{Campaign, CampaignId, Instant, Participation, to_stored_precision};
use crate::parts::gate::{Admission, Entrant, Gate, Lease};
use crate::parts::store::{Applicant, Intake, Making, Place};
use crate::runtime::failpoint;
use crate::sale::admission::{AdmissionAnswer, AdmissionError};
use crate::sale::group_commit::{CommitResult, Job, WriterSlot};
use crate::sale::reconcile::Patience;

impl Dependencies {
    pub(super) async fn by_gate(
        &self,
        campaign: &Arc<Campaign>,
        request: &Request,
        entrant: Entrant,
        mode: CommitMode,
    ) -> Result<Step, ParticipateError> {
        let applicant = &request.applicant;
        // A place in the queue comes before a unit: with no room, nothing has to be given back.
        let place = self
            .writer
            .reserve(campaign.id)
            .ok_or(ParticipateError::Busy)?;
        let asked = {
            let _span = request.span("gate.admit");
            self.admission.ask(campaign.id, entrant).await
        };
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) => return self.no_answer(&error),
        };
        let lease = match answer.admission {
            Admission::Admitted(lease) => lease,
            other => {
                // Whoever waits for others waits outside.
                drop(place);
                let asked = GateCall::of(answer.asked_at, answer.lease_deadline);
                return self.not_admitted(campaign, request, other, asked).await;
            }
        };
        failpoint::point("participate.admitted");
        if lease.may_be_refused_since(applicant.since.elapsed()) {
            return self.give_back(campaign.id, applicant, &lease).await;
        }
        let (job, participation) = self.job(campaign, applicant, &lease, &answer, mode);
        let committed = {
            let _span = request.span("writer.commit");
            self.commit(place, job, mode).await?
        };
        match committed {
            CommitResult::Committed { held_from, .. } => {
                failpoint::point("participate.committed");
                Ok(Step::Done(self.accepted(participation, held_from).await))
            }
            CommitResult::StaleEpoch => {
                self.renew_gate(campaign.id, Some(lease.epoch), Patience::Waits)
                    .await
            }
            CommitResult::SoldOut => self.after_sold_out(request, lease.epoch).await,
            CommitResult::Conflict => self.after_conflict(request, lease.epoch).await,
            CommitResult::Unavailable | CommitResult::Unknown => {
                Err(ParticipateError::Unavailable { part: "store" })
            }
        }
    }

    /// What the gate has admitted too late: the key was refused since the attempt began, or may have been.
    async fn give_back(
        &self,
        campaign: CampaignId,
        applicant: &Applicant,
        lease: &Lease,
    ) -> Result<Step, ParticipateError> {
        let ids = [applicant.participation];
        let released = Box::pin(self.gate.release(campaign, lease.epoch, &ids)).await;
        if let Err(error) = released {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a lease was not released; the sweeper will"
            );
        }
        Err(ParticipateError::Outstanding)
    }

    /// The rows of an admitted entrant.
    fn job(
        &self,
        campaign: &Arc<Campaign>,
        applicant: &Applicant,
        lease: &Lease,
        answer: &AdmissionAnswer,
        mode: CommitMode,
    ) -> (Job, Participation) {
        let place = Place {
            rank: lease.rank,
            remaining: lease.remaining,
        };
        let making = Making {
            key_choice: self.key_choice,
            now: to_stored_precision(self.clock.now()),
            hold: (mode == CommitMode::Alone).then_some(SYNC_HOLD),
        };
        let intake = Intake::of(campaign, applicant, place, &making);
        let participation = intake.participation.clone();
        let job = Job {
            campaign: Arc::clone(campaign),
            epoch: lease.epoch,
            lease_deadline: answer.lease_deadline,
            intake,
        };
        (job, participation)
    }

    async fn commit(
        &self,
        slot: WriterSlot,
        job: Job,
        mode: CommitMode,
    ) -> Result<CommitResult, ParticipateError> {
        match mode {
            CommitMode::Grouped => Ok(self.writer.commit(slot, job).await),
            CommitMode::Alone => Box::pin(self.commit_alone(slot, job)).await,
        }
    }

    /// Keeps the place until the end: with as many waiting here as may wait, more are told to come back.
    async fn commit_alone(
        &self,
        _slot: WriterSlot,
        job: Job,
    ) -> Result<CommitResult, ParticipateError> {
        let _permit = self.sync.permit().await?;
        let mut event = job.intake.event.clone();
        let verdict = self.writer.commit_alone(job).await;
        if let CommitResult::Committed {
            sequence: Some(sequence),
            ..
        } = verdict
        {
            event.sequence = sequence;
            self.sync.publish_now(&self.store, &event).await;
        }
        Ok(verdict)
    }

    /// A yes. Until when it waits for its payment is told by the clock that will end it, the store's.
    async fn accepted(
        &self,
        mut participation: Participation,
        held_from: Option<Instant>,
    ) -> Outcome {
        if let Some(held_from) = held_from {
            participation = participation.held_from(held_from);
        } else if participation.expires_at.is_some()
            && let Ok(Some(kept)) = Box::pin(self.store.participation(participation.id)).await
        {
            // The answer to its commit was lost, and the row was found.
            participation.expires_at = kept.expires_at.or(participation.expires_at);
        }
        Outcome::Accepted {
            participation,
            replayed: Replayed::First,
        }
    }

    /// A gate that went away leaves the database; whatever it may have admitted is void by then.
    fn no_answer(&self, error: &AdmissionError) -> Result<Step, ParticipateError> {
        match error {
            AdmissionError::Full => Err(ParticipateError::Busy),
            AdmissionError::Gate(_) if self.gate.is_away() => Ok(Step::Again),
            // Logged once, where the whole batch failed.
            AdmissionError::Gate(_) | AdmissionError::Stopped => {
                Err(ParticipateError::Unavailable { part: "gate" })
            }
        }
    }
}

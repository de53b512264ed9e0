//! The path through the gate: a place in the writer's queue, the admission, the commit. The request waits once: its
//! admission hands over to its commit (`attempt`), which continues if the client disconnects.

mod attempt;
mod refusal;
mod renewal;

use std::sync::Arc;

use tokio::sync::oneshot;

use self::attempt::{Admitted, Attempt, AttemptResult};
use self::refusal::GateCall;
use super::{
    CommitMode, Dependencies, FIRST_ANSWER_PAUSE, FIRST_ANSWER_READS, Outcome, ParticipateError,
    Replayed, Request, Step,
};
use crate::domain::{Campaign, Participation, Timestamp};
use crate::parts::gate::Entrant;
use crate::runtime::failpoint;
use crate::sale::admission::AdmissionError;
use crate::sale::group_commit::{CommitJob, CommitResult, Committed, NotCommitted};
use crate::sale::reconcile::Patience;

impl Dependencies {
    pub(super) async fn by_gate(
        self: &Arc<Self>,
        campaign: &Arc<Campaign>,
        request: &Request,
        entrant: Entrant,
        mode: CommitMode,
    ) -> Result<Step, ParticipateError> {
        // The place is reserved before the unit: if the queue is full, no unit must be returned.
        let place = match mode {
            CommitMode::Grouped => Some(
                self.writer
                    .reserve(campaign.id)
                    .ok_or(ParticipateError::Busy)?,
            ),
            CommitMode::Alone => None,
        };
        let (reply, ended) = oneshot::channel();
        let attempt = Attempt::new(self, campaign, request, place, reply);
        let answered = Box::new(move |answer| attempt.answered(answer));
        self.admission.ask(campaign.id, entrant, answered);
        let unknown = ParticipateError::Unavailable { part: "store" };
        let (admitted, result) = match ended.await.map_err(|_| unknown)? {
            AttemptResult::Committed(admitted, result) => (admitted, result),
            AttemptResult::Ready(ready) => {
                let (job, admitted) = *ready;
                let _span = request.span("writer.commit");
                (admitted, Box::pin(self.commit_alone(job)).await)
            }
            AttemptResult::Unanswered(error) => return self.no_answer(&error),
            AttemptResult::NotAdmitted(answer) => {
                let asked = GateCall::of(answer.asked_at, answer.lease_deadline);
                return self
                    .not_admitted(campaign, request, answer.admission, asked)
                    .await;
            }
            AttemptResult::TooLate => return Err(ParticipateError::Outstanding),
        };
        self.after_commit(request, admitted, result).await
    }

    async fn after_commit(
        &self,
        request: &Request,
        admitted: Admitted,
        result: CommitResult,
    ) -> Result<Step, ParticipateError> {
        let epoch = admitted.epoch;
        match result {
            Ok(Committed { held_from, .. }) => {
                failpoint::point("participate.committed");
                let accepted = self.accepted(admitted.participation, held_from).await;
                Ok(Step::Done(accepted))
            }
            Err(NotCommitted::StaleEpoch) => {
                self.renew_gate(request.campaign, Some(epoch), Patience::Waits)
                    .await
            }
            Err(NotCommitted::SoldOut) => self.after_sold_out(request, epoch).await,
            Err(NotCommitted::Conflict) => self.after_conflict(request, epoch).await,
            Err(_) => Err(ParticipateError::Unavailable { part: "store" }),
        }
    }

    /// Commits and publishes within the request.
    async fn commit_alone(&self, job: CommitJob) -> CommitResult {
        let mut event = job.new_participation.event.clone();
        let result = self.writer.commit_alone(job).await;
        if let Ok(Committed {
            sequence: Some(sequence),
            ..
        }) = result
        {
            event.sequence = sequence;
            self.sync
                .publish_now(&self.store, &self.clock, &event)
                .await;
        }
        result
    }

    /// An acceptance. Its payment deadline comes from the store's clock, which decides its expiry.
    async fn accepted(
        &self,
        mut participation: Participation,
        held_from: Option<Timestamp>,
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

    /// If the gate has gone away, the database path follows; any admission of the gate is void by then.
    fn no_answer(&self, error: &AdmissionError) -> Result<Step, ParticipateError> {
        match error {
            AdmissionError::Full => Err(ParticipateError::Busy),
            AdmissionError::Gate(_) if self.gate.is_away() => Ok(Step::Again),
            // Logged once for the whole batch.
            AdmissionError::Gate(_) => Err(ParticipateError::Unavailable { part: "gate" }),
        }
    }
}

//! Through the gate: a place in the writer's queue, the admission, the commit.

use std::sync::Arc;

use super::{
    FIRST_ANSWER_LOOKS, FIRST_ANSWER_PAUSE, Outcome, ParticipateError, Parts, Path, Replayed,
    Request, SYNC_HOLD, Step, unavailable,
};
use crate::admission::{Answer, DeskError};
use crate::crash;
use crate::domain::{
    Campaign, CampaignId, Instant, Participation, ParticipationId, Refusal, to_stored_precision,
};
use crate::gate::{Admission, Entrant, GateError, Ticket};
use crate::reconcile::{Patience, ReconcileError, Renewed};
use crate::store::{Applicant, Intake, Making, Place};
use crate::writer::{Job, Verdict, WriterPlace};

impl Parts {
    pub(super) async fn by_gate(
        &self,
        campaign: &Arc<Campaign>,
        request: &Request,
        applicant: &Applicant,
        path: Path,
    ) -> Result<Step, ParticipateError> {
        // A place in the queue comes before a unit: with no room, nothing has to be given back.
        let place = self
            .writer
            .reserve(campaign.id)
            .ok_or(ParticipateError::Busy)?;
        let entrant = Entrant {
            participation: applicant.participation,
            user: applicant.user,
            quantity: applicant.quantity,
        };
        let asked = {
            let _span = request.span("gate.admit");
            self.desk.ask(campaign.id, entrant).await
        };
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) => return self.no_answer(&error),
        };
        let ticket = match answer.admission {
            Admission::Admitted(ticket) => ticket,
            Admission::Missing => {
                return self.renew_gate(campaign.id, None, Patience::Waits).await;
            }
            Admission::Undecided { first, remaining } => {
                return self.undecided(request, first, remaining).await;
            }
            Admission::Refused { refusal, remaining } => {
                let refused = self.refused(request, refusal, remaining).await?;
                return Ok(Step::Done(refused));
            }
        };
        crash::point("participate.admitted");
        let (job, participation) = self.job(campaign, applicant, &ticket, &answer, path);
        let committed = {
            let _span = request.span("writer.commit");
            self.commit(place, job, path).await?
        };
        match committed {
            Verdict::Committed { held_from } => {
                crash::point("participate.committed");
                Ok(Step::Done(self.accepted(participation, held_from).await))
            }
            Verdict::StaleEpoch => {
                self.renew_gate(campaign.id, Some(ticket.epoch), Patience::Waits)
                    .await
            }
            Verdict::SoldOut => {
                // The answer is the same whenever the gate is put right.
                self.renew_gate(campaign.id, Some(ticket.epoch), Patience::None)
                    .await?;
                Ok(Step::Done(Outcome::Refused {
                    refusal: Refusal::SoldOut,
                    remaining: Some(0),
                }))
            }
            Verdict::Conflict => self.after_conflict(request, ticket.epoch).await,
            Verdict::Unavailable | Verdict::Unknown => {
                Err(ParticipateError::Unavailable { part: "store" })
            }
        }
    }

    /// The rows of an admitted entrant.
    fn job(
        &self,
        campaign: &Arc<Campaign>,
        applicant: &Applicant,
        ticket: &Ticket,
        answer: &Answer,
        path: Path,
    ) -> (Job, Participation) {
        let place = Place {
            rank: ticket.rank,
            remaining: ticket.remaining,
        };
        let making = Making {
            key_choice: self.key_choice,
            now: to_stored_precision(self.clock.now()),
            hold: (path == Path::Alone).then_some(SYNC_HOLD),
        };
        let intake = Intake::of(campaign, applicant, place, &making);
        let participation = intake.participation.clone();
        let job = Job {
            campaign: Arc::clone(campaign),
            epoch: ticket.epoch,
            lease_deadline: answer.lease_deadline,
            intake,
        };
        (job, participation)
    }

    async fn commit(
        &self,
        place: WriterPlace,
        job: Job,
        path: Path,
    ) -> Result<Verdict, ParticipateError> {
        match path {
            Path::Grouped => Ok(self.writer.commit(place, job).await),
            Path::Alone => Box::pin(self.commit_alone(place, job)).await,
        }
    }

    /// Keeps the place until the end: with as many waiting here as may wait, more are told to come back.
    async fn commit_alone(
        &self,
        _place: WriterPlace,
        job: Job,
    ) -> Result<Verdict, ParticipateError> {
        let _permit = self.sync.permit().await?;
        let event = job.intake.event.clone();
        let verdict = self.writer.commit_alone(job).await;
        if matches!(verdict, Verdict::Committed { .. }) {
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
    fn no_answer(&self, error: &DeskError) -> Result<Step, ParticipateError> {
        match error {
            DeskError::Full => Err(ParticipateError::Busy),
            DeskError::Gate(_) if self.gate.is_away() => Ok(Step::Again),
            // Logged once, where the whole batch failed.
            DeskError::Gate(_) | DeskError::Stopped => {
                Err(ParticipateError::Unavailable { part: "gate" })
            }
        }
    }

    /// The user's first participation is on its way into the store, or whoever had it died. Waits a
    /// little to see which: "already" is said only of what is committed.
    async fn undecided(
        &self,
        request: &Request,
        first: ParticipationId,
        remaining: Option<u64>,
    ) -> Result<Step, ParticipateError> {
        for _ in 0..FIRST_ANSWER_LOOKS {
            let found = Box::pin(self.store.participation(first)).await;
            let found = found.map_err(|error| unavailable("store", &error))?;
            if let Some(found) = found {
                if !found.status.holds_units() {
                    return Ok(Step::Again);
                }
                let refusal = Refusal::AlreadyParticipated { first };
                let refused = self.refused(request, refusal, remaining).await?;
                return Ok(Step::Done(refused));
            }
            tokio::time::sleep(FIRST_ANSWER_PAUSE).await;
        }
        Err(ParticipateError::Unavailable { part: "gate" })
    }

    /// The store refused what the gate let through: the key was used a moment ago, or the gate knows
    /// less than the store and is put right.
    async fn after_conflict(
        &self,
        request: &Request,
        epoch: u64,
    ) -> Result<Step, ParticipateError> {
        if let Some(outcome) = self.earlier_answer(request).await? {
            return Ok(Step::Done(outcome));
        }
        self.renew_gate(request.campaign, Some(epoch), Patience::Waits)
            .await
    }

    /// Puts the gate right. When it cannot be, because it is away or closed, another way is open.
    async fn renew_gate(
        &self,
        id: CampaignId,
        seen: Option<u64>,
        patience: Patience,
    ) -> Result<Step, ParticipateError> {
        // Rare, and large: on the heap, to be no part of every participation.
        match Box::pin(self.reconciler.renew(id, seen, patience)).await {
            Ok(Renewed::InStep | Renewed::Closed | Renewed::Later)
            | Err(
                ReconcileError::Closed
                | ReconcileError::Gate(GateError::Away | GateError::Unavailable(_)),
            ) => Ok(Step::Again),
            Err(ReconcileError::Store(error)) => Err(unavailable("store", &error)),
            Err(ReconcileError::Gate(error)) => Err(unavailable("gate", &error)),
        }
    }
}

//! Through the gate: a place in the writer's queue, the admission, the commit.

use std::sync::Arc;

use super::{
    Attempt, FIRST_ANSWER_LOOKS, FIRST_ANSWER_PAUSE, Outcome, ParticipateError, Parts, Path,
    Replayed, Request, SYNC_HOLD, Step, unavailable,
};
use crate::admission::{Answer, DeskError};
use crate::crash;
use crate::domain::{
    Campaign, CampaignId, Instant, Participation, ParticipationId, Refusal, State,
    to_stored_precision,
};
use crate::gate::{Admission, Entrant, Gate, GateError, Ticket};
use crate::reconcile::{Patience, ReconcileError, Renewed};
use crate::store::{Applicant, Intake, Making, Place};
use crate::writer::{Job, Verdict, WriterPlace};

impl Parts {
    pub(super) async fn by_gate(
        &self,
        campaign: &Arc<Campaign>,
        attempt: &Attempt,
        path: Path,
    ) -> Result<Step, ParticipateError> {
        let (request, applicant) = (&attempt.request, &attempt.applicant);
        // A place in the queue comes before a unit: with no room, nothing has to be given back.
        let place = self
            .writer
            .reserve(campaign.id)
            .ok_or(ParticipateError::Busy)?;
        let entrant = Entrant {
            participation: applicant.participation,
            user: applicant.user,
            quantity: applicant.quantity,
            key: attempt.key,
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
            other => {
                // Whoever waits for others waits outside.
                drop(place);
                return self.not_admitted(campaign, request, other).await;
            }
        };
        crash::point("participate.admitted");
        if ticket.may_be_refused_since(applicant.since.elapsed()) {
            return self.give_back(campaign.id, applicant, &ticket).await;
        }
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
            Verdict::SoldOut => self.after_sold_out(request, ticket.epoch).await,
            Verdict::Conflict => self.after_conflict(request, ticket.epoch).await,
            Verdict::Unavailable | Verdict::Unknown => {
                Err(ParticipateError::Unavailable { part: "store" })
            }
        }
    }

    async fn not_admitted(
        &self,
        campaign: &Campaign,
        request: &Request,
        admission: Admission,
    ) -> Result<Step, ParticipateError> {
        match admission {
            Admission::Refused { refusal, remaining } => {
                self.refused_by_gate(request, refusal, remaining).await
            }
            Admission::Undecided { first, remaining } => {
                self.undecided(request, first, remaining).await
            }
            Admission::Missing | Admission::Admitted(_) => self.no_gate(campaign, request).await,
        }
    }

    /// What the gate has admitted too late: the key was refused since the attempt began, or may have been.
    async fn give_back(
        &self,
        campaign: CampaignId,
        applicant: &Applicant,
        ticket: &Ticket,
    ) -> Result<Step, ParticipateError> {
        let ids = [applicant.participation];
        let released = Box::pin(self.gate.release(campaign, ticket.epoch, &ids)).await;
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

    /// A participation of the user is on its way into the store, or whoever had it died. Waits a
    /// little to see which: "already" is said only of what is committed.
    async fn undecided(
        &self,
        request: &Request,
        first: ParticipationId,
        remaining: Option<u64>,
    ) -> Result<Step, ParticipateError> {
        for _ in 0..FIRST_ANSWER_LOOKS {
            let found = self.lookups.participation(request.campaign, first);
            if let Some(found) = Box::pin(found).await? {
                if !found.status.holds_units() {
                    return Ok(Step::Again);
                }
                let refusal = Refusal::AlreadyParticipated { first };
                return self.refused_by_gate(request, refusal, remaining).await;
            }
            tokio::time::sleep(FIRST_ANSWER_PAUSE).await;
        }
        Err(ParticipateError::Outstanding)
    }

    /// The store has not the units that the gate gave out: the gate is put right. A key is refused by the
    /// gate alone, which remembers it.
    async fn after_sold_out(
        &self,
        request: &Request,
        epoch: u64,
    ) -> Result<Step, ParticipateError> {
        // Without a key the answer is the same whenever the gate is put right.
        let patience = match request.idempotency_key {
            Some(_) => Patience::Waits,
            None => Patience::None,
        };
        let step = self
            .renew_gate(request.campaign, Some(epoch), patience)
            .await?;
        if request.idempotency_key.is_some() {
            return Ok(step);
        }
        Ok(Step::Done(Outcome::Refused {
            refusal: Refusal::SoldOut,
            remaining: Some(0),
        }))
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

    /// A gate without state is rebuilt; that of a campaign which is over is not needed any more. What was
    /// admitted by one before is void from then on.
    async fn no_gate(
        &self,
        campaign: &Campaign,
        request: &Request,
    ) -> Result<Step, ParticipateError> {
        if !matches!(campaign.state, State::Closed | State::Archived) {
            return self.renew_gate(campaign.id, None, Patience::Waits).await;
        }
        let voided = Box::pin(self.reconciler.void(campaign.id)).await;
        voided.map_err(|error| unavailable("store", &error))?;
        self.refused_by_gate(request, Refusal::Ended, None).await
    }

    /// Puts the gate right. When it cannot be, because it is away or closed, another way is open.
    async fn renew_gate(
        &self,
        id: CampaignId,
        seen: Option<u64>,
        patience: Patience,
    ) -> Result<Step, ParticipateError> {
        // Rare, and large: on the heap, to be no part of every participation.
        Self::renewed(
            Box::pin(self.reconciler.renew(id, seen, patience)).await,
            patience,
        )
    }

    /// Opens the gate of a campaign that the database serves, if nobody keeps it closed any more.
    pub(super) async fn reopen_gate(&self, id: CampaignId) -> Result<Step, ParticipateError> {
        Self::renewed(Box::pin(self.reconciler.reopen(id)).await, Patience::Waits)
    }

    /// A gate that is wrong still, for one who has waited, is a part that does not answer.
    fn renewed(
        renewed: Result<Renewed, ReconcileError>,
        patience: Patience,
    ) -> Result<Step, ParticipateError> {
        match renewed {
            Ok(Renewed::Later) if patience == Patience::Waits => {
                Err(ParticipateError::Unavailable { part: "gate" })
            }
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

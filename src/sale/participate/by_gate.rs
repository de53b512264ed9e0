//! Through the gate: a place in the writer's queue, the admission, the commit.

use std::sync::Arc;
use std::time::Duration;

use super::earlier::first_answer;
use super::lookups::Known;
use super::{
    Attempt, FIRST_ANSWER_LOOKS, FIRST_ANSWER_PAUSE, Outcome, ParticipateError, Parts, Path,
    Replayed, Request, SYNC_HOLD, Step, unavailable,
};
use crate::domain::{
    Campaign, CampaignId, Instant, Participation, ParticipationId, Refusal, State,
    to_stored_precision,
};
use crate::parts::gate::{Admission, Entrant, Gate, GateError, KeyDigest, KeyRefused, Ticket};
use crate::parts::store::{Applicant, Intake, Making, Place};
use crate::runtime::failpoint;
use crate::sale::admission::{Answer, DeskError};
use crate::sale::group_commit::{Job, Verdict, WriterPlace};
use crate::sale::reconcile::{Patience, ReconcileError, Renewed};

/// How long a no may be on its way to the gate: its age is told as if it took so long.
const ON_THE_WAY_MAX: Duration = Duration::from_millis(500);

/// When the gate was asked, by this process's monotonic clock, and how long what it gave would have been kept.
#[derive(Clone, Copy)]
struct Asked {
    at: std::time::Instant,
    lease: Duration,
}

impl Asked {
    fn of(at: std::time::Instant, lease_deadline: std::time::Instant) -> Self {
        Self {
            at,
            lease: lease_deadline.saturating_duration_since(at),
        }
    }
}

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
                let asked = Asked::of(answer.asked_at, answer.lease_deadline);
                return self.not_admitted(campaign, request, other, asked).await;
            }
        };
        failpoint::point("participate.admitted");
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
                failpoint::point("participate.committed");
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
        asked: Asked,
    ) -> Result<Step, ParticipateError> {
        match admission {
            Admission::Refused { refusal, remaining } => {
                self.refused_by_gate(request, refusal, remaining, Some(asked))
                    .await
            }
            Admission::Undecided { first, remaining } => {
                self.undecided(request, first, remaining, asked).await
            }
            Admission::Missing | Admission::Admitted(_) => self.no_gate(campaign, request).await,
        }
    }

    /// A no of the gate. With a key it is said only when nothing can be committed under that key any more:
    /// no lease is held, which the gate knows; no transaction is open, which the store knows; and whoever
    /// asks the gate later, having begun earlier, is told when the key was refused. `asked`: when the gate was
    /// asked, unless nothing is admitted to the campaign any more, ever.
    async fn refused_by_gate(
        &self,
        request: &Request,
        refusal: Refusal,
        remaining: Option<u64>,
        asked: Option<Asked>,
    ) -> Result<Step, ParticipateError> {
        self.note_sold_out(request, &refusal, remaining).await;
        let refused = Outcome::Refused { refusal, remaining };
        let Some(key) = &request.idempotency_key else {
            return Ok(Step::Done(refused));
        };
        match Box::pin(self.lookups.any_by_key(request, key)).await? {
            Known::Nothing => {}
            Known::Participation(participation) => {
                return first_answer(request, participation).map(Step::Done);
            }
            Known::UnderWay => return Err(ParticipateError::Outstanding),
            Known::GateClosed => return self.reopen_gate(request.campaign).await,
        }
        match asked {
            None => Ok(Step::Done(refused)),
            Some(asked) => Box::pin(self.refuse_key(request, key, asked, refused)).await,
        }
    }

    /// The gate refused the key some time ago. It refuses it once more: what was admitted since may be committed.
    async fn refuse_key(
        &self,
        request: &Request,
        key: &str,
        asked: Asked,
        refused: Outcome,
    ) -> Result<Step, ParticipateError> {
        let (campaign, digest) = (request.campaign, KeyDigest::of(request.user, key));
        let sent_at = std::time::Instant::now();
        let age = sent_at.duration_since(asked.at) + ON_THE_WAY_MAX;
        let answer = self.gate.refuse_key(campaign, digest, age, asked.lease);
        match answer.await {
            // What was admitted while it was on its way may be older than it thinks.
            Ok(KeyRefused::Done) if sent_at.elapsed() >= ON_THE_WAY_MAX => {
                Err(ParticipateError::Outstanding)
            }
            Ok(KeyRefused::Done) => Ok(Step::Done(refused)),
            Ok(KeyRefused::Undecided) => Err(ParticipateError::Outstanding),
            // Another way decides, or this one once more.
            Ok(KeyRefused::Missing) | Err(GateError::Away | GateError::Unavailable(_)) => {
                Ok(Step::Again)
            }
            Err(error) => Err(unavailable("gate", &error)),
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
        asked: Asked,
    ) -> Result<Step, ParticipateError> {
        for _ in 0..FIRST_ANSWER_LOOKS {
            let found = self.lookups.participation(request.campaign, first);
            if let Some(found) = Box::pin(found).await? {
                if !found.status.holds_units() {
                    return Ok(Step::Again);
                }
                let refusal = Refusal::AlreadyParticipated { first };
                return self
                    .refused_by_gate(request, refusal, remaining, Some(asked))
                    .await;
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
        self.refused_by_gate(request, Refusal::Ended, None, None)
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

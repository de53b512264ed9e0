//! THE request, top to bottom: who and what, the local checks, a place in the writer's queue, the
//! gate, the commit, the answer. A yes is given only for what is durable.

mod outcome;
mod room;
mod sync;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use tokio::sync::oneshot;

pub use self::outcome::{Outcome, ParticipateError, Replayed, Request};
pub use self::sync::SyncPath;
use crate::admission::{Answer, Desk, DeskError};
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::domain::{
    Campaign, CampaignId, KeyChoice, OutboxEvent, Participation, ParticipationId, Refusal, Status,
    to_stored_precision,
};
use crate::gate::{Admission, Entrant, Ticket};
use crate::meter::Meter;
use crate::reconcile::{ReconcileError, Reconciler};
use crate::store::{Intake, Store};
use crate::supervisor::{Spawner, Stage};
use crate::writer::{Job, Verdict, Writer, WriterPlace};

/// How often the gate is asked again because it was rebuilt in between.
const ADMISSIONS_MAX: usize = 4;
/// How often, and how far apart, the first answer to an idempotency key is looked for.
const FIRST_ANSWER_LOOKS: usize = 10;
const FIRST_ANSWER_PAUSE: Duration = Duration::from_millis(50);
/// How long the relay leaves alone what the synchronous path publishes itself.
const SYNC_HOLD: TimeDelta = TimeDelta::seconds(30);

/// Makes participations.
#[derive(Clone)]
pub struct Participate {
    parts: Arc<Parts>,
}

/// What a participation passes, in order.
pub struct Parts {
    /// Campaigns at hand.
    pub catalogue: Catalogue,
    /// The way to the gate.
    pub desk: Desk,
    /// Group commit.
    pub writer: Writer,
    /// Looks up earlier answers.
    pub store: Store,
    /// Puts a gate right that is missing or wrong.
    pub reconciler: Reconciler,
    /// Counts the answers.
    pub meter: Meter,
    /// Time.
    pub clock: Clock,
    /// Runs what must not end with the client's connection.
    pub spawner: Spawner,
    /// What the key of an event is.
    pub key_choice: KeyChoice,
    /// The path kept for comparison.
    pub sync: SyncPath,
}

/// How a participation is committed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    Grouped,
    Alone,
}

impl Participate {
    /// Makes participations with these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
        }
    }

    /// Takes part: admitted by the gate, committed with others, answered. The event follows.
    pub async fn run(&self, request: Request) -> Result<Outcome, ParticipateError> {
        self.run_on(request, Path::Grouped).await
    }

    /// Takes part in a transaction of its own and waits until the broker has the event, too.
    pub async fn run_sync(&self, request: Request) -> Result<Outcome, ParticipateError> {
        self.run_on(request, Path::Alone).await
    }

    async fn run_on(&self, request: Request, path: Path) -> Result<Outcome, ParticipateError> {
        let began = Instant::now();
        let parts = &self.parts;
        let campaign = parts.known_campaign(request.campaign).await?;
        if let Some(outcome) = parts.earlier_answer(&request).await? {
            return Ok(outcome);
        }
        let outcome = match parts.refused_here(&campaign, &request) {
            Some(refusal) => Outcome::Refused {
                refusal,
                remaining: None,
            },
            None => self.run_detached(campaign, request.clone(), path).await?,
        };
        let refusal = match &outcome {
            Outcome::Refused { refusal, .. } => Some(refusal),
            Outcome::Accepted { .. } => None,
        };
        parts
            .meter
            .count(request.campaign, began.elapsed(), refusal);
        Ok(outcome)
    }

    /// From the admission on, the work goes on when the client has gone away.
    async fn run_detached(
        &self,
        campaign: Arc<Campaign>,
        request: Request,
        path: Path,
    ) -> Result<Outcome, ParticipateError> {
        let parts = Arc::clone(&self.parts);
        let (reply, outcome) = oneshot::channel();
        self.parts
            .spawner
            .detach("participate", Stage::Admission, async move {
                let outcome = parts.admit_and_commit(&campaign, &request, path).await;
                drop(reply.send(outcome));
            });
        outcome
            .await
            .unwrap_or(Err(ParticipateError::Unavailable { part: "store" }))
    }
}

impl Parts {
    async fn known_campaign(&self, id: CampaignId) -> Result<Arc<Campaign>, ParticipateError> {
        let found = self
            .catalogue
            .get(id)
            .await
            .map_err(|error| unavailable("store", &error))?;
        found.ok_or(ParticipateError::UnknownCampaign)
    }

    /// What was answered to this key before, if it was used.
    async fn earlier_answer(&self, request: &Request) -> Result<Option<Outcome>, ParticipateError> {
        let Some(key) = &request.idempotency_key else {
            return Ok(None);
        };
        let found = self.store.participation_by_key(request.user, key).await;
        let Some(participation) = found.map_err(|error| unavailable("store", &error))? else {
            return Ok(None);
        };
        if participation.campaign_id == request.campaign
            && participation.quantity == request.quantity
        {
            Ok(Some(Outcome::Accepted {
                participation,
                replayed: Replayed::Again,
            }))
        } else {
            Err(ParticipateError::KeyReused)
        }
    }

    /// What can be refused without asking anybody. The gate asks the same again, by its own clock.
    fn refused_here(&self, campaign: &Campaign, request: &Request) -> Option<Refusal> {
        if let Some(refusal) = campaign.closed_to_all(self.clock.now()) {
            return Some(refusal);
        }
        if request.quantity > campaign.max_quantity {
            return Some(Refusal::LimitExceeded);
        }
        self.catalogue
            .is_sold_out(campaign.id)
            .then_some(Refusal::SoldOut)
    }

    async fn admit_and_commit(
        &self,
        campaign: &Arc<Campaign>,
        request: &Request,
        path: Path,
    ) -> Result<Outcome, ParticipateError> {
        let entrant = Entrant {
            participation: ParticipationId::generate(),
            user: request.user,
            quantity: request.quantity,
        };
        for _ in 0..ADMISSIONS_MAX {
            // A place in the queue comes before a unit: with no room, nothing has to be given back.
            let place = self
                .writer
                .reserve(campaign.id)
                .ok_or(ParticipateError::Busy)?;
            let answer = self
                .desk
                .ask(campaign.id, entrant)
                .await
                .map_err(|error| no_answer(&error))?;
            let ticket = match answer.admission {
                Admission::Admitted(ticket) => ticket,
                Admission::Missing => {
                    self.renew_gate(campaign.id, None).await?;
                    continue;
                }
                Admission::Undecided { first, remaining } => {
                    return self.undecided(request, first, remaining).await;
                }
                Admission::Refused { refusal, remaining } => {
                    return self.refused(request, refusal, remaining).await;
                }
            };
            let (job, participation) = self.job(campaign, request, entrant, &ticket, &answer, path);
            match self.commit(place, job, path).await? {
                Verdict::Committed => {
                    return Ok(Outcome::Accepted {
                        participation,
                        replayed: Replayed::First,
                    });
                }
                Verdict::StaleEpoch => self.renew_gate(campaign.id, Some(ticket.epoch)).await?,
                Verdict::SoldOut => {
                    self.renew_gate(campaign.id, Some(ticket.epoch)).await?;
                    return Ok(Outcome::Refused {
                        refusal: Refusal::SoldOut,
                        remaining: Some(0),
                    });
                }
                Verdict::Conflict => {
                    if let Some(outcome) = self.after_conflict(request, ticket.epoch).await? {
                        return Ok(outcome);
                    }
                }
                Verdict::Unavailable | Verdict::Unknown => {
                    return Err(ParticipateError::Unavailable { part: "store" });
                }
            }
        }
        Err(ParticipateError::Unavailable { part: "gate" })
    }

    /// The rows of an admitted entrant.
    fn job(
        &self,
        campaign: &Arc<Campaign>,
        request: &Request,
        entrant: Entrant,
        ticket: &Ticket,
        answer: &Answer,
        path: Path,
    ) -> (Job, Participation) {
        let now = to_stored_precision(self.clock.now());
        let hold = TimeDelta::seconds(i64::from(campaign.hold_seconds));
        let participation = Participation {
            id: entrant.participation,
            campaign_id: campaign.id,
            user_id: request.user,
            quantity: request.quantity,
            rank: ticket.rank,
            status: if campaign.is_paid() {
                Status::Reserved
            } else {
                Status::Confirmed
            },
            remaining: ticket.remaining,
            expires_at: campaign.is_paid().then(|| now + hold),
            created_at: now,
        };
        let mut event = OutboxEvent::about(&participation, 1, self.key_choice, now);
        event.traceparent.clone_from(&request.traceparent);
        // Events of a key that participations share go out in order of commit: through the relay alone.
        let shared = event.shares_its_key();
        let intake = Intake {
            participation: participation.clone(),
            idempotency_key: request.idempotency_key.clone(),
            event,
            hold_until: (path == Path::Alone && !shared).then(|| now + SYNC_HOLD),
        };
        let lease_deadline = answer.lease_deadline;
        (
            Job {
                campaign: Arc::clone(campaign),
                epoch: ticket.epoch,
                lease_deadline,
                intake,
            },
            participation,
        )
    }

    async fn commit(
        &self,
        place: WriterPlace,
        job: Job,
        path: Path,
    ) -> Result<Verdict, ParticipateError> {
        if path == Path::Grouped {
            return Ok(self.writer.commit(place, job).await);
        }
        // Kept until the end: with as many waiting here as may wait, more are told to come back.
        let _place = place;
        let _permit = self
            .sync
            .permits
            .acquire()
            .await
            .map_err(|_| ParticipateError::Busy)?;
        let event = job.intake.event.clone();
        let verdict = self.writer.commit_alone(job).await;
        if verdict == Verdict::Committed {
            self.sync.publish_now(&self.store, &event).await;
        }
        Ok(verdict)
    }

    async fn refused(
        &self,
        request: &Request,
        refusal: Refusal,
        remaining: Option<u64>,
    ) -> Result<Outcome, ParticipateError> {
        if refusal == Refusal::SoldOut && remaining == Some(0) {
            self.catalogue.mark_sold_out(request.campaign).await;
        }
        // Between the look-up and the gate, the first answer to the same key may have been given.
        if matches!(refusal, Refusal::AlreadyParticipated { .. })
            && let Some(outcome) = self.earlier_answer(request).await?
        {
            return Ok(outcome);
        }
        Ok(Outcome::Refused { refusal, remaining })
    }

    /// The user's first participation is on its way into the store, or whoever had it died. Waits a
    /// little to see which: "already" is said only of what is committed.
    async fn undecided(
        &self,
        request: &Request,
        first: ParticipationId,
        remaining: Option<u64>,
    ) -> Result<Outcome, ParticipateError> {
        for _ in 0..FIRST_ANSWER_LOOKS {
            let found = self.store.participation(first).await;
            if found
                .map_err(|error| unavailable("store", &error))?
                .is_some()
            {
                let refusal = Refusal::AlreadyParticipated { first };
                return self.refused(request, refusal, remaining).await;
            }
            tokio::time::sleep(FIRST_ANSWER_PAUSE).await;
        }
        Err(ParticipateError::Unavailable { part: "gate" })
    }

    /// The store refused what the gate let through: the key was used a moment ago, or the gate knows
    /// less than the store and is put right. None: ask it again.
    async fn after_conflict(
        &self,
        request: &Request,
        epoch: u64,
    ) -> Result<Option<Outcome>, ParticipateError> {
        if let Some(outcome) = self.earlier_answer(request).await? {
            return Ok(Some(outcome));
        }
        self.renew_gate(request.campaign, Some(epoch)).await?;
        Ok(None)
    }

    async fn renew_gate(&self, id: CampaignId, seen: Option<u64>) -> Result<(), ParticipateError> {
        self.reconciler
            .renew(id, seen)
            .await
            .map_err(|error| match error {
                ReconcileError::Store(error) => unavailable("store", &error),
                ReconcileError::Gate(error) => unavailable("gate", &error),
            })
    }
}

fn no_answer(error: &DeskError) -> ParticipateError {
    match error {
        DeskError::Full => ParticipateError::Busy,
        // Logged once, where the whole batch failed.
        DeskError::Gate(_) | DeskError::Stopped => ParticipateError::Unavailable { part: "gate" },
    }
}

fn unavailable(part: &'static str, error: &(dyn std::error::Error + 'static)) -> ParticipateError {
    tracing::warn!(error, part, "a participation could not be answered");
    ParticipateError::Unavailable { part }
}

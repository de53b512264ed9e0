//! THE request, top to bottom: who and what, the local checks, a place in the writer's queue, the
//! gate, the commit, the answer. A yes is given only for what is durable. While the gate is away the
//! database admits and commits in one step (`by_database`), or nobody is admitted, by configuration.

mod by_database;
mod by_gate;
mod earlier;
mod lookups;
mod outcome;
mod sync;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

pub use self::lookups::Lookups;
pub use self::outcome::{Outcome, ParticipateError, Replayed, Request};
pub use self::sync::SyncPath;
use crate::domain::{Campaign, CampaignId, KeyChoice, ParticipationId, Pricing, Refusal, State};
use crate::parts::gate::{Guarded, Key, KeyDigest};
use crate::parts::store::{Applicant, Store};
use crate::runtime::clock::Clock;
use crate::runtime::supervisor::{Spawner, Stage};
use crate::sale::admission::Desk;
use crate::sale::allow_list::{AllowLists, LookupError};
use crate::sale::catalogue::Catalogue;
use crate::sale::direct::{Cause, Direct};
use crate::sale::group_commit::Writer;
use crate::sale::meter::Meter;
use crate::sale::reconcile::Reconciler;

/// How often a participation is tried again because the gate was rebuilt, went away or came back.
const ATTEMPTS_MAX: usize = 8;
/// How often, and how far apart, the first answer to an idempotency key is looked for.
const FIRST_ANSWER_LOOKS: usize = 40;
const FIRST_ANSWER_PAUSE: Duration = Duration::from_millis(50);
/// How long the relay leaves alone what the synchronous path publishes itself.
const SYNC_HOLD: TimeDelta = TimeDelta::seconds(30);

/// What is done while the gate is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenAway {
    /// The database admits and commits, slower and with a short queue.
    #[default]
    Database,
    /// Nobody is admitted: 503.
    Refuse,
}

/// Makes participations.
#[derive(Clone)]
pub struct Participate {
    parts: Arc<Parts>,
}

/// What a participation passes, in order.
pub struct Parts {
    /// Campaigns at hand.
    pub catalogue: Catalogue,
    /// Who may take part, where not everybody may.
    pub allow_lists: AllowLists,
    /// The way to the gate.
    pub desk: Desk,
    /// Whether the gate is there.
    pub gate: Arc<Guarded>,
    /// Group commit.
    pub writer: Writer,
    /// The database path.
    pub direct: Direct,
    /// Whether the database path is taken.
    pub when_away: WhenAway,
    /// Where participations are.
    pub store: Store,
    /// Looks up earlier answers.
    pub lookups: Lookups,
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
    /// Whether reservations can be paid for.
    pub pricing: Pricing,
    /// The path kept for comparison.
    pub sync: SyncPath,
}

/// How a participation is committed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    Grouped,
    Alone,
}

/// One request on its way: what is asked, and what stays the same however often it is tried.
struct Attempt {
    request: Request,
    applicant: Applicant,
    /// Its key, as the gate is asked.
    key: Key,
}

impl Attempt {
    /// One that was refused here if there is a `refusal`.
    fn new(id: ParticipationId, request: Request, refusal: Option<&Refusal>) -> Self {
        let digest = |key: &String| KeyDigest::of(request.user, key);
        let key = match request.idempotency_key.as_ref().map(digest) {
            None => Key::None,
            Some(digest) if refusal == Some(&Refusal::NotAllowed) => Key::Refuse(digest),
            Some(digest) => Key::Decide(digest),
        };
        let applicant = Applicant {
            participation: id,
            user: request.user,
            quantity: request.quantity,
            idempotency_key: request.idempotency_key.clone(),
            traceparent: request.traceparent.clone(),
            since: request.since,
        };
        Self {
            request,
            applicant,
            key,
        }
    }
}

/// Who admits.
enum Way {
    Gate,
    Database(Cause),
}

/// What came of one try.
enum Step {
    Done(Outcome),
    /// Nothing was committed; the way may be another one by now.
    Again,
}

impl Participate {
    /// Makes participations with these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
        }
    }

    /// Whether a participation would find a place now. Costs next to nothing, so that the many who would
    /// not can be told before anything is done for them.
    #[must_use]
    pub fn has_place(&self, campaign: CampaignId) -> bool {
        self.parts.writer.has_place(campaign)
    }

    /// Whether the campaign has a list that the user is not in: `run` refuses them before anything is taken
    /// for them.
    pub async fn keeps_out(&self, request: &Request) -> Result<bool, ParticipateError> {
        let campaign = self.parts.known_campaign(request.campaign).await?;
        let refusal = self.parts.kept_out(&campaign, request).await?;
        Ok(refusal.is_some())
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
        if !parts.is_payable(&campaign) {
            // No unit is taken for a reservation that nobody can pay for.
            let refused = Err(ParticipateError::NoPaymentProvider);
            return parts.first_answer_or(&request, refused).await;
        }
        let refusal = parts.refused_here(&campaign, &request).await?;
        if refusal.is_none()
            && let Some(outcome) = parts.earlier_answer(&request).await?
        {
            return Ok(outcome);
        }
        let outcome = match refusal {
            Some(refusal) if request.idempotency_key.is_none() => Outcome::Refused {
                refusal,
                remaining: None,
            },
            // An attempt with the same key may be under way: the gate knows, and decides for all of them.
            refusal => {
                let id = ParticipationId::made_at(parts.clock.now());
                let attempt = Attempt::new(id, request.clone(), refusal.as_ref());
                self.run_detached(campaign, attempt, path).await?
            }
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
        attempt: Attempt,
        path: Path,
    ) -> Result<Outcome, ParticipateError> {
        let parts = Arc::clone(&self.parts);
        let (reply, outcome) = oneshot::channel();
        self.parts
            .spawner
            .detach("participate", Stage::Admission, async move {
                let outcome = parts.take_part(&campaign, &attempt, path).await;
                drop(reply.send(outcome));
            });
        outcome
            .await
            .unwrap_or(Err(ParticipateError::Unavailable { part: "store" }))
    }
}

impl Parts {
    /// A draft is not known to anybody who would take part: what is being prepared is not told, nor when
    /// it opens.
    async fn known_campaign(&self, id: CampaignId) -> Result<Arc<Campaign>, ParticipateError> {
        let found = self
            .catalogue
            .get(id)
            .await
            .map_err(|error| unavailable("store", &error))?;
        found
            .filter(|campaign| campaign.state != State::Draft)
            .ok_or(ParticipateError::UnknownCampaign)
    }

    /// What can be refused without asking the gate, which asks the same again, by its own clock, and alone
    /// decides about the window while it is not certain here what time it is. Only the list of those who may
    /// take part is not known there.
    async fn refused_here(
        &self,
        campaign: &Campaign,
        request: &Request,
    ) -> Result<Option<Refusal>, ParticipateError> {
        if let Some(refusal) = campaign.closed_throughout(&self.clock.range()) {
            return Ok(Some(refusal));
        }
        if request.quantity > campaign.max_quantity {
            return Ok(Some(Refusal::LimitExceeded));
        }
        if self.catalogue.is_sold_out(campaign.id) {
            return Ok(Some(Refusal::SoldOut));
        }
        self.kept_out(campaign, request).await
    }

    /// Whether the campaign has a list that the user is not in. Before anything is taken for them.
    async fn kept_out(
        &self,
        campaign: &Campaign,
        request: &Request,
    ) -> Result<Option<Refusal>, ParticipateError> {
        let Some(list) = campaign.allow_list else {
            return Ok(None);
        };
        match Box::pin(self.allow_lists.has(campaign.id, list, request.user)).await {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some(Refusal::NotAllowed)),
            Err(LookupError::Full) => Err(ParticipateError::Busy),
            // Logged once, where the whole batch failed.
            Err(LookupError::Unavailable) => Err(ParticipateError::Unavailable { part: "store" }),
        }
    }

    /// Tries until it is known what became of it.
    async fn take_part(
        &self,
        campaign: &Arc<Campaign>,
        attempt: &Attempt,
        path: Path,
    ) -> Result<Outcome, ParticipateError> {
        for _ in 0..ATTEMPTS_MAX {
            let step = match self.way(campaign.id)? {
                Way::Gate => self.by_gate(campaign, attempt, path).await?,
                Way::Database(cause) => {
                    // Rare, and large: no part of every other participation.
                    Box::pin(self.by_database(attempt, cause, path)).await?
                }
            };
            if let Step::Done(outcome) = step {
                if matches!(outcome, Outcome::Accepted { .. }) {
                    self.catalogue.moved(campaign.id);
                }
                return Ok(outcome);
            }
        }
        Err(ParticipateError::Unavailable { part: "gate" })
    }

    fn way(&self, id: CampaignId) -> Result<Way, ParticipateError> {
        let cause = if self.gate.is_away() {
            Cause::GateAway
        } else if self.reconciler.is_closed(id) {
            Cause::GateClosed
        } else {
            return Ok(Way::Gate);
        };
        match self.when_away {
            WhenAway::Database => Ok(Way::Database(cause)),
            WhenAway::Refuse => Err(ParticipateError::Unavailable { part: "gate" }),
        }
    }

    /// Whether somebody who gets a reservation can pay for it. A campaign with a price may be open since before
    /// payments were turned off.
    fn is_payable(&self, campaign: &Campaign) -> bool {
        campaign.price.is_none() || self.pricing == Pricing::Sold
    }

    /// A no of the database, which held the campaign's row: what is under way elsewhere comes after it, and
    /// is refused because it began before.
    async fn refused_by_database(
        &self,
        request: &Request,
        refusal: Refusal,
        remaining: Option<u64>,
    ) -> Result<Outcome, ParticipateError> {
        self.note_sold_out(request, &refusal, remaining).await;
        let refused = Outcome::Refused { refusal, remaining };
        self.first_answer_or(request, Ok(refused)).await
    }

    async fn note_sold_out(&self, request: &Request, refusal: &Refusal, remaining: Option<u64>) {
        if *refusal == Refusal::SoldOut && remaining == Some(0) {
            Box::pin(self.catalogue.mark_sold_out(request.campaign)).await;
        }
    }
}

fn unavailable(part: &'static str, error: &(dyn std::error::Error + 'static)) -> ParticipateError {
    tracing::warn!(error, part, "a participation could not be answered");
    ParticipateError::Unavailable { part }
}

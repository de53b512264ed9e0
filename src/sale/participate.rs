//! One participation from the request to the answer: the local checks, a place in the writer's queue, the gate, the
//! commit. It is accepted only when it is durable. While the gate is away, the configuration decides: the database
//! admits and commits in one step (`by_database`), or nobody is admitted.

mod by_database;
mod by_gate;
mod checks;
mod earlier;
mod lookups;
mod outcome;
mod request;
mod sync;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::lookups::Lookups;
pub use self::outcome::{Outcome, ParticipateError, Replayed};
pub use self::request::Request;
pub use self::sync::SyncPath;
use crate::domain::words::words;
use crate::domain::{Campaign, CampaignId, KeyChoice, Pricing, Refusal, UserId};
use crate::parts::gate::{Entrant, ScriptGate};
use crate::parts::store::{Closing, Store};
use crate::runtime::clock::Clock;
use crate::runtime::supervisor::{Spawner, Stage};
use crate::sale::admission::AdmissionBatcher;
use crate::sale::allow_list::AllowLists;
use crate::sale::catalogue::Catalogue;
use crate::sale::group_commit::Writer;
use crate::sale::meter::Meter;
use crate::sale::reconcile::Reconciler;
use chrono::TimeDelta;

/// Maximum number of attempts for a participation, because the gate was rebuilt, went away or came back.
const ATTEMPTS_MAX: usize = 8;
/// How often the first answer to an idempotency key is read, and the pause between reads.
const FIRST_ANSWER_READS: usize = 40;
const FIRST_ANSWER_PAUSE: Duration = Duration::from_millis(50);
/// How long the database path keeps a gate closed after each commit. The replica that lost the gate rebuilds it when
/// this time is over.
const CLOSED_FOR: Duration = Duration::from_millis(500);
/// How long the relay does not publish an event that the synchronous path publishes.
const SYNC_HOLD: TimeDelta = TimeDelta::seconds(30);

words! {
    /// What is done while the gate is away.
    #[derive(Default)]
    pub enum WhenAway {
        /// The database admits and commits, slower and with a short queue.
        #[default]
        Database = "database",
        /// Nobody is admitted: 503.
        Refuse = "refuse",
    }
}

/// Makes participations.
#[derive(Clone)]
pub struct Participate {
    dependencies: Arc<Dependencies>,
}

/// What a participation uses, in this order.
pub struct Dependencies {
    /// Cached campaigns.
    pub catalogue: Catalogue,
    /// Allow lists.
    pub allow_lists: AllowLists,
    /// Batches calls of the gate.
    pub admission: AdmissionBatcher,
    /// The gate.
    pub gate: Arc<ScriptGate>,
    /// Group commit.
    pub writer: Writer,
    /// Whether the database admits while the gate is away.
    pub when_away: WhenAway,
    /// The store with the participations.
    pub store: Store,
    /// Looks up earlier answers.
    pub lookups: Lookups,
    /// Rebuilds gates.
    pub reconciler: Reconciler,
    /// Counts the answers.
    pub meter: Meter,
    /// Time.
    pub clock: Clock,
    /// Runs work that must continue if the client disconnects.
    pub spawner: Spawner,
    /// What the key of an event is.
    pub key_choice: KeyChoice,
    /// Whether reservations can be paid for.
    pub pricing: Pricing,
    /// The synchronous path, for comparison.
    pub sync: SyncPath,
}

/// How a participation is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitMode {
    /// In a group; the relay publishes the event.
    Grouped,
    /// In a separate transaction; the broker acknowledges the event before the response.
    Alone,
}

/// Where a request is admitted.
enum AdmissionPath {
    Gate,
    Database(Closing),
}

/// The result of one attempt.
enum Step {
    Done(Outcome),
    /// Nothing was committed; the path may have changed.
    Again,
}

impl Participate {
    /// Makes participations with these dependencies.
    #[must_use]
    pub fn new(dependencies: Dependencies) -> Self {
        Self {
            dependencies: Arc::new(dependencies),
        }
    }

    /// Whether the queue has room now. Cheap, so that excess requests can be refused before any work.
    #[must_use]
    pub fn has_place(&self, campaign: CampaignId) -> bool {
        self.dependencies.writer.has_place(campaign)
    }

    /// Whether the user is not on the campaign's allow list: `run` refuses them before it takes anything.
    pub async fn is_not_allowed(
        &self,
        campaign: CampaignId,
        user: UserId,
    ) -> Result<bool, ParticipateError> {
        let campaign = self.dependencies.known_campaign(campaign).await?;
        let refusal = self.dependencies.check_allow_list(&campaign, user).await?;
        Ok(refusal.is_some())
    }

    /// The campaign of a request, and the reason if the request is refused without asking the gate; none: the gate
    /// decides.
    pub async fn check_locally(
        &self,
        request: &Request,
    ) -> Result<(Arc<Campaign>, Option<Refusal>), ParticipateError> {
        let campaign = self.dependencies.known_campaign(request.campaign).await?;
        if !self.dependencies.is_payable(&campaign) {
            return Err(ParticipateError::NoPaymentProvider);
        }
        let refusal = self.dependencies.refused_here(&campaign, request).await?;
        Ok((campaign, refusal))
    }

    /// Participates: local checks, admission, commit.
    pub async fn run(
        &self,
        request: Request,
        mode: CommitMode,
    ) -> Result<Outcome, ParticipateError> {
        let began = Instant::now();
        let dependencies = &self.dependencies;
        let id = request.campaign;
        let campaign = dependencies.known_campaign(id).await?;
        if !dependencies.is_payable(&campaign) {
            // No unit is taken for a reservation that nobody can pay for.
            let refused = Err(ParticipateError::NoPaymentProvider);
            return dependencies.first_answer_or(&request, refused).await;
        }
        let refusal = dependencies.refused_here(&campaign, &request).await?;
        if refusal.is_none()
            && let Some(outcome) = dependencies.earlier_answer(&request).await?
        {
            return Ok(outcome);
        }
        let outcome = match refusal {
            Some(refusal) if request.applicant.idempotency_key.is_none() => Outcome::Refused {
                refusal,
                remaining: None,
            },
            // An attempt with the same key may be in progress: the gate decides for all of them.
            refusal => {
                let entrant = request.entrant(refusal.as_ref());
                self.take_part(campaign, request, entrant, mode).await?
            }
        };
        let refusal = match &outcome {
            Outcome::Refused { refusal, .. } => Some(refusal),
            Outcome::Accepted { .. } => None,
        };
        dependencies.meter.count(id, began.elapsed(), refusal);
        Ok(outcome)
    }

    /// From the admission on, the work continues if the client disconnects: the batchers own it, and all other steps
    /// run in a separate task.
    async fn take_part(
        &self,
        campaign: Arc<Campaign>,
        request: Request,
        entrant: Entrant,
        mode: CommitMode,
    ) -> Result<Outcome, ParticipateError> {
        if mode == CommitMode::Grouped {
            let dependencies = &self.dependencies;
            let attempt = dependencies.attempt(&campaign, &request, entrant, mode);
            if let Step::Done(outcome) = attempt.await? {
                return Ok(outcome);
            }
        }
        self.run_detached(campaign, request, entrant, mode).await
    }

    async fn run_detached(
        &self,
        campaign: Arc<Campaign>,
        request: Request,
        entrant: Entrant,
        mode: CommitMode,
    ) -> Result<Outcome, ParticipateError> {
        let dependencies = Arc::clone(&self.dependencies);
        let permit = match mode {
            CommitMode::Grouped => None,
            CommitMode::Alone => Some(dependencies.sync.permit().await?),
        };
        let work = async move {
            let outcome = dependencies
                .attempt_until_known(&campaign, &request, entrant, mode)
                .await;
            drop(permit);
            outcome
        };
        let spawner = &self.dependencies.spawner;
        let outcome = spawner.run_detached("participate", Stage::Admission, work);
        outcome
            .await
            .unwrap_or(Err(ParticipateError::Unavailable { part: "store" }))
    }
}

impl Dependencies {
    /// Tries until the result is known.
    async fn attempt_until_known(
        self: &Arc<Self>,
        campaign: &Arc<Campaign>,
        request: &Request,
        entrant: Entrant,
        mode: CommitMode,
    ) -> Result<Outcome, ParticipateError> {
        for _ in 0..ATTEMPTS_MAX {
            if let Step::Done(outcome) = self.attempt(campaign, request, entrant, mode).await? {
                return Ok(outcome);
            }
        }
        Err(ParticipateError::Unavailable { part: "gate" })
    }

    async fn attempt(
        self: &Arc<Self>,
        campaign: &Arc<Campaign>,
        request: &Request,
        entrant: Entrant,
        mode: CommitMode,
    ) -> Result<Step, ParticipateError> {
        let step = match self.admission_path(campaign.id)? {
            AdmissionPath::Gate => self.by_gate(campaign, request, entrant, mode).await?,
            AdmissionPath::Database(closing) => {
                // Rare, and large: on the heap, so that it is not part of the future of every participation.
                Box::pin(self.by_database(request, entrant.key, closing, mode)).await?
            }
        };
        if let Step::Done(Outcome::Accepted { .. }) = step {
            self.catalogue.note_commit(campaign.id);
        }
        Ok(step)
    }

    fn admission_path(&self, id: CampaignId) -> Result<AdmissionPath, ParticipateError> {
        let closing = if self.gate.is_away() {
            Closing::For(CLOSED_FOR)
        } else if self.reconciler.is_closed(id) {
            // Another replica keeps it closed.
            Closing::Never
        } else {
            return Ok(AdmissionPath::Gate);
        };
        match self.when_away {
            WhenAway::Database => Ok(AdmissionPath::Database(closing)),
            WhenAway::Refuse => Err(ParticipateError::Unavailable { part: "gate" }),
        }
    }

    /// A refusal by the database, which had locked the campaign's row. Concurrent attempts with the same key come
    /// after it, and are refused because they began earlier.
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

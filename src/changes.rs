//! What becomes of a participation after its commit, top to bottom: confirmed when it is paid for,
//! cancelled, or expired when nobody paid in time. The store decides on the row it holds, so however many
//! race, one wins and units return once. The gate is told right after; if it cannot be, the sweeper finds
//! that it counts too much.

mod expiry;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

pub use self::expiry::start as start_expiry;
use crate::catalogue::Catalogue;
use crate::crash;
use crate::domain::{
    CampaignId, Fresh, KeyChoice, Obstacle, Participation, ParticipationId, Return, Wish,
};
use crate::gate::{Gate, GivenBack};
use crate::payment::{Charge, Payability, PaymentError};
use crate::retry;
use crate::store::{ChangeMaking, Changed, CommitError, Store};
use crate::supervisor::{Spawner, Stage};

/// How often, and how far apart, a gate is told of units given back that is just being rebuilt.
const TELLINGS_MAX: usize = 20;
const TELLING_PAUSE: Duration = Duration::from_millis(100);

/// What a change takes.
pub struct Parts {
    /// Decides.
    pub store: Store,
    /// Gets the units back.
    pub gate: Arc<dyn Gate>,
    /// Forgets that a campaign was sold out.
    pub catalogue: Catalogue,
    /// Authorises payments.
    pub payments: Arc<dyn Payability>,
    /// How long that may take.
    pub payment_timeout: Duration,
    /// Carries the events to the relay; it may be full.
    pub wake: Option<mpsc::Sender<Fresh>>,
    /// Runs what must not end with the client's connection.
    pub spawner: Spawner,
    /// What the key of an event is.
    pub key_choice: KeyChoice,
    /// How deadlocks and lock waits are retried.
    pub contention: retry::Policy,
}

/// Changes participations.
#[derive(Clone)]
pub struct Changes {
    parts: Arc<Parts>,
}

/// What the payer says of the payment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payment {
    /// What the provider named it.
    pub reference: Option<String>,
    /// What the payer takes it to cost.
    pub amount: Option<u64>,
}

/// Why a participation was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such participation.
    #[error("find the participation")]
    Unknown,
    /// It stays as it is.
    #[error("change the participation: {obstacle:?}")]
    Kept {
        /// As it stands.
        participation: Box<Participation>,
        /// Why.
        obstacle: Obstacle,
    },
    /// Another amount is to be paid.
    #[error("accept the amount: {due} is due")]
    WrongAmount {
        /// What it costs.
        due: u64,
    },
    /// Nothing was authorised.
    #[error(transparent)]
    Payment(#[from] PaymentError),
    /// The store did not answer, or not for certain: asking again tells.
    #[error("reach the store")]
    Unavailable,
}

impl Changes {
    /// Changes participations with these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
        }
    }

    /// Confirms a reservation, as it was read a moment ago, that is paid for. Asked again for the same payment, it says the same.
    pub async fn confirm(
        &self,
        stands: Participation,
        payment: Payment,
        traceparent: Option<String>,
    ) -> Result<Participation, ChangeError> {
        self.detached(move |parts| async move { parts.confirm(stands, payment, traceparent).await })
            .await
    }

    /// Gives a participation back. Asked again, it says the same.
    pub async fn cancel(
        &self,
        stands: Participation,
        traceparent: Option<String>,
    ) -> Result<Participation, ChangeError> {
        self.detached(move |parts| async move { parts.cancel(&stands, traceparent).await })
            .await
    }

    /// What was begun is brought to its end when the client has gone away.
    async fn detached<F>(
        &self,
        change: impl FnOnce(Arc<Parts>) -> F,
    ) -> Result<Participation, ChangeError>
    where
        F: Future<Output = Result<Participation, ChangeError>> + Send + 'static,
    {
        let (reply, outcome) = oneshot::channel();
        let change = change(Arc::clone(&self.parts));
        self.parts
            .spawner
            .detach("change", Stage::Admission, async move {
                drop(reply.send(change.await));
            });
        outcome.await.unwrap_or(Err(ChangeError::Unavailable))
    }
}

impl Parts {
    async fn confirm(
        self: &Arc<Self>,
        stands: Participation,
        payment: Payment,
        traceparent: Option<String>,
    ) -> Result<Participation, ChangeError> {
        let Some(due) = stands.amount else {
            return Err(kept(stands, Obstacle::NotPayable));
        };
        if payment.amount.is_some_and(|amount| amount != due) {
            return Err(ChangeError::WrongAmount { due });
        }
        if let Some(obstacle) = stands.obstacle_to_payment(payment.reference.as_deref()) {
            return as_it_stands(stands, obstacle);
        }
        let charge = Charge {
            participation: stands.id,
            user: stands.user_id,
            amount: due,
            reference: payment.reference,
        };
        let authorised = self.payments.authorise(&charge);
        let authorised = tokio::time::timeout(self.payment_timeout, authorised).await;
        let reference = authorised
            .unwrap_or_else(|_| Err(PaymentError::Unavailable("no answer in time".to_owned())))?;
        crash::point("change.authorised");
        let wish = Wish::Confirm {
            reference: reference.clone(),
        };
        let answer = self.grant(&stands, &wish, traceparent).await;
        if let Err(ChangeError::Kept { .. }) = &answer {
            self.let_go(&reference).await;
        }
        answer
    }

    async fn cancel(
        self: &Arc<Self>,
        stands: &Participation,
        traceparent: Option<String>,
    ) -> Result<Participation, ChangeError> {
        let cancelled = self.grant(stands, &Wish::Cancel, traceparent).await?;
        if let Some(reference) = &cancelled.payment_reference {
            self.let_go(reference).await;
        }
        Ok(cancelled)
    }

    /// Grants the wish for one, and says how it stands.
    async fn grant(
        self: &Arc<Self>,
        stands: &Participation,
        wish: &Wish,
        traceparent: Option<String>,
    ) -> Result<Participation, ChangeError> {
        let changed = self
            .commit(stands.campaign_id, &[stands.id], wish, traceparent)
            .await
            .map_err(|error| {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a participation could not be changed"
                );
                ChangeError::Unavailable
            })?;
        let Changed {
            mut changed,
            mut kept,
            ..
        } = changed;
        if let Some(participation) = changed.pop() {
            return Ok(participation);
        }
        match kept.pop() {
            Some((participation, obstacle)) => as_it_stands(participation, obstacle),
            None => Err(ChangeError::Unknown),
        }
    }

    /// Changes those of one campaign, and tells whoever has to know.
    async fn commit(
        self: &Arc<Self>,
        campaign: CampaignId,
        ids: &[ParticipationId],
        wish: &Wish,
        traceparent: Option<String>,
    ) -> Result<Changed, CommitError> {
        let making = ChangeMaking {
            key_choice: self.key_choice,
            traceparent,
        };
        let contended = |error: &CommitError| retry::Verdict::again_if(error.is_contended());
        let changed = retry::retry(&self.contention, contended, || {
            self.store
                .change_participations(campaign, ids, wish, &making)
        })
        .await?;
        crash::point("change.committed");
        if let Some(wake) = &self.wake
            && !changed.events.is_empty()
        {
            let fresh = Fresh {
                events: changed.events.clone(),
                committed_at: std::time::Instant::now(),
            };
            // Whoever finds no room is found by the relay's poll.
            drop(wake.try_send(fresh));
        }
        if !changed.returns.is_empty() {
            self.give_back(campaign, changed.epoch, &changed.returns)
                .await;
        }
        Ok(changed)
    }

    /// Tells the gate, so that others can have what was given back. Only the first try is waited for.
    async fn give_back(self: &Arc<Self>, campaign: CampaignId, epoch: u64, returns: &[Return]) {
        match self.gate.give_back(campaign, epoch, returns).await {
            Ok(GivenBack::Units(_)) => self.catalogue.changed(campaign).await,
            Ok(GivenBack::Behind) => {
                let (parts, returns) = (Arc::clone(self), returns.to_vec());
                let later = async move { parts.give_back_later(campaign, epoch, &returns).await };
                self.spawner
                    .detach("change.give_back", Stage::Admission, later);
            }
            Err(error) => not_told(&error),
        }
    }

    async fn give_back_later(&self, campaign: CampaignId, epoch: u64, returns: &[Return]) {
        for _ in 0..TELLINGS_MAX {
            tokio::time::sleep(TELLING_PAUSE).await;
            match self.gate.give_back(campaign, epoch, returns).await {
                Ok(GivenBack::Behind) => {}
                Ok(GivenBack::Units(_)) => return self.catalogue.changed(campaign).await,
                Err(error) => return not_told(&error),
            }
        }
    }

    /// An authorisation that nobody lets go of lapses by itself.
    async fn let_go(&self, reference: &str) {
        let void = self.payments.void(reference);
        let voided = tokio::time::timeout(self.payment_timeout, void).await;
        if !matches!(voided, Ok(Ok(()))) {
            tracing::warn!(reference, "an authorisation was not let go of");
        }
    }
}

/// The answer about one that did not change: what is so already is a yes.
fn as_it_stands(
    participation: Participation,
    obstacle: Obstacle,
) -> Result<Participation, ChangeError> {
    match obstacle {
        Obstacle::Already => Ok(participation),
        obstacle => Err(kept(participation, obstacle)),
    }
}

fn kept(participation: Participation, obstacle: Obstacle) -> ChangeError {
    ChangeError::Kept {
        participation: Box::new(participation),
        obstacle,
    }
}

fn not_told(error: &crate::gate::GateError) {
    tracing::debug!(
        error = error as &dyn std::error::Error,
        "the gate does not know of units given back: the sweeper sees to it"
    );
}

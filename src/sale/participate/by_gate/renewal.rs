//! Answers that need the gate to be rebuilt first.

use super::{Dependencies, Outcome, ParticipateError, Request, Step};
use crate::domain::{Campaign, CampaignId, Refusal, State};
use crate::parts::gate::GateError;
use crate::sale::participate::unavailable;
use crate::sale::reconcile::{Patience, ReconcileError, Renewed};

impl Dependencies {
    /// The store has not the units that the gate gave out: the gate is put right. A key is refused by the
    /// gate alone, which remembers it.
    pub(super) async fn after_sold_out(
        &self,
        request: &Request,
        epoch: u64,
    ) -> Result<Step, ParticipateError> {
        // Without a key the answer is the same whenever the gate is put right.
        let patience = match request.applicant.idempotency_key {
            Some(_) => Patience::Waits,
            None => Patience::None,
        };
        let step = self
            .renew_gate(request.campaign, Some(epoch), patience)
            .await?;
        if request.applicant.idempotency_key.is_some() {
            return Ok(step);
        }
        Ok(Step::Done(Outcome::Refused {
            refusal: Refusal::SoldOut,
            remaining: Some(0),
        }))
    }

    /// The store refused what the gate let through: the key was used a moment ago, or the gate knows
    /// less than the store and is put right.
    pub(super) async fn after_conflict(
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
    pub(super) async fn no_gate(
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
    pub(super) async fn renew_gate(
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
    pub(in crate::sale::participate) async fn reopen_gate(
        &self,
        id: CampaignId,
    ) -> Result<Step, ParticipateError> {
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

//! Answers that need the gate to be rebuilt first.

use super::{Dependencies, Outcome, ParticipateError, Request, Step};
use crate::domain::{Campaign, CampaignId, Refusal, State};
use crate::parts::gate::GateError;
use crate::sale::participate::unavailable;
use crate::sale::reconcile::{Patience, ReconcileError, Renewed};

impl Dependencies {
    /// The store lacks the units that the gate admitted: the gate is corrected. A key is refused only by the gate,
    /// which remembers it.
    pub(super) async fn after_sold_out(
        &self,
        request: &Request,
        epoch: u64,
    ) -> Result<Step, ParticipateError> {
        // Without a key the answer does not depend on when the gate is corrected.
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

    /// The store refused an admission of the gate: the key was used just now, or the gate lacks something that the
    /// store has, and is corrected.
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

    /// Rebuilds a gate without state. An ended campaign needs no gate; the admissions of its previous gate are made
    /// void.
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

    /// Corrects the gate. If it is away or closed, the next attempt uses the database path.
    pub(super) async fn renew_gate(
        &self,
        id: CampaignId,
        seen: Option<u64>,
        patience: Patience,
    ) -> Result<Step, ParticipateError> {
        // Rare, and large: on the heap, so that it is not part of the future of every participation.
        Self::renewed(
            Box::pin(self.reconciler.renew(id, seen, patience)).await,
            patience,
        )
    }

    /// Opens the gate of a campaign that the database serves, if no replica keeps it closed any more.
    pub(in crate::sale::participate) async fn reopen_gate(
        &self,
        id: CampaignId,
    ) -> Result<Step, ParticipateError> {
        Self::renewed(Box::pin(self.reconciler.reopen(id)).await, Patience::Waits)
    }

    /// If the gate is still wrong after waiting, it counts as unavailable.
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

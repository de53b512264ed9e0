//! Checks that need no gate. The gate repeats them by its own clock, except the allow list.

use std::sync::Arc;

use super::{Dependencies, ParticipateError, Request, unavailable};
use crate::domain::{Campaign, CampaignId, Pricing, Refusal, State, UserId};
use crate::sale::allow_list::LookupError;

impl Dependencies {
    /// The campaign, unless it is a draft: participants must not learn of drafts.
    pub(super) async fn known_campaign(
        &self,
        id: CampaignId,
    ) -> Result<Arc<Campaign>, ParticipateError> {
        let found = self
            .catalogue
            .get(id)
            .await
            .map_err(|error| unavailable("store", &error))?;
        found
            .filter(|campaign| campaign.state != State::Draft)
            .ok_or(ParticipateError::UnknownCampaign)
    }

    /// Refusals that need no gate. The gate repeats these checks by its own clock, and it alone decides about the
    /// window while the clock of this process is uncertain. Only the allow list is unknown to the gate.
    pub(super) async fn refused_here(
        &self,
        campaign: &Campaign,
        request: &Request,
    ) -> Result<Option<Refusal>, ParticipateError> {
        if let Some(refusal) = campaign.closed_throughout(&self.clock.range()) {
            return Ok(Some(refusal));
        }
        if request.applicant.quantity > campaign.max_quantity {
            return Ok(Some(Refusal::LimitExceeded));
        }
        if self.catalogue.is_sold_out(campaign.id) {
            return Ok(Some(Refusal::SoldOut));
        }
        self.check_allow_list(campaign, request.applicant.user)
            .await
    }

    /// Whether the campaign has an allow list without the user. Checked before anything is reserved for the user.
    pub(super) async fn check_allow_list(
        &self,
        campaign: &Campaign,
        user: UserId,
    ) -> Result<Option<Refusal>, ParticipateError> {
        let Some(list) = campaign.allow_list else {
            return Ok(None);
        };
        match Box::pin(self.allow_lists.has(campaign.id, list, user)).await {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some(Refusal::NotAllowed)),
            Err(LookupError::Full) => Err(ParticipateError::Busy),
            // Logged once for the whole batch.
            Err(LookupError::Unavailable) => Err(ParticipateError::Unavailable { part: "store" }),
        }
    }

    /// Whether a reservation can be paid for. A campaign with a price may have been opened before payments were
    /// turned off.
    pub(super) fn is_payable(&self, campaign: &Campaign) -> bool {
        campaign.price.is_none() || self.pricing == Pricing::Sold
    }
}

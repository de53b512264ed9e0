//! Checks that need no gate. The gate makes the same ones again by its own clock, except the allow list.

use std::sync::Arc;

use super::{Dependencies, ParticipateError, Request, unavailable};
use crate::domain::{Campaign, CampaignId, Pricing, Refusal, State, UserId};
use crate::sale::allow_list::LookupError;

impl Dependencies {
    /// A draft is not known to anybody who would take part: what is being prepared is not told, nor when
    /// it opens.
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

    /// What can be refused without asking the gate, which asks the same again, by its own clock, and alone
    /// decides about the window while it is not certain here what time it is. Only the list of those who may
    /// take part is not known there.
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

    /// Whether the campaign has a list that the user is not in. Before anything is taken for them.
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
            // Logged once, where the whole batch failed.
            Err(LookupError::Unavailable) => Err(ParticipateError::Unavailable { part: "store" }),
        }
    }

    /// Whether somebody who gets a reservation can pay for it. A campaign with a price may be open since before
    /// payments were turned off.
    pub(super) fn is_payable(&self, campaign: &Campaign) -> bool {
        campaign.price.is_none() || self.pricing == Pricing::Sold
    }
}

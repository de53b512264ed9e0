//! Campaigns that cost something where no payments are taken: a campaign may be open since before.

use super::lookups::Known;
use super::{Outcome, ParticipateError, Parts, Request, first_answer};
use crate::domain::{Campaign, Pricing};

impl Parts {
    /// Whether somebody who gets a reservation can pay for it.
    pub(super) fn is_payable(&self, campaign: &Campaign) -> bool {
        campaign.price.is_none() || self.pricing == Pricing::Sold
    }

    /// No unit is taken for a reservation that nobody can pay for. What the request's key led to before is
    /// answered all the same.
    pub(super) async fn refused_unpayable(
        &self,
        request: &Request,
    ) -> Result<Outcome, ParticipateError> {
        let Some(key) = &request.idempotency_key else {
            return Err(ParticipateError::NoPaymentProvider);
        };
        match Box::pin(self.lookups.any_by_key(request, key)).await? {
            Known::Participation(participation) => first_answer(request, participation),
            Known::UnderWay => Err(ParticipateError::Outstanding),
            Known::Nothing | Known::GateClosed => Err(ParticipateError::NoPaymentProvider),
        }
    }
}

//! Earlier answers: what an idempotency key led to before is the answer to whoever sends it again.

use super::lookups::Known;
use super::{Dependencies, Outcome, ParticipateError, Replayed, Request};
use crate::domain::Participation;

impl Dependencies {
    /// What was answered to this key before, if it was used.
    pub(super) async fn earlier_answer(
        &self,
        request: &Request,
    ) -> Result<Option<Outcome>, ParticipateError> {
        let Some(key) = &request.applicant.idempotency_key else {
            return Ok(None);
        };
        match Box::pin(self.lookups.by_key(request, key)).await? {
            Some(participation) => first_answer(request, participation).map(Some),
            None => Ok(None),
        }
    }

    /// What the request's key led to before; if it led to nothing, `otherwise`.
    pub(super) async fn first_answer_or(
        &self,
        request: &Request,
        otherwise: Result<Outcome, ParticipateError>,
    ) -> Result<Outcome, ParticipateError> {
        let Some(key) = &request.applicant.idempotency_key else {
            return otherwise;
        };
        match Box::pin(self.lookups.any_by_key(request, key)).await? {
            Known::Participation(participation) => first_answer(request, participation),
            Known::UnderWay => Err(ParticipateError::Outstanding),
            Known::Nothing | Known::GateClosed => otherwise,
        }
    }
}

/// What a key led to is the answer to whoever sends it, unless it was sent with something else.
pub(super) fn first_answer(
    request: &Request,
    participation: Participation,
) -> Result<Outcome, ParticipateError> {
    if participation.campaign_id == request.campaign
        && participation.quantity == request.applicant.quantity
    {
        Ok(Outcome::Accepted {
            participation,
            replayed: Replayed::Again,
        })
    } else {
        Err(ParticipateError::KeyReused)
    }
}

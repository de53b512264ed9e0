//! Earlier answers: a repeated idempotency key gets the first answer again.

use super::lookups::Known;
use super::{Dependencies, Outcome, ParticipateError, Replayed, Request};
use crate::domain::Participation;

impl Dependencies {
    /// The earlier answer to this key, if it was used.
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

    /// The earlier answer to the request's key; without one, `otherwise`.
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

/// The first answer to a key, unless it was for another request.
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

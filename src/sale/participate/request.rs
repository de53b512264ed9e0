//! A request to participate.

use crate::domain::{CampaignId, Refusal};
use crate::parts::gate::{Entrant, Key, KeyDigest};
use crate::parts::store::Applicant;
use crate::runtime::trace::{self, SpanKind, Traced};

/// A request to participate. Its participation has one id, which all attempts of the request share.
#[derive(Clone, Debug)]
pub struct Request {
    /// The campaign.
    pub campaign: CampaignId,
    /// The user, and what they request.
    pub applicant: Applicant,
}

impl Request {
    /// The request as the gate sees it. `refusal`: this replica rejects the request.
    pub(super) fn entrant(&self, refusal: Option<&Refusal>) -> Entrant {
        let applicant = &self.applicant;
        let digest = |key: &String| KeyDigest::of(applicant.user, key);
        let key = match applicant.idempotency_key.as_ref().map(digest) {
            None => Key::None,
            Some(digest) if refusal == Some(&Refusal::NotAllowed) => Key::Refuse(digest),
            Some(digest) => Key::Decide(digest),
        };
        Entrant {
            participation: applicant.participation,
            user: applicant.user,
            quantity: applicant.quantity,
            key,
        }
    }

    /// A span of the work on the request, if it is traced.
    pub(super) fn span(&self, name: &'static str) -> Option<Traced> {
        trace::follow(
            self.applicant.traceparent.as_deref(),
            name,
            SpanKind::Internal,
        )
    }
}

//! One request and its participation, the same in every try.

use super::Request;
use crate::domain::{ParticipationId, Refusal};
use crate::parts::gate::{Key, KeyDigest};
use crate::parts::store::Applicant;

/// One request and its participation.
pub(super) struct Attempt {
    pub(super) request: Request,
    pub(super) applicant: Applicant,
    /// The idempotency key for the gate.
    pub(super) key: Key,
}

impl Attempt {
    /// An attempt that this replica refuses if there is a `refusal`.
    pub(super) fn new(id: ParticipationId, request: Request, refusal: Option<&Refusal>) -> Self {
        let digest = |key: &String| KeyDigest::of(request.user, key);
        let key = match request.idempotency_key.as_ref().map(digest) {
            None => Key::None,
            Some(digest) if refusal == Some(&Refusal::NotAllowed) => Key::Refuse(digest),
            Some(digest) => Key::Decide(digest),
        };
        let applicant = Applicant {
            participation: id,
            user: request.user,
            quantity: request.quantity,
            idempotency_key: request.idempotency_key.clone(),
            traceparent: request.traceparent.clone(),
            since: request.since,
        };
        Self {
            request,
            applicant,
            key,
        }
    }
}

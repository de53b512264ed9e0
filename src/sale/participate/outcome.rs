//! The outcome of a request to participate.

use crate::domain::{Participation, Refusal};

/// Whether an answer is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// Given for the first time.
    First,
    /// Given before, for the same idempotency key.
    Again,
}

/// The outcome of a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Yes, and durable.
    Accepted {
        /// As committed.
        participation: Participation,
        /// Whether this answer was given before.
        replayed: Replayed,
    },
    /// No, by the rules.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Units left, as far as known.
        remaining: Option<u64>,
    },
}

/// No answer.
#[derive(Debug, thiserror::Error)]
pub enum ParticipateError {
    /// There is no such campaign.
    #[error("find the campaign")]
    UnknownCampaign,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// An earlier request with the same idempotency key may still be committed.
    #[error("an earlier request with this key may still commit")]
    Outstanding,
    /// The campaign costs something, and no provider may take payments here.
    #[error("find a payment provider: none may take payments here")]
    NoPaymentProvider,
    /// No room; nothing was taken.
    #[error("the queue is full")]
    Busy,
    /// A part did not answer. Whether the participation was made is told by asking again.
    #[error("reach the {part}")]
    Unavailable {
        /// `store`, `gate` or `broker`.
        part: &'static str,
    },
}

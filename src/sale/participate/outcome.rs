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
    /// Accepted, and durable.
    Accepted {
        /// The participation as committed.
        participation: Participation,
        /// Whether this is a repeated answer.
        replayed: Replayed,
    },
    /// Refused by the rules.
    Refused {
        /// The reason.
        refusal: Refusal,
        /// Units left, if known.
        remaining: Option<u64>,
    },
}

/// Why there is no outcome.
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
    /// The campaign has a price, and no payment provider is configured.
    #[error("find a payment provider: none may take payments here")]
    NoPaymentProvider,
    /// The queue is full; nothing was reserved.
    #[error("the queue is full")]
    Busy,
    /// A part did not answer. A repeated request with the same key gets the result.
    #[error("reach the {part}")]
    Unavailable {
        /// `store`, `gate` or `broker`.
        part: &'static str,
    },
}

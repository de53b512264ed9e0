//! What is asked, and what became of it.

use std::time::Instant;

use crate::domain::{CampaignId, Participation, Refusal, UserId};
use crate::runtime::trace::{self, SpanKind, Traced};

/// A wish to take part.
#[derive(Clone, Debug)]
pub struct Request {
    /// In what.
    pub campaign: CampaignId,
    /// Who.
    pub user: UserId,
    /// Units, at least 1.
    pub quantity: u32,
    /// The same key from the same user gets the first answer again.
    pub idempotency_key: Option<String>,
    /// W3C trace context, passed on to the event.
    pub traceparent: Option<String>,
    /// When it came, by this process's monotonic clock.
    pub since: Instant,
}

impl Request {
    /// A part of the work on it, if it is traced.
    pub(super) fn span(&self, name: &'static str) -> Option<Traced> {
        trace::follow(self.traceparent.as_deref(), name, SpanKind::Internal)
    }
}

/// Whether an answer is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// Given for the first time.
    First,
    /// Given before, for the same idempotency key.
    Again,
}

/// What became of the wish.
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

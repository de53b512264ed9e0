//! The states in which events are parked.

use std::time::Duration;

use crate::events::relay::{Context, Item, Origin};
use crate::parts::store::{ParkedState, Verdict};

/// It may have been published: it is tried again, as often as the policy allows.
pub(super) fn failed(context: &Context, item: &Item, error: String) -> Verdict {
    let class = "possibly_delivered";
    let attempts = attempts(item);
    match context.config.retry.delay(attempts) {
        Some(delay) => Verdict {
            state: ParkedState::Retry,
            attempts,
            error_class: class,
            error,
            next_in: Some(delay),
        },
        None => dead(item, class, error),
    }
}

/// Its topic or partition takes no records: it is tried when that does, without an attempt charged.
pub(super) fn waits(item: &Item) -> Verdict {
    Verdict {
        state: ParkedState::Waiting,
        attempts: match item.origin {
            Origin::Log(_) => 0,
            Origin::Parked { attempts, .. } => attempts,
        },
        error_class: "held_back",
        error: "its topic or partition takes no records".to_owned(),
        next_in: Some(Duration::ZERO),
    }
}

/// It waits behind an earlier event.
pub(super) fn blocked() -> Verdict {
    Verdict {
        state: ParkedState::Blocked,
        attempts: 0,
        error_class: "blocked",
        error: "waits behind an earlier event of its key".to_owned(),
        next_in: None,
    }
}

/// There is nothing to publish, and nothing to copy.
pub(super) const fn unreadable(error: String) -> Verdict {
    Verdict {
        state: ParkedState::Dead,
        attempts: 0,
        error_class: "unreadable",
        error,
        next_in: None,
    }
}

/// It is given up.
pub(super) fn dead(item: &Item, class: &'static str, error: String) -> Verdict {
    tracing::error!(
        outbox.id = %item.event.id,
        campaign.id = %item.event.campaign_id,
        class,
        error,
        "event given up: it is a dead letter now"
    );
    Verdict {
        state: ParkedState::Dead,
        attempts: attempts(item),
        error_class: class,
        error,
        // Due at once: for its copy to the dead letter topic.
        next_in: Some(Duration::ZERO),
    }
}

/// Attempts with the one that has just failed.
const fn attempts(item: &Item) -> u32 {
    match item.origin {
        Origin::Log(_) => 1,
        Origin::Parked { attempts, .. } => attempts.saturating_add(1),
    }
}

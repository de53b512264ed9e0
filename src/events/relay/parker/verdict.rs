//! The states in which events are parked.

use std::time::Duration;

use crate::events::relay::{Context, Item, Origin};
use crate::parts::store::{ParkedState, ParkedVerdict};

/// It may have been published: it is tried again, as often as the policy allows.
pub(super) fn failed(context: &Context, item: &Item, error: String) -> ParkedVerdict {
    let class = "possibly_delivered";
    let attempts = attempts(item);
    match context.config.retry.delay(attempts) {
        Some(delay) => ParkedVerdict {
            state: ParkedState::Retry,
            attempts,
            error_class: class,
            error,
            next_in: Some(delay),
        },
        None => dead(item, class, error),
    }
}

/// Its topic or partition accepts no records: it is retried when the target works again, and no attempt is charged.
pub(super) fn waits(item: &Item) -> ParkedVerdict {
    ParkedVerdict {
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
pub(super) fn blocked() -> ParkedVerdict {
    ParkedVerdict {
        state: ParkedState::Blocked,
        attempts: 0,
        error_class: "blocked",
        error: "waits behind an earlier event of its key".to_owned(),
        next_in: None,
    }
}

/// There is nothing to publish or copy.
pub(super) const fn unreadable(error: String) -> ParkedVerdict {
    ParkedVerdict {
        state: ParkedState::Dead,
        attempts: 0,
        error_class: "unreadable",
        error,
        next_in: None,
    }
}

/// It is dead.
pub(super) fn dead(item: &Item, class: &'static str, error: String) -> ParkedVerdict {
    tracing::error!(
        outbox.id = %item.event.id,
        campaign.id = %item.event.campaign_id,
        class,
        error,
        "event became a dead letter"
    );
    ParkedVerdict {
        state: ParkedState::Dead,
        attempts: attempts(item),
        error_class: class,
        error,
        // Due at once, for the copy to the dead letter topic.
        next_in: Some(Duration::ZERO),
    }
}

/// Attempts, including the one that has just failed.
const fn attempts(item: &Item) -> u32 {
    match item.origin {
        Origin::Log(_) => 1,
        Origin::Parked { attempts, .. } => attempts.saturating_add(1),
    }
}

//! Detects events sent after a later one of their sequence.

use std::sync::Arc;

use crate::domain::{EventId, OutboxEvent};
use crate::events::relay::Map;

/// Sequences whose last sent event is remembered.
const SEQUENCES_MAX: usize = 10_000;

/// The last event sent of each sequence.
#[derive(Default)]
pub(super) struct OrderCheck {
    sent: Map<Arc<str>, Position>,
}

impl OrderCheck {
    /// Notes that an event is sent, and returns whether a later one of its sequence was sent before.
    pub(super) fn is_violated_by(&mut self, event: &OutboxEvent) -> bool {
        if self.sent.len() >= SEQUENCES_MAX {
            self.sent.clear();
        }
        let (sequence, position) = Position::of(event);
        let last = self.sent.entry(sequence).or_insert(position);
        let is_violated = position < *last;
        *last = position.max(*last);
        is_violated
    }
}

/// The position of an event in its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Position {
    /// Among the changes of one participation.
    Change(u32),
    /// Among the commits of one campaign, for keys that participations share.
    Commit(EventId),
}

impl Position {
    /// The sequence of an event, and its position there.
    fn of(event: &OutboxEvent) -> (Arc<str>, Self) {
        if event.shares_its_key() {
            let sequence = format!("{}/{}", event.campaign_id, event.key);
            (sequence.into(), Self::Commit(event.id))
        } else {
            (Arc::clone(&event.key), Self::Change(event.key_sequence))
        }
    }
}

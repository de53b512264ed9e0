//! Detects events published after a later one of their key.

use crate::events::relay::Map;
use crate::parts::store::StreamKey;

/// Keys whose last published event is remembered.
const KEYS_MAX: usize = 10_000;

/// The last event published of each key.
#[derive(Default)]
pub(super) struct OrderCheck {
    published: Map<StreamKey, Published>,
}

#[derive(Clone, Copy)]
struct Published {
    /// The window that it was published from; none: it was parked.
    window: Option<u64>,
    sequence: u64,
}

impl OrderCheck {
    /// Notes that an event is acknowledged, and returns whether a later one of its key was acknowledged before. When a
    /// stream is read again, in a new window, its events are published again: they have no later one before them.
    pub(super) fn is_violated_by(
        &mut self,
        key: StreamKey,
        window: Option<u64>,
        sequence: u64,
    ) -> bool {
        if self.published.len() >= KEYS_MAX {
            self.published.clear();
        }
        let this = Published { window, sequence };
        let last = self.published.entry(key).or_insert(this);
        let is_read_again = match (last.window, window) {
            (Some(before), Some(now)) => before != now,
            _ => false,
        };
        if is_read_again {
            *last = this;
            return false;
        }
        let is_violated = sequence < last.sequence;
        last.window = window.or(last.window);
        last.sequence = sequence.max(last.sequence);
        is_violated
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CampaignId, StreamId};

    fn key() -> StreamKey {
        let stream = StreamId::of_participations(CampaignId(1));
        (stream, "a key".into())
    }

    #[test]
    fn an_event_after_a_later_one_of_its_key_is_a_violation() {
        let mut check = OrderCheck::default();
        assert!(!check.is_violated_by(key(), Some(1), 4));
        assert!(!check.is_violated_by(key(), Some(1), 5));
        assert!(check.is_violated_by(key(), Some(1), 4));
        // One that was parked is compared with all windows.
        assert!(check.is_violated_by(key(), None, 3));
        assert!(check.is_violated_by(key(), Some(1), 4));
    }

    #[test]
    fn events_of_a_stream_that_is_read_again_are_no_violation() {
        let mut check = OrderCheck::default();
        assert!(!check.is_violated_by(key(), Some(1), 4));
        assert!(!check.is_violated_by(key(), Some(1), 5));
        assert!(!check.is_violated_by(key(), Some(2), 4));
        assert!(!check.is_violated_by(key(), Some(2), 5));
        assert!(check.is_violated_by(key(), Some(2), 4));
    }
}

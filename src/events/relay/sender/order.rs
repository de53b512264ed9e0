//! Detects events published after a later one of their key.

use crate::events::relay::Map;
use crate::parts::store::StreamKey;

/// Keys whose last published event is remembered.
const KEYS_MAX: usize = 10_000;

/// The last event published of each key.
#[derive(Default)]
pub(super) struct OrderCheck {
    published: Map<StreamKey, u64>,
}

impl OrderCheck {
    /// Notes that an event is acknowledged, and returns whether a later one of its key was acknowledged before.
    pub(super) fn is_violated_by(&mut self, key: StreamKey, sequence: u64) -> bool {
        if self.published.len() >= KEYS_MAX {
            self.published.clear();
        }
        let last = self.published.entry(key).or_insert(sequence);
        let is_violated = sequence < *last;
        *last = sequence.max(*last);
        is_violated
    }
}

//! Detects events sent after a later one of their key.

use crate::events::relay::Map;
use crate::parts::store::StreamKey;

/// Keys whose last sent event is remembered.
const KEYS_MAX: usize = 10_000;

/// The last event sent of each key.
#[derive(Default)]
pub(super) struct OrderCheck {
    sent: Map<StreamKey, u64>,
}

impl OrderCheck {
    /// Notes that an event is sent, and returns whether a later one of its key was sent before.
    pub(super) fn is_violated_by(&mut self, key: StreamKey, sequence: u64) -> bool {
        if self.sent.len() >= KEYS_MAX {
            self.sent.clear();
        }
        let last = self.sent.entry(key).or_insert(sequence);
        let is_violated = sequence < *last;
        *last = sequence.max(*last);
        is_violated
    }
}

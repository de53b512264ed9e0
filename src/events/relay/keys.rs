//! Keys with a parked row that blocks later events of the key. Such events are forwarded to the parker. The parker
//! frees a key when none of its events waits, in the database or on the way to the parker.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Map;
use crate::parts::store::StreamKey;

#[derive(Debug, Default)]
pub(super) struct BlockedKeys {
    keys: Mutex<Map<StreamKey, Blocked>>,
    /// Read without the lock, because usually no key is blocked.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Blocked {
    /// Events on their way to the parker.
    forwarded: usize,
}

impl BlockedKeys {
    /// Whether events of this key must wait.
    pub(super) fn contains(&self, key: &StreamKey) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        self.lock().contains_key(key)
    }

    /// Counts an event on its way to the parker, if its key is blocked. Returns whether it is.
    pub(super) fn forward_if_blocked(&self, key: &StreamKey) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut keys = self.lock();
        match keys.get_mut(key) {
            Some(blocked) => {
                blocked.forwarded += 1;
                true
            }
            None => false,
        }
    }

    /// Blocks a key whose event is on its way to the parker.
    pub(super) fn block(&self, key: StreamKey) {
        let mut keys = self.lock();
        keys.entry(key).or_default().forwarded += 1;
        self.counted(&keys);
    }

    /// Blocks a key that has a parked row.
    pub(super) fn block_parked(&self, key: StreamKey) {
        let mut keys = self.lock();
        keys.entry(key).or_default();
        self.counted(&keys);
    }

    /// A forwarded event is recorded in the database.
    pub(super) fn written(&self, key: &StreamKey) {
        if let Some(blocked) = self.lock().get_mut(key) {
            blocked.forwarded = blocked.forwarded.saturating_sub(1);
        }
    }

    /// Frees a key without parked rows. It stays blocked while events of it are on their way to the parker.
    pub(super) fn free(&self, key: &StreamKey) {
        let mut keys = self.lock();
        if keys.get(key).is_some_and(|blocked| blocked.forwarded == 0) {
            keys.remove(key);
        }
        self.counted(&keys);
    }

    /// Blocks the keys with parked rows in the database. Keys that were blocked before stay blocked: a row may have
    /// been parked after this read, and the parker frees keys without waiting events.
    pub(super) fn block_all(&self, parked: impl IntoIterator<Item = StreamKey>) {
        let mut keys = self.lock();
        for key in parked {
            keys.entry(key).or_default();
        }
        self.counted(&keys);
    }

    /// The blocked keys of `buckets` that have no event on its way to the parker.
    pub(super) fn without_forwarded(&self, buckets: &[u16]) -> Vec<StreamKey> {
        let keys = self.lock();
        let without_forwarded = keys.iter().filter(|((stream, _), blocked)| {
            blocked.forwarded == 0 && buckets.contains(&stream.bucket())
        });
        without_forwarded.map(|(key, _)| key.clone()).collect()
    }

    /// The number of blocked keys.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    fn counted(&self, keys: &Map<StreamKey, Blocked>) {
        self.count.store(keys.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Map<StreamKey, Blocked>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CampaignId, StreamId};

    fn key(name: &str) -> StreamKey {
        (StreamId::of_participations(CampaignId(1)), name.into())
    }

    #[test]
    fn a_key_is_freed_only_when_nothing_of_it_is_on_its_way() {
        let blocked = BlockedKeys::default();
        let a = key("a");
        blocked.block(a.clone());
        assert!(blocked.forward_if_blocked(&a));
        blocked.written(&a);
        blocked.free(&a);
        assert!(blocked.contains(&a), "the second event is not written yet");
        blocked.written(&a);
        blocked.free(&a);
        assert!(!blocked.contains(&a) && !blocked.forward_if_blocked(&a));
    }

    #[test]
    fn a_takeover_adds_what_is_parked_and_forgets_nothing() {
        let blocked = BlockedKeys::default();
        blocked.block_parked(key("known"));
        blocked.block(key("on its way"));
        let other = StreamId::of_participations(CampaignId(2));
        blocked.block_parked((other, "elsewhere".into()));
        blocked.block_all(vec![key("parked")]);
        assert!(blocked.contains(&key("known")) && blocked.contains(&key("parked")));
        let mut without_forwarded = blocked.without_forwarded(&[1]);
        without_forwarded.sort();
        assert_eq!(without_forwarded, [key("known"), key("parked")]);
        assert_eq!(blocked.len(), 4);
    }
}

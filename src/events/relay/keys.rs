//! Keys with a parked row that later events of theirs wait behind. Workers forward such events to the parker, which
//! frees a key when nothing of it waits any more, in the database or on the way there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Map;
use crate::parts::store::StreamKey;

#[derive(Debug, Default)]
pub(super) struct BlockedKeys {
    keys: Mutex<Map<StreamKey, Blocked>>,
    /// Read without the lock: mostly nothing is blocked.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Blocked {
    /// Events on their way to the parker.
    forwarded: usize,
}

impl BlockedKeys {
    /// Whether events of a key wait.
    pub(super) fn contains(&self, key: &StreamKey) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        self.lock().contains_key(key)
    }

    /// An event of a key is on its way to the parker, if the key is blocked.
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

    /// Blocks a key: its event is on its way to the parker.
    pub(super) fn block(&self, key: StreamKey) {
        let mut keys = self.lock();
        keys.entry(key).or_default().forwarded += 1;
        self.counted(&keys);
    }

    /// Blocks a key that has a parked row.
    pub(super) fn keep(&self, key: StreamKey) {
        let mut keys = self.lock();
        keys.entry(key).or_default();
        self.counted(&keys);
    }

    /// A forwarded event was written down.
    pub(super) fn written(&self, key: &StreamKey) {
        if let Some(blocked) = self.lock().get_mut(key) {
            blocked.forwarded = blocked.forwarded.saturating_sub(1);
        }
    }

    /// Nothing of a key is parked. It stays blocked while events of it are on their way to the parker.
    pub(super) fn free(&self, key: &StreamKey) {
        let mut keys = self.lock();
        if keys.get(key).is_some_and(|blocked| blocked.forwarded == 0) {
            keys.remove(key);
        }
        self.counted(&keys);
    }

    /// Blocks the keys that the database has parked rows of. Those that were known stay: one may have been parked since
    /// these were read, and the parker frees what waits for nothing.
    pub(super) fn learn(&self, parked: Vec<StreamKey>) {
        let mut keys = self.lock();
        for key in parked {
            keys.entry(key).or_default();
        }
        self.counted(&keys);
    }

    /// The blocked keys of `buckets` that have no event on its way to the parker.
    pub(super) fn settled(&self, buckets: &[u16]) -> Vec<StreamKey> {
        let keys = self.lock();
        let settled = keys.iter().filter(|((stream, _), blocked)| {
            blocked.forwarded == 0 && buckets.contains(&stream.bucket())
        });
        settled.map(|(key, _)| key.clone()).collect()
    }

    /// How many there are.
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
        blocked.keep(key("known"));
        blocked.block(key("on its way"));
        let other = StreamId::of_participations(CampaignId(2));
        blocked.keep((other, "elsewhere".into()));
        blocked.learn(vec![key("parked")]);
        assert!(blocked.contains(&key("known")) && blocked.contains(&key("parked")));
        let mut settled = blocked.settled(&[1]);
        settled.sort();
        assert_eq!(settled, [key("known"), key("parked")]);
        assert_eq!(blocked.len(), 4);
    }
}

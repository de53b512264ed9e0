//! Keys whose rows must not be sent: keys with a parked row, and keys whose row a worker returned unpublished.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Map, Set};

/// Keys that have a row waiting to be tried again: later rows of theirs wait behind it. Written by
/// the parker, who knows what is parked, and filled in when a bucket is taken.
///
/// It also knows who was blocked and who was let go since the dispatcher last began to read: what it read
/// may be older than that, and lack the rows that were let go, or what blocks a key.
#[derive(Debug, Default)]
pub(super) struct BlockedKeys(Mutex<Keys>);

#[derive(Debug, Default)]
struct Keys {
    blocked: Map<String, u16>,
    /// Since the last reading began.
    taken: Set<String>,
    /// Since the last reading began.
    unblocked: Set<String>,
}

/// Whether rows read of a key may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyState {
    Open,
    /// An earlier row waits for a retry.
    Blocked,
    /// There may be earlier rows: they have to be read again.
    Reread,
}

impl BlockedKeys {
    /// From now on it is noted who is blocked and who is let go: called before anything is read.
    pub(super) fn begin_reading(&self) {
        let mut keys = self.lock();
        keys.taken.clear();
        keys.unblocked.clear();
    }

    /// Whether rows of a key may go that were read since `begin_reading`.
    pub(super) fn key_state(&self, key: &str) -> KeyState {
        let keys = self.lock();
        if keys.blocked.contains_key(key) {
            KeyState::Blocked
        } else if keys.unblocked.contains(key) {
            KeyState::Reread
        } else {
            KeyState::Open
        }
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.lock().blocked.contains_key(key)
    }

    pub(super) fn insert(&self, key: &str, bucket: u16) {
        let mut keys = self.lock();
        keys.blocked.insert(key.to_owned(), bucket);
        keys.taken.insert(key.to_owned());
    }

    /// Lets a key go whose rows are no longer parked in the database.
    pub(super) fn remove(&self, key: &str) {
        let mut keys = self.lock();
        keys.blocked.remove(key);
        keys.taken.remove(key);
        keys.unblocked.insert(key.to_owned());
    }

    /// Takes over what was read of `buckets` since `begin_reading`, instead of what was known of them.
    pub(super) fn learn(&self, buckets: &[u16], read: Vec<(u16, String)>) {
        let mut keys = self.lock();
        let Keys {
            blocked,
            taken,
            unblocked,
        } = &mut *keys;
        blocked.retain(|key, bucket| !buckets.contains(bucket) || taken.contains(key));
        let read = read.into_iter().filter(|(_, key)| !unblocked.contains(key));
        blocked.extend(read.map(|(bucket, key)| (key, bucket)));
    }

    /// The keys of `buckets`.
    pub(super) fn of(&self, buckets: &[u16]) -> Vec<String> {
        let keys = self.lock();
        let of_buckets = keys.blocked.iter().filter(|(_, of)| buckets.contains(of));
        of_buckets.map(|(key, _)| key.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys whose row a worker returned unpublished. Until the worker has returned all rows of such a key, it accepts none
/// and the dispatcher sends none: otherwise a later row in flight would overtake.
#[derive(Debug, Default)]
pub(super) struct RecalledKeys(Mutex<Set<String>>);

impl RecalledKeys {
    pub(super) fn contains(&self, key: &str) -> bool {
        self.lock().contains(key)
    }

    pub(super) fn insert(&self, key: &str) {
        self.lock().insert(key.to_owned());
    }

    pub(super) fn remove(&self, key: &str) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, Set<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_before_their_key_was_unblocked_are_read_again() {
        let blocked = BlockedKeys::default();
        blocked.insert("a", 1);
        blocked.begin_reading();
        assert_eq!(blocked.key_state("a"), KeyState::Blocked);
        blocked.remove("a");
        assert_eq!(blocked.key_state("a"), KeyState::Reread);
        assert_eq!(blocked.key_state("b"), KeyState::Open);
        blocked.begin_reading();
        assert_eq!(blocked.key_state("a"), KeyState::Open);
    }

    #[test]
    fn a_key_released_during_the_read_of_parked_keys_stays_released() {
        let blocked = BlockedKeys::default();
        blocked.insert("gone", 1);
        blocked.insert("old", 1);
        blocked.insert("elsewhere", 2);
        blocked.begin_reading();
        blocked.remove("gone");
        let read = vec![(1, "gone".to_owned()), (1, "parked".to_owned())];
        blocked.learn(&[1], read);
        let mut known = blocked.of(&[1, 2]);
        known.sort();
        assert_eq!(known, ["elsewhere", "parked"]);
    }

    #[test]
    fn a_key_blocked_during_the_read_of_parked_keys_stays_blocked() {
        let blocked = BlockedKeys::default();
        blocked.insert("old", 1);
        blocked.begin_reading();
        blocked.insert("new", 1);
        blocked.insert("passing", 1);
        blocked.remove("passing");
        blocked.learn(&[1], Vec::new());
        assert_eq!(blocked.of(&[1]), ["new"]);
    }
}

//! Keys whose rows may not simply go out: those that wait behind a parked row, and those whose rows
//! were called back from a lane.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Map, Set};

/// Keys that have a row waiting to be tried again: later rows of theirs wait behind it. Written by
/// the parker, who knows what is parked, and filled in when a bucket is taken.
#[derive(Debug, Default)]
pub(super) struct Blocked(Mutex<Map<String, u16>>);

impl Blocked {
    pub(super) fn contains(&self, key: &str) -> bool {
        self.lock().contains_key(key)
    }

    pub(super) fn insert(&self, key: &str, bucket: u16) {
        self.lock().insert(key.to_owned(), bucket);
    }

    pub(super) fn remove(&self, key: &str) {
        self.lock().remove(key);
    }

    /// Forgets what was known of `bucket`.
    pub(super) fn forget(&self, bucket: u16) {
        self.lock().retain(|_, of| *of != bucket);
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Map<String, u16>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys of which a lane gave a row back unpublished. Until all rows of such a key are back, the lane
/// takes none and the dispatcher sends none: otherwise a later row still under way would overtake.
#[derive(Debug, Default)]
pub(super) struct Recalled(Mutex<Set<String>>);

impl Recalled {
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

//! Buckets in which rows were committed here that another relay owns. Somebody who can reach the other
//! replicas passes the word on; a word that is lost costs one wait of their poll.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::domain::BucketSet;

/// What the others should be told. All clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    noted: Arc<(AtomicU64, Notify)>,
}

impl Elsewhere {
    /// Notes that there are rows in `buckets`.
    pub fn note(&self, buckets: BucketSet) {
        let (bits, changed) = &*self.noted;
        if !buckets.is_empty() && bits.fetch_or(buckets.0, Ordering::AcqRel) == 0 {
            changed.notify_one();
        }
    }

    /// Waits until something was noted, and takes it.
    pub async fn next(&self) -> BucketSet {
        let (bits, changed) = &*self.noted;
        loop {
            let taken = BucketSet(bits.swap(0, Ordering::AcqRel));
            if !taken.is_empty() {
                return taken;
            }
            changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_noted_is_taken_together_and_once() {
        let elsewhere = Elsewhere::default();
        elsewhere.note(BucketSet::of([1, 2]));
        elsewhere.note(BucketSet::of([2, 63]));
        assert_eq!(elsewhere.next().await, BucketSet::of([1, 2, 63]));
        let waiting = tokio::time::timeout(std::time::Duration::ZERO, elsewhere.next());
        assert!(waiting.await.is_err(), "nothing is left");
    }
}

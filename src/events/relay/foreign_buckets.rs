//! Buckets of other relays in which rows were committed here. Their replicas are notified; a lost notification
//! costs one wait of their poll.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::domain::BucketSet;

/// Buckets to notify other relays of. All clones share one set.
#[derive(Clone, Debug, Default)]
pub struct ForeignBuckets {
    shared: Arc<(AtomicU64, Notify)>,
}

impl ForeignBuckets {
    /// Adds `buckets`, which have new rows.
    pub fn add(&self, buckets: BucketSet) {
        let (bits, changed) = &*self.shared;
        if !buckets.is_empty() && bits.fetch_or(buckets.0, Ordering::AcqRel) == 0 {
            changed.notify_one();
        }
    }

    /// Waits until there are buckets, and takes them.
    pub async fn next(&self) -> BucketSet {
        let (bits, changed) = &*self.shared;
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
    async fn added_buckets_are_acquired_together_and_once() {
        let foreign = ForeignBuckets::default();
        foreign.add(BucketSet::of([1, 2]));
        foreign.add(BucketSet::of([2, 63]));
        assert_eq!(foreign.next().await, BucketSet::of([1, 2, 63]));
        let waiting = tokio::time::timeout(std::time::Duration::ZERO, foreign.next());
        assert!(waiting.await.is_err(), "nothing is left");
    }
}

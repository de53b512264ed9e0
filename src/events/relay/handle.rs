//! The handle of a running relay.

use tokio::sync::mpsc;

use super::breaker::BreakerState;
use super::foreign_buckets::ForeignBuckets;
use super::{Context, Metrics};
use crate::domain::{BucketSet, Fresh, Stream};

/// A handle of a running relay.
#[derive(Clone, Debug)]
pub struct RelayHandle {
    pub(super) hints: mpsc::Sender<Fresh>,
    pub(super) context: Context,
}

impl RelayHandle {
    /// Where the writer hands over what it has just committed, with `try_send`: a hint that is
    /// dropped costs at most one wait of the poll. Rows held for somebody else are not handed over.
    #[must_use]
    pub fn hints(&self) -> mpsc::Sender<Fresh> {
        self.hints.clone()
    }

    /// Another replica said that there are rows in `buckets`: makes it look now if one is its own.
    pub fn wake(&self, buckets: BucketSet) {
        if BucketSet::of(self.buckets()).meets(buckets) {
            self.context.metrics.woken.inc();
            self.context.wake.notify_one();
        }
    }

    /// Buckets to notify other relays of.
    #[must_use]
    pub fn foreign_buckets(&self) -> ForeignBuckets {
        self.context.foreign_buckets.clone()
    }

    /// The relay's numbers.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.context.metrics
    }

    /// Whether broker, topics and partitions are written to; false while a breaker holds rows back.
    #[must_use]
    pub fn is_publishing(&self) -> bool {
        self.context.breakers.closed()
    }

    /// The breaker of the broker, and those of the topics: one is not closed while a partition takes nothing.
    #[must_use]
    pub fn breakers(&self) -> (BreakerState, Vec<(Stream, BreakerState)>) {
        self.context.breakers.states()
    }

    /// Its name in the lease rows.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.context.config.owner
    }

    /// The buckets this relay owns now.
    #[must_use]
    pub fn buckets(&self) -> Vec<u16> {
        self.context.ownership.buckets()
    }
}

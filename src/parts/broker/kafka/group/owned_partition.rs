//! One partition that a member of a group owns.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::mpsc::{Receiver, Sender};
use tokio_util::sync::CancellationToken;

use crate::parts::broker::Delivered;

/// No offset yet.
pub(super) const NONE: i64 = -1;

/// A partition while this member owns it, for its worker.
#[derive(Debug)]
pub struct OwnedPartition {
    /// Its number.
    pub partition: i32,
    /// Its records, in order.
    pub records: Receiver<Delivered>,
    /// Cancelled when the partition is revoked: the worker finishes quickly and drops this.
    pub revoked: CancellationToken,
    pub(super) position: Arc<AtomicI64>,
}

impl OwnedPartition {
    /// Sets the position: everything up to and including this offset is done.
    pub fn done(&self, offset: i64) {
        self.position.store(offset + 1, Ordering::SeqCst);
    }
}

/// The sending end of an owned partition.
pub(super) struct PartitionQueue {
    pub(super) queue: Sender<Delivered>,
    /// Records without room in the queue; the partition is paused while there are any.
    pub(super) waiting: VecDeque<Delivered>,
    pub(super) position: Arc<AtomicI64>,
    pub(super) committed: i64,
    pub(super) revoked: CancellationToken,
}

impl PartitionQueue {
    /// Moves waiting records into the queue. Returns whether none waits any more.
    pub(super) fn refill(&mut self) -> bool {
        while let Some(record) = self.waiting.pop_front() {
            if let Err(unsent) = self.queue.try_send(record) {
                self.waiting.push_front(unsent.into_inner());
                return false;
            }
        }
        true
    }
}

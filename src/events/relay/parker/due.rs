//! Brings parked rows back when they are due, and unblocks keys that no row blocks any more.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{CHECK_INTERVAL, Parker, unreadable};
use crate::events::relay::settler::tell;
use crate::events::relay::{Context, Item, Origin, Signal, Urgency};
use crate::parts::store::{ORPHAN_KEYS_MAX, ParkedState, StoreError, Without};

/// Parked rows brought back at once.
const DUE_ROWS_MAX: u32 = 200;
/// Rows that are still due are brought back again after this time, or after the longest wait of a poll.
const AGAIN_IN: Duration = Duration::from_secs(1);
/// The least time between two passes, unless polls have a shorter one.
const PAUSE: Duration = Duration::from_millis(10);

impl Parker {
    /// Brings back due rows. Returns the time until the next pass.
    pub(super) async fn pass(&mut self, stop: &CancellationToken) -> Result<Duration, StoreError> {
        let usable = self.context.ownership.usable();
        let buckets: Vec<u16> = usable.keys().copied().collect();
        if buckets.is_empty() {
            return Ok(CHECK_INTERVAL);
        }
        let context = Context::clone(&self.context);
        let store = &context.store;
        let state = ParkedState::Retry;
        // Rows that are held back would fill the page, and only be returned.
        let without = context.excluded_from_retry();
        let is_held = without != Without::default();
        let due = store
            .parked_due(state, &buckets, &without, DUE_ROWS_MAX)
            .await?;
        for (row, error) in due.unreadable {
            let Some(term) = usable.get(&row.bucket) else {
                continue;
            };
            tracing::error!(outbox.id = %row.id, error, "parked event cannot be read");
            context.metrics.failed("unreadable");
            self.write_again(&row, &unreadable(error), term.epoch, stop)
                .await?;
        }
        let items: Vec<Item> = due
            .parked
            .into_iter()
            .filter_map(|parked| {
                Some(Item {
                    epoch: usable.get(&parked.event.bucket)?.epoch,
                    event: parked.event,
                    origin: Origin::Parked {
                        attempts: parked.attempts,
                    },
                    alone: false,
                    urgency: Urgency::Fresh,
                    committed_at: None,
                })
            })
            .collect();
        // A due row may find no room, and stays due until its result is written.
        let again_in = context.config.poll_max.min(AGAIN_IN);
        let wait = if items.is_empty() {
            let next = store.next_due(state, &buckets, &without).await?;
            // A topic or partition that is held back may be probed soon.
            let most = if is_held { again_in } else { CHECK_INTERVAL };
            next.unwrap_or(most).min(most)
        } else {
            tell(&self.signals, Signal::Due(items)).await;
            again_in
        };
        if Instant::now() >= self.next_orphans {
            let freed = store.free_orphans(&buckets).await?;
            if freed > 0 {
                tracing::warn!(keys = freed, "orphaned blocked rows released");
            }
            self.unblock_stale_keys(&buckets).await?;
            let is_done = freed < ORPHAN_KEYS_MAX;
            let next = if is_done {
                CHECK_INTERVAL
            } else {
                Duration::ZERO
            };
            self.next_orphans = Instant::now() + next;
        }
        let wait = wait.min(self.next_orphans - Instant::now());
        Ok(wait.max(context.config.poll_min.min(PAUSE)))
    }

    /// Unblocks keys whose parked row was delivered by the relay that owned these buckets before.
    async fn unblock_stale_keys(&self, buckets: &[u16]) -> Result<(), StoreError> {
        let known = self.context.blocked_keys.of(buckets);
        if known.is_empty() {
            return Ok(());
        }
        let states = [ParkedState::Retry, ParkedState::Blocked];
        let waiting = self.context.store.parked_keys(&states, buckets).await?;
        let waiting: HashSet<String> = waiting.into_iter().map(|(_, key)| key).collect();
        for key in known.iter().filter(|key| !waiting.contains(*key)) {
            self.context.blocked_keys.remove(key);
        }
        Ok(())
    }
}

//! Retries parked rows when they are due, and frees keys that no row blocks any more.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{ORPHANS_INTERVAL, Parker};
use crate::events::relay::report::ParkedClaim;
use crate::events::relay::{Context, Item, Origin};
use crate::parts::store::{ORPHAN_KEYS_MAX, Parked, ParkedState, StoreError, Targets};

/// Parked rows sent at once.
const DUE_ROWS_MAX: u32 = 500;
/// Longest time that an event stays `held` for its request; longer than `SYNC_HOLD` of the synchronous path.
const HELD_MAX: Duration = Duration::from_secs(60);
/// Rows of a partition that accepts no records that are sent as probes.
const PROBE_ROWS_MAX: u32 = 8;
/// Pause between reads of rows of partitions that may be probed.
const PROBE_PAUSE: Duration = Duration::from_millis(50);
/// Pause between reads of due rows; shorter if the longest poll interval is shorter.
const AGAIN_IN: Duration = Duration::from_secs(1);
/// Shortest time until keys of held events are freed.
const HELD_KEYS_PAUSE: Duration = Duration::from_secs(5);
/// Shortest time between two passes, unless the poll interval is shorter.
const PAUSE: Duration = Duration::from_millis(10);

impl Parker {
    /// Retries due rows. Returns the time until the next pass.
    pub(super) async fn pass(&mut self, stop: &CancellationToken) -> Result<Duration, StoreError> {
        let context = Context::clone(&self.context);
        let buckets = context.ownership.buckets();
        let longest = context.config.poll_max.min(AGAIN_IN);
        if buckets.is_empty() {
            return Ok(longest);
        }
        let mut wait = longest;
        if let Some(away) = context.breakers.broker_wait() {
            wait = wait.min(away);
        } else {
            let targets = context.targets_to_retry();
            for state in [ParkedState::Retry, ParkedState::Held] {
                wait = wait.min(self.retry(state, &buckets, &targets, stop).await?);
            }
            // While targets fail, the read skips their rows one by one, so it is done less often.
            let is_away = targets != Targets::ALL;
            if !is_away || Instant::now() >= self.next_waiting {
                self.next_waiting = Instant::now() + longest;
                let state = ParkedState::Waiting;
                wait = wait.min(self.retry(state, &buckets, &targets, stop).await?);
            }
            for partitions in context.probe_partitions() {
                let probes = Targets::Only(partitions);
                for state in [ParkedState::Waiting, ParkedState::Retry] {
                    self.retry_some(state, &buckets, &probes, PROBE_ROWS_MAX, stop)
                        .await?;
                }
            }
        }
        if let Some(probe) = context.breakers.next_probe() {
            wait = wait.min(probe.max(PROBE_PAUSE));
        }
        if Instant::now() >= self.next_orphans {
            // A search that fails is not repeated at once: the other rows would wait for it.
            self.next_orphans = Instant::now() + ORPHANS_INTERVAL;
            self.next_orphans = Instant::now() + self.free_orphans(&buckets, stop).await?;
        }
        if context
            .held_may_be_acknowledged
            .swap(false, Ordering::AcqRel)
        {
            context.store.sweep_acknowledged().await?;
            let soon = Instant::now() + HELD_KEYS_PAUSE;
            self.next_orphans = self.next_orphans.min(soon);
        }
        let wait = wait.min(self.next_orphans - Instant::now());
        Ok(wait.max(context.config.poll_min.min(PAUSE)))
    }

    /// Sends due rows to the sender. Returns the time until the next pass.
    async fn retry(
        &mut self,
        state: ParkedState,
        buckets: &[u16],
        targets: &Targets,
        stop: &CancellationToken,
    ) -> Result<Duration, StoreError> {
        let sent = self.retry_some(state, buckets, targets, DUE_ROWS_MAX, stop);
        Ok(if sent.await? >= DUE_ROWS_MAX {
            Duration::ZERO
        } else {
            AGAIN_IN
        })
    }

    /// Sends at most `rows_max` due rows to the sender. Returns how many were sent.
    async fn retry_some(
        &mut self,
        state: ParkedState,
        buckets: &[u16],
        targets: &Targets,
        rows_max: u32,
        stop: &CancellationToken,
    ) -> Result<u32, StoreError> {
        let store = self.context.store.clone();
        let wait_max = self.context.config.retry.max.max(HELD_MAX);
        let at_most = (rows_max, wait_max);
        let due = store.parked_due(state, buckets, targets, at_most).await?;
        for (row, error) in due.unreadable {
            self.give_up(&row, error, stop).await?;
        }
        let mut sent = 0;
        for Parked {
            event, attempts, ..
        } in due.parked
        {
            let Some(claim) = ParkedClaim::new(&self.retries, event.place()) else {
                continue;
            };
            let Some(place) = self.sender.reserve() else {
                continue;
            };
            sent += 1;
            place.send(Item {
                event,
                origin: Origin::Parked { claim, attempts },
                alone: false,
                committed_at: None,
            });
        }
        Ok(sent)
    }

    /// Frees keys whose waiting rows have no row before them. Returns the time until the next search.
    async fn free_orphans(
        &mut self,
        buckets: &[u16],
        stop: &CancellationToken,
    ) -> Result<Duration, StoreError> {
        let context = Context::clone(&self.context);
        let orphans = context.store.orphan_keys(buckets).await?;
        let found = orphans.len();
        if found > 0 {
            tracing::warn!(keys = found, "orphaned blocked rows released");
        }
        self.release(orphans.into_iter().collect(), stop).await?;
        // Keys whose parked row was delivered by the previous owner of these buckets.
        let known = context.blocked_keys.without_forwarded(buckets);
        if !known.is_empty() {
            let waiting = context.store.waiting_keys(buckets).await?;
            for key in known.iter().filter(|key| !waiting.contains(*key)) {
                context.blocked_keys.free(key);
            }
        }
        context.store.sweep_acknowledged().await?;
        Ok(if found < ORPHAN_KEYS_MAX {
            ORPHANS_INTERVAL
        } else {
            Duration::ZERO
        })
    }
}

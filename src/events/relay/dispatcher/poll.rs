//! Reads the ends of streams, and the events that were not handed over.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::Dispatcher;
use crate::domain::{CampaignId, StreamId};
use crate::events::relay::stream::Stream;
use crate::events::relay::window::Window;
use crate::events::relay::{Context, KeyPolicy};
use crate::parts::store::{StoreError, StreamEnds};

/// A sweep over all streams is followed by a pause of its own duration times this factor.
const SLOW_SWEEP_SHARE: u32 = 20;
/// Longest pause after a sweep.
const SWEEP_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Fewest events of a stream to read, if there is room.
const PAGE_MIN: usize = 64;
/// Idle streams that are stored; others are found again when they have new events.
const IDLE_STREAMS_MAX: usize = 4_096;

impl Dispatcher {
    pub(super) async fn on_poll(&mut self) {
        self.context.metrics.polls.inc();
        self.next_poll = Instant::now() + self.context.config.poll_max;
        if let Err(failure) = self.poll().await {
            tracing::warn!(%failure, "outbox not read");
            return;
        }
        self.next_poll = self.next_poll.min(self.next_sweep);
        self.dispatch();
    }

    async fn poll(&mut self) -> Result<(), StoreError> {
        // A new primary may lack events that the old one had.
        self.context.store.prove_primary().await?;
        self.take_over().await?;
        self.drop_lost();
        let appended_campaigns = std::mem::take(&mut *self.context.appended_campaigns());
        self.appended_campaigns.extend(appended_campaigns);
        if Instant::now() >= self.next_sweep {
            self.sweep().await?;
        } else if !self.appended_campaigns.is_empty() {
            let appended_campaigns: Vec<CampaignId> = self
                .appended_campaigns
                .iter()
                .filter(|campaign| self.terms.contains_key(&campaign.bucket()))
                .copied()
                .collect();
            let read_at = Instant::now().into_std();
            let ends = self.context.store.stream_ends(&appended_campaigns).await?;
            self.appended_campaigns.clear();
            self.learn(ends, read_at);
        }
        self.read().await
    }

    /// Adds buckets that this relay has acquired, and drops the streams of buckets that it has lost.
    async fn take_over(&mut self) -> Result<(), StoreError> {
        let context = Context::clone(&self.context);
        let usable = context.ownership.usable();
        if usable == self.terms {
            return Ok(());
        }
        let gained: Vec<u16> = usable
            .iter()
            .filter(|(bucket, term)| self.terms.get(bucket) != Some(term))
            .map(|(bucket, _)| *bucket)
            .collect();
        if !gained.is_empty() {
            let parked = match context.config.key_policy {
                KeyPolicy::Block => context.store.waiting_keys(&gained).await?,
                KeyPolicy::Skip => BTreeSet::new(),
            };
            context.blocked_keys.block_all(parked);
            // Their parked rows now belong to this relay, too.
            context.buckets_gained.notify_one();
            context.dead_letter_added.notify_one();
            self.next_sweep = Instant::now();
        }
        self.streams.retain(|_, stream| {
            usable.get(&stream.window.stream.bucket()) == Some(&stream.window.term)
        });
        self.terms = usable;
        Ok(())
    }

    /// Streams that have lost an event in flight, or were read from another primary, are read again from their
    /// position.
    fn drop_lost(&mut self) {
        let appended_campaigns = &mut self.appended_campaigns;
        let replaced_at = self.context.store.replaced_at();
        self.streams.retain(|id, stream| {
            if replaced_at.is_some_and(|at| stream.window.read_at() <= at) {
                stream.window.lose();
            }
            let is_lost = stream.window.is_lost();
            if is_lost {
                appended_campaigns.insert(id.campaign);
            }
            !is_lost
        });
    }

    /// Looks for pending events in all owned streams: for those whose hints were lost.
    async fn sweep(&mut self) -> Result<(), StoreError> {
        if self.streams.len() > IDLE_STREAMS_MAX {
            self.streams.retain(|_, stream| !stream.is_idle());
        }
        let began = Instant::now();
        let buckets: Vec<u16> = self.terms.keys().copied().collect();
        let read_at = began.into_std();
        let ends = self.context.store.streams_behind(&buckets).await?;
        let took = began.elapsed();
        let least = self.context.config.poll_max;
        let pause = (took * SLOW_SWEEP_SHARE).clamp(least, SWEEP_PAUSE_MAX.max(least));
        self.next_sweep = Instant::now() + pause;
        self.appended_campaigns.clear();
        self.learn(ends, read_at);
        Ok(())
    }

    /// Takes the ends of streams that were read after `read_at`.
    fn learn(&mut self, ends: Vec<StreamEnds>, read_at: std::time::Instant) {
        for StreamEnds {
            stream,
            published,
            end,
        } in ends
        {
            let Some(term) = self.terms.get(&stream.bucket()) else {
                continue;
            };
            let read = self.streams.get(&stream).map(Stream::read);
            if let Some(read) = read.filter(|read| *read > end) {
                tracing::error!(
                    campaign.id = %stream.campaign,
                    topic = stream.topic.as_str(),
                    read,
                    end,
                    "the database has lost events of a stream: it is read again from its position"
                );
                self.streams.remove(&stream);
            }
            self.streams
                .entry(stream)
                .or_insert_with(|| Stream::new(Window::new(stream, *term, published, read_at), end))
                .extends_to(end);
        }
    }

    /// Reads the streams that have unread events and nothing ready, each a page, as far as there is room.
    async fn read(&mut self) -> Result<(), StoreError> {
        let context = Context::clone(&self.context);
        let mut room = context.in_flight.left();
        let page_max = usize::try_from(context.config.poll_rows_max).unwrap_or(usize::MAX);
        let mut behind: Vec<StreamId> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.ready.is_empty() && stream.unread() > 0)
            .map(|(id, _)| *id)
            .collect();
        if behind.is_empty() || context.breakers.broker_wait().is_some() {
            return Ok(());
        }
        if let Some(allowed) = self.pace.allowance(Instant::now()) {
            room = room.min(allowed);
            if room == 0 {
                self.next_poll = self.next_poll.min(self.pace.next_window());
                return Ok(());
            }
        }
        // Round-robin: if room is short, the first streams would take all of it.
        behind.sort_unstable();
        let served = behind.partition_point(|id| *id <= self.last_read);
        behind.rotate_left(served);
        let share = (room / behind.len()).clamp(PAGE_MIN.min(page_max), page_max);
        for id in behind {
            let rows_max = share.min(room);
            if rows_max == 0 {
                break;
            }
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            self.last_read = id;
            let unread = usize::try_from(stream.unread()).unwrap_or(usize::MAX);
            let rows_max = u32::try_from(rows_max.min(unread)).unwrap_or(u32::MAX);
            let after = stream.read();
            let entries = context.store.read_stream(id, after, rows_max).await?;
            room = room.saturating_sub(entries.len());
            self.pace.taken(entries.len());
            stream.was_read(entries);
            let is_behind = stream.unread() > 0;
            self.activate(id);
            if is_behind {
                self.poll_within(Duration::ZERO);
            }
        }
        Ok(())
    }
}

//! Takes rows, handed over or polled, and gives each to its worker, once. It never waits for a worker: a
//! row that finds no room stays where it is, pending.

mod hand_over;
mod load;
mod probe;
mod unreadable;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::in_flight::InFlight;
use super::owner::Term;
use super::pace::Pace;
use super::parker::Report;
use super::reading::{Coverage, Reading};
use super::{Context, Item, KeyPolicy, Signal};
use crate::domain::{BucketSet, Fresh};
use crate::parts::store::{ParkedState, StoreError};
use crate::runtime::supervisor::BoxError;

/// Rows of a topic that cannot be written to that go out to find out whether it can be again.
const PROBE_ROWS_MAX: usize = 32;
/// A poll that took long is followed by a wait so many times as long.
const SLOW_POLL_SHARE: u32 = 4;
/// And never longer than this.
const SLOW_POLL_WAIT_MAX: Duration = Duration::from_secs(5);

/// What comes in.
#[derive(Debug)]
pub(super) struct Inlets {
    pub(super) hints: mpsc::Receiver<Fresh>,
    pub(super) signals: mpsc::Receiver<Signal>,
}

#[derive(Debug)]
pub(super) struct Dispatcher {
    context: Context,
    workers: Vec<mpsc::Sender<Item>>,
    parker: mpsc::Sender<Report>,
    in_flight: InFlight,
    /// Tenure of each bucket whose blocked keys are known.
    tenures: BTreeMap<u16, Term>,
    reading: Reading,
    pace: Pace,
    /// Whether the last poll found no room for rows.
    starved: bool,
    /// Rows of partitions that may be probed are not looked for before: last time there were none.
    next_probe: Instant,
    wait: Duration,
    next_poll: Instant,
    /// However many wake it: a poll that takes long is not to be all that the database does.
    not_before: Instant,
}

impl Dispatcher {
    pub(super) fn new(
        context: &Context,
        workers: Vec<mpsc::Sender<Item>>,
        parker: mpsc::Sender<Report>,
    ) -> Self {
        Self {
            context: Context::clone(context),
            workers,
            parker,
            in_flight: InFlight::default(),
            tenures: BTreeMap::new(),
            reading: Reading::default(),
            pace: Pace::new(Instant::now()),
            starved: false,
            next_probe: Instant::now(),
            wait: context.config.poll_min,
            next_poll: Instant::now(),
            not_before: Instant::now(),
        }
    }

    /// Runs until told to stop. What is under way then is the workers' to finish.
    pub(super) async fn run(
        mut self,
        mut inlets: Inlets,
        stop: CancellationToken,
    ) -> Result<(), BoxError> {
        let context = Context::clone(&self.context);
        let mut hints_open = true;
        loop {
            let room = self.room() > 0;
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(signal) = inlets.signals.recv() => self.on_signal(signal),
                hint = inlets.hints.recv(), if room && hints_open => match hint {
                    Some(fresh) => self.on_hint(fresh),
                    None => hints_open = false,
                },
                () = context.wake.notified() => self.poll_within(Duration::ZERO),
                () = tokio::time::sleep_until(self.next_poll.max(self.not_before)) => {
                    // Handed-over rows first: the poll would only find them again.
                    while let Ok(fresh) = inlets.hints.try_recv() {
                        self.on_hint(fresh);
                    }
                    self.on_poll().await;
                }
            }
        }
    }

    fn room(&self) -> usize {
        let max = usize::try_from(self.context.config.in_flight_max).unwrap_or(usize::MAX);
        max.saturating_sub(self.in_flight.len())
    }

    fn poll_within(&mut self, delay: Duration) {
        self.wait = self.context.config.poll_min;
        self.next_poll = self.next_poll.min(Instant::now() + delay);
    }

    fn on_signal(&mut self, signal: Signal) {
        match signal {
            Signal::Settled(ids) => {
                for id in ids {
                    self.in_flight.remove(id, &self.context);
                    self.in_flight.remember(id);
                }
                if self.starved || self.reading.has_backlog() {
                    self.poll_within(Duration::ZERO);
                }
            }
            Signal::Back(ids) => {
                for id in ids {
                    self.in_flight.remove(id, &self.context);
                }
                self.poll_within(self.context.config.poll_min);
                self.next_probe = Instant::now();
                self.poll_for_probe();
            }
            Signal::Due(items) => {
                for item in items {
                    let known = self.in_flight.contains(item.event.id);
                    // One that finds no room is brought again by the parker's next pass.
                    if !known && self.context.ownership.may_send(item.event.bucket) {
                        self.send_to_worker(item);
                    }
                }
            }
        }
    }

    /// A first event of a participation has none before it. A later one may: committed on another
    /// replica, and not read here yet; then the poll, which sees both, puts them in order. The same
    /// goes for keys that several participations share.
    fn on_hint(&mut self, fresh: Fresh) {
        let committed_at = Instant::from_std(fresh.committed_at);
        self.pace.handed_over(fresh.events.len(), Instant::now());
        let mut foreign = Vec::new();
        for event in fresh.events {
            if self.in_flight.contains(event.id) || self.in_flight.was_settled(event.id) {
                continue;
            }
            if !self.context.ownership.owns(event.bucket) {
                foreign.push(event.bucket);
                continue;
            }
            // It is read when its partition takes records again.
            if self
                .context
                .breakers
                .is_partition_held(self.context.target(&event))
            {
                continue;
            }
            let known = self.tenures.contains_key(&event.bucket);
            let may_go = known
                && self.context.ownership.may_send(event.bucket)
                && !self.context.breakers.is_held(event.stream);
            let is_first = !event.shares_its_key() && event.key_sequence == 1;
            if is_first && may_go && self.room() > 0 && self.dispatch(event, Some(committed_at)) {
                self.context.metrics.wake_hits.inc();
            } else {
                self.poll_within(self.context.config.poll_min);
            }
        }
        self.context.foreign_buckets.add(BucketSet::of(foreign));
    }

    async fn on_poll(&mut self) {
        let began = Instant::now();
        self.context.metrics.polls.inc();
        let outcome = self.poll().await;
        let took = began.elapsed();
        let is_read = outcome.is_ok();
        match outcome {
            Ok(Found::Nothing) => {
                self.wait = (self.wait * 2).min(self.context.config.poll_max);
            }
            Ok(Found::Rows) => self.wait = self.context.config.poll_min,
            Ok(Found::More) => self.wait = Duration::ZERO,
            Ok(Found::OutOfTurn) => self.wait = self.pace.next_window() - Instant::now(),
            Err(failure) => {
                tracing::warn!(%failure, "outbox not read");
                self.wait = self.context.config.poll_max;
            }
        }
        let now = Instant::now();
        self.next_poll = now + self.wait;
        if is_read && self.wait > Duration::ZERO {
            self.not_before = now + (took * SLOW_POLL_SHARE).min(SLOW_POLL_WAIT_MAX);
        }
        self.wait = self.wait.max(self.context.config.poll_min);
        self.poll_for_probe();
    }

    /// Reads what is pending in the owned buckets and dispatches what is new.
    async fn poll(&mut self) -> Result<Found, StoreError> {
        self.context.blocked_keys.begin_reading();
        let owned = self.take_over().await?;
        self.send_probes(&owned).await?;
        let poll_rows_max =
            usize::try_from(self.context.config.poll_rows_max).unwrap_or(usize::MAX);
        let mut fresh_max = poll_rows_max.min(self.room());
        self.starved = fresh_max == 0;
        if self.reading.has_backlog()
            && let Some(allowed) = self.pace.allowance(Instant::now())
        {
            if allowed == 0 {
                return Ok(Found::OutOfTurn);
            }
            fresh_max = fresh_max.min(allowed);
        }
        let context = Context::clone(&self.context);
        let under_way = |bucket| context.ownership.under_way(bucket);
        let Some(page) = self.reading.next(&owned, fresh_max, under_way) else {
            return Ok(Found::Nothing);
        };
        let limit = u32::try_from(page.rows_max).unwrap_or(u32::MAX);
        let without = context.excluded_from_poll();
        let found = context
            .store
            .pending(&page.buckets, &without, limit)
            .await?;
        let last = found.last().map(|row| row.key.bucket);
        let coverage = self.reading.was_read(&page, found.len(), last);
        let taken = self.take_new(found, page.fresh_max).await?;
        self.pace.taken(taken);
        Ok(match coverage {
            Coverage::Part if taken > 0 => Found::More,
            Coverage::Part => Found::Rows,
            Coverage::Everything if taken > 0 => Found::Rows,
            Coverage::Everything => Found::Nothing,
        })
    }

    /// Reads which keys are blocked in buckets that are newly ours. The owned buckets, in order.
    async fn take_over(&mut self) -> Result<Vec<u16>, StoreError> {
        let usable = self.context.ownership.usable();
        let fresh: Vec<u16> = usable
            .iter()
            .filter(|(bucket, term)| self.tenures.get(bucket) != Some(term))
            .map(|(bucket, _)| *bucket)
            .collect();
        if !fresh.is_empty() {
            let blocked = match self.context.config.key_policy {
                KeyPolicy::Block => {
                    // Those blocked by nothing, too: the parker lets them go, and they are not to be passed.
                    let states = [ParkedState::Retry, ParkedState::Blocked];
                    self.context.store.parked_keys(&states, &fresh).await?
                }
                KeyPolicy::Skip => Vec::new(),
            };
            self.context.blocked_keys.learn(&fresh, blocked);
            // Their parked rows are ours now, too.
            self.context.buckets_gained.notify_one();
            self.context.dead_letter_added.notify_one();
        }
        let buckets = usable.keys().copied().collect();
        self.tenures = usable;
        Ok(buckets)
    }
}

/// Whether a poll gives reason for another one.
enum Found {
    /// At once.
    More,
    /// When new rows have had their turn.
    OutOfTurn,
    /// Soon.
    Rows,
    Nothing,
}

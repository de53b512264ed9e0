//! Takes rows, handed over or polled, and gives each to its lane, once. It never waits for a lane: a
//! row that finds no room stays where it is, pending.

mod passing;
mod trial;
mod unreadable;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::claims::Claims;
use super::owner::Term;
use super::pace::Pace;
use super::parker::Note;
use super::reading::{Coverage, Reading};
use super::{Item, KeyPolicy, Parts, Signal};
use crate::domain::{BucketSet, Fresh, OutboxEvent};
use crate::parts::store::{ParkedState, Pending, StoreError};
use crate::runtime::supervisor::BoxError;

/// Events loaded by one statement.
const LOAD_ROWS_MAX: usize = 500;
/// Rows of a topic that cannot be written to that go out to find out whether it can be again.
const TRIAL_ROWS_MAX: usize = 32;
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
    parts: Parts,
    lanes: Vec<mpsc::Sender<Item>>,
    parker: mpsc::Sender<Note>,
    claims: Claims,
    /// Tenure of each bucket whose blocked keys are known.
    tenures: BTreeMap<u16, Term>,
    reading: Reading,
    pace: Pace,
    /// Whether the last poll found no room for rows.
    starved: bool,
    /// Rows of partitions that may be probed are not looked for before: last time there were none.
    next_trial: Instant,
    wait: Duration,
    next_poll: Instant,
    /// However many wake it: a poll that takes long is not to be all that the database does.
    not_before: Instant,
}

impl Dispatcher {
    pub(super) fn new(
        parts: &Parts,
        lanes: Vec<mpsc::Sender<Item>>,
        parker: mpsc::Sender<Note>,
    ) -> Self {
        Self {
            parts: Parts::clone(parts),
            lanes,
            parker,
            claims: Claims::default(),
            tenures: BTreeMap::new(),
            reading: Reading::default(),
            pace: Pace::new(Instant::now()),
            starved: false,
            next_trial: Instant::now(),
            wait: parts.config.poll_min,
            next_poll: Instant::now(),
            not_before: Instant::now(),
        }
    }

    /// Runs until told to stop. What is under way then is the lanes' to finish.
    pub(super) async fn run(
        mut self,
        mut inlets: Inlets,
        stop: CancellationToken,
    ) -> Result<(), BoxError> {
        let parts = Parts::clone(&self.parts);
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
                () = parts.wake.notified() => self.poll_within(Duration::ZERO),
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
        let max = usize::try_from(self.parts.config.in_flight_max).unwrap_or(usize::MAX);
        max.saturating_sub(self.claims.len())
    }

    fn poll_within(&mut self, delay: Duration) {
        self.wait = self.parts.config.poll_min;
        self.next_poll = self.next_poll.min(Instant::now() + delay);
    }

    fn on_signal(&mut self, signal: Signal) {
        match signal {
            Signal::Settled(ids) => {
                for id in ids {
                    self.claims.remove(id, &self.parts);
                    self.claims.remember(id);
                }
                if self.starved || self.reading.has_backlog() {
                    self.poll_within(Duration::ZERO);
                }
            }
            Signal::Back(ids) => {
                for id in ids {
                    self.claims.remove(id, &self.parts);
                }
                self.poll_within(self.parts.config.poll_min);
                self.next_trial = Instant::now();
                self.poll_for_trial();
            }
            Signal::Due(items) => {
                for item in items {
                    let known = self.claims.contains(item.event.id);
                    // One that finds no room is brought again by the parker's next pass.
                    if !known && self.parts.ownership.may_send(item.event.bucket) {
                        self.pass_to_lane(item);
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
            if self.claims.contains(event.id) || self.claims.was_settled(event.id) {
                continue;
            }
            if !self.parts.ownership.owns(event.bucket) {
                foreign.push(event.bucket);
                continue;
            }
            // It is read when its partition takes records again.
            if self
                .parts
                .breakers
                .is_partition_held(self.parts.place(&event))
            {
                continue;
            }
            let known = self.tenures.contains_key(&event.bucket);
            let may_go = known
                && self.parts.ownership.may_send(event.bucket)
                && !self.parts.breakers.is_held(event.stream);
            let is_first = !event.shares_its_key() && event.key_sequence == 1;
            if is_first && may_go && self.room() > 0 && self.dispatch(event, Some(committed_at)) {
                self.parts.metrics.wake_hits.inc();
            } else {
                self.poll_within(self.parts.config.poll_min);
            }
        }
        self.parts.foreign_buckets.add(BucketSet::of(foreign));
    }

    async fn on_poll(&mut self) {
        let began = Instant::now();
        self.parts.metrics.polls.inc();
        let outcome = self.poll().await;
        let took = began.elapsed();
        let is_read = outcome.is_ok();
        match outcome {
            Ok(Found::Nothing) => {
                self.wait = (self.wait * 2).min(self.parts.config.poll_max);
            }
            Ok(Found::Rows) => self.wait = self.parts.config.poll_min,
            Ok(Found::More) => self.wait = Duration::ZERO,
            Ok(Found::OutOfTurn) => self.wait = self.pace.next_window() - Instant::now(),
            Err(failure) => {
                tracing::warn!(%failure, "outbox not read");
                self.wait = self.parts.config.poll_max;
            }
        }
        let now = Instant::now();
        self.next_poll = now + self.wait;
        if is_read && self.wait > Duration::ZERO {
            self.not_before = now + (took * SLOW_POLL_SHARE).min(SLOW_POLL_WAIT_MAX);
        }
        self.wait = self.wait.max(self.parts.config.poll_min);
        self.poll_for_trial();
    }

    /// Reads what is pending in the owned buckets and dispatches what is new.
    async fn poll(&mut self) -> Result<Found, StoreError> {
        self.parts.blocked.begin_reading();
        let owned = self.take_over().await?;
        self.send_on_trial(&owned).await?;
        let poll_rows_max = usize::try_from(self.parts.config.poll_rows_max).unwrap_or(usize::MAX);
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
        let parts = Parts::clone(&self.parts);
        let under_way = |bucket| parts.ownership.under_way(bucket);
        let Some(page) = self.reading.next(&owned, fresh_max, under_way) else {
            return Ok(Found::Nothing);
        };
        let limit = u32::try_from(page.rows_max).unwrap_or(u32::MAX);
        let without = parts.without_away();
        let found = parts.store.pending(&page.buckets, &without, limit).await?;
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

    /// Dispatches those of the rows read that are new, at most so many: how many were taken.
    async fn take_new(
        &mut self,
        found: Vec<Pending>,
        rows_max: usize,
    ) -> Result<usize, StoreError> {
        let (held, free): (Vec<_>, Vec<_>) = found.into_iter().partition(|row| row.held);
        let fresh: Vec<Pending> = free
            .into_iter()
            .filter(|row| !self.claims.contains(row.key.event_id))
            .take(rows_max)
            .collect();
        if fresh.is_empty() {
            return Ok(0);
        }
        let ids: Vec<_> = held.iter().map(|row| row.key.event_id).collect();
        let held_keys = self.parts.store.keys_of(&ids).await?;
        self.take(&fresh, held_keys).await
    }

    /// Loads and dispatches pending rows: how many were taken. Rows of `refused` keys stay.
    async fn take(
        &mut self,
        fresh: &[Pending],
        mut refused: HashSet<String>,
    ) -> Result<usize, StoreError> {
        let mut taken = 0;
        let mut on_trial = 0;
        for rows in fresh.chunks(LOAD_ROWS_MAX) {
            let ids: Vec<_> = rows.iter().map(|row| row.key.event_id).collect();
            let mut loaded = self.parts.store.outbox_events(&ids).await?;
            if loaded.events.len() < rows.len() {
                self.give_up_unreadable(rows, &loaded);
            }
            loaded.events.sort_by(in_order);
            for event in loaded.events {
                // Once one row of a key stays, so do those after it.
                if refused.contains(&*event.key) {
                    continue;
                }
                let place = self.parts.place(&event);
                if self.parts.breakers.is_partition_held(place) {
                    refused.insert(event.key.to_string());
                    continue;
                }
                if self.parts.breakers.is_on_trial(event.stream) {
                    on_trial += 1;
                    if on_trial > TRIAL_ROWS_MAX {
                        // The trial may be over before those behind it come.
                        refused.insert(event.key.to_string());
                        continue;
                    }
                }
                let key = Arc::clone(&event.key);
                if self.dispatch(event, None) {
                    taken += 1;
                } else {
                    refused.insert(key.to_string());
                }
            }
        }
        Ok(taken)
    }

    /// Reads which keys are blocked in buckets that are newly ours. The owned buckets, in order.
    async fn take_over(&mut self) -> Result<Vec<u16>, StoreError> {
        let usable = self.parts.ownership.usable();
        let fresh: Vec<u16> = usable
            .iter()
            .filter(|(bucket, term)| self.tenures.get(bucket) != Some(term))
            .map(|(bucket, _)| *bucket)
            .collect();
        if !fresh.is_empty() {
            let blocked = match self.parts.config.key_policy {
                KeyPolicy::Block => {
                    // Those blocked by nothing, too: the parker lets them go, and they are not to be passed.
                    let states = [ParkedState::Retry, ParkedState::Blocked];
                    self.parts.store.parked_keys(&states, &fresh).await?
                }
                KeyPolicy::Skip => Vec::new(),
            };
            self.parts.blocked.learn(&fresh, blocked);
            // Their parked rows are ours now, too.
            self.parts.unparked.notify_one();
            self.parts.died.notify_one();
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

/// Rows of one key together, each participation's in its own order, others in order of id, which is
/// the order of their commits.
fn in_order(one: &OutboxEvent, other: &OutboxEvent) -> std::cmp::Ordering {
    let sequence = |event: &OutboxEvent| {
        if event.shares_its_key() {
            0
        } else {
            event.key_sequence
        }
    };
    (&one.key, sequence(one), one.id).cmp(&(&other.key, sequence(other), other.id))
}

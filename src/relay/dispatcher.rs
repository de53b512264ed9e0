//! Takes rows, handed over or polled, and gives each to its lane, once. It never waits for a lane: a
//! row that finds no room stays where it is, pending.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::claims::{Claims, Place};
use super::parker::Note;
use super::{Item, KeyPolicy, Origin, Parts, Signal};
use crate::domain::{EventId, OutboxEvent};
use crate::store::StoreError;
use crate::supervisor::BoxError;

/// Events loaded by one statement.
const LOAD_ROWS_MAX: usize = 500;

/// What comes in.
#[derive(Debug)]
pub(super) struct Inlets {
    pub(super) hints: mpsc::Receiver<Vec<OutboxEvent>>,
    pub(super) signals: mpsc::Receiver<Signal>,
}

#[derive(Debug)]
pub(super) struct Dispatcher {
    parts: Parts,
    lanes: Vec<mpsc::Sender<Item>>,
    parker: mpsc::Sender<Note>,
    claims: Claims,
    /// Tenure of each bucket whose blocked keys are known.
    tenures: BTreeMap<u16, u64>,
    /// First bucket of the next poll, when the last one could not take all.
    cursor: u16,
    wait: Duration,
    next_poll: Instant,
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
            cursor: 0,
            wait: parts.config.poll_min,
            next_poll: Instant::now(),
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
                    Some(events) => self.on_hint(events),
                    None => hints_open = false,
                },
                () = parts.wake.notified() => self.poll_within(Duration::ZERO),
                () = tokio::time::sleep_until(self.next_poll) => {
                    // Handed-over rows first: the poll would only find them again.
                    while let Ok(events) = inlets.hints.try_recv() {
                        self.on_hint(events);
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
            }
            Signal::Back(ids) => {
                for id in ids {
                    self.claims.remove(id, &self.parts);
                }
                self.poll_within(self.parts.config.poll_min);
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
    fn on_hint(&mut self, events: Vec<OutboxEvent>) {
        for event in events {
            if self.claims.contains(event.id) || self.claims.was_settled(event.id) {
                continue;
            }
            let known = self.tenures.contains_key(&event.bucket);
            if !known || !self.parts.ownership.may_send(event.bucket) {
                continue;
            }
            let is_first = event.key == event.aggregate_id && event.key_sequence == 1;
            if is_first && self.room() > 0 && self.dispatch(event) {
                self.parts.metrics.wake_hits.inc();
            } else {
                self.poll_within(self.parts.config.poll_min);
            }
        }
    }

    async fn on_poll(&mut self) {
        match self.poll().await {
            Ok(Found::Nothing) => {
                self.wait = (self.wait * 2).min(self.parts.config.poll_max);
            }
            Ok(Found::Rows) => self.wait = self.parts.config.poll_min,
            Err(failure) => {
                tracing::warn!(%failure, "outbox not read");
                self.wait = self.parts.config.poll_max;
            }
        }
        self.next_poll = Instant::now() + self.wait;
    }

    /// Reads what is pending in the owned buckets and dispatches what is new.
    async fn poll(&mut self) -> Result<Found, StoreError> {
        let mut buckets = self.take_over().await?;
        let poll_rows_max = usize::try_from(self.parts.config.poll_rows_max).unwrap_or(usize::MAX);
        let rows_max = poll_rows_max.min(self.room());
        if buckets.is_empty() || rows_max == 0 {
            return Ok(Found::Nothing);
        }
        let from = self.cursor;
        buckets.retain(|bucket| *bucket >= from);
        // Rows under way are read again and left out: what is new is looked for behind them.
        let read_max = rows_max + self.claims.len();
        let limit = u32::try_from(read_max).unwrap_or(u32::MAX);
        let found = self.parts.store.pending_keys(&buckets, limit).await?;
        let is_all = found.len() < read_max;
        let last = found.last().map_or(0, |key| key.bucket);
        self.cursor = if is_all { 0 } else { last.saturating_add(1) };
        let fresh: Vec<EventId> = found
            .into_iter()
            .map(|key| key.event_id)
            .filter(|id| !self.claims.contains(*id))
            .take(rows_max)
            .collect();
        let taken = self.take(&fresh).await?;
        // A poll that began in the middle, or found no end, has not seen everything.
        if taken > 0 || from > 0 || !is_all {
            Ok(Found::Rows)
        } else {
            Ok(Found::Nothing)
        }
    }

    /// Loads and dispatches pending rows: how many were taken.
    async fn take(&mut self, fresh: &[EventId]) -> Result<usize, StoreError> {
        let mut refused: HashSet<String> = HashSet::new();
        let mut taken = 0;
        for ids in fresh.chunks(LOAD_ROWS_MAX) {
            let mut events = self.parts.store.outbox_events(ids).await?;
            events.sort_by(in_order);
            for event in events {
                // Once one row of a key found no room, none after it may.
                if refused.contains(&event.key) {
                    continue;
                }
                let key = event.key.clone();
                if self.dispatch(event) {
                    taken += 1;
                } else {
                    refused.insert(key);
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
            .filter(|(bucket, number)| self.tenures.get(bucket) != Some(number))
            .map(|(bucket, _)| *bucket)
            .collect();
        if !fresh.is_empty() {
            let blocked = self.parts.store.parked_keys(&fresh).await?;
            for bucket in &fresh {
                self.parts.blocked.forget(*bucket);
            }
            if self.parts.config.key_policy == KeyPolicy::Block {
                for (bucket, key) in blocked {
                    self.parts.blocked.insert(&key, bucket);
                }
            }
        }
        self.tenures = usable.iter().copied().collect();
        Ok(usable.into_iter().map(|(bucket, _)| bucket).collect())
    }

    /// Claims a pending row and passes it on. False: it stays pending for now.
    fn dispatch(&mut self, event: OutboxEvent) -> bool {
        let rows = self.claims.under_way(&event.key);
        let is_blocked = self.parts.blocked.contains(&event.key);
        let is_recalled = rows.in_lane > 0 && self.parts.recalled.contains(&event.key);
        let item = Item {
            event,
            origin: Origin::Pending,
            alone: false,
        };
        if is_blocked {
            return self.pass_to_parker(item);
        }
        if rows.at_parker > 0 || is_recalled {
            return false;
        }
        self.pass_to_lane(item)
    }

    fn pass_to_lane(&mut self, item: Item) -> bool {
        let lanes = self.lanes.len().max(1);
        let lane = self.lanes.get(usize::from(item.event.bucket) % lanes);
        // Room is reserved first, so that the lane never sees a row that is not claimed.
        let Some(Ok(room)) = lane.map(mpsc::Sender::try_reserve) else {
            return false;
        };
        self.claims.insert(&item.event, Place::Lane, &self.parts);
        room.send(item);
        true
    }

    fn pass_to_parker(&mut self, item: Item) -> bool {
        let Ok(room) = self.parker.try_reserve() else {
            return false;
        };
        self.claims.insert(&item.event, Place::Parker, &self.parts);
        room.send(Note::Block(item));
        true
    }
}

/// Whether a poll gives reason for another one soon.
enum Found {
    Rows,
    Nothing,
}

/// Rows of one key together, each participation's in its own order, others in order of id, which is
/// the order of time.
fn in_order(one: &OutboxEvent, other: &OutboxEvent) -> std::cmp::Ordering {
    let sequence = |event: &OutboxEvent| {
        if event.key == event.aggregate_id {
            event.key_sequence
        } else {
            0
        }
    };
    (&one.key, sequence(one), one.id).cmp(&(&other.key, sequence(other), other.id))
}

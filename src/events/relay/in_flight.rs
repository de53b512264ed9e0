//! The rows in flight. A row is added before a worker receives it and removed when its result is in the database,
//! so that none is sent twice. Only the dispatcher has this.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Context, Map, Set};
use crate::domain::{EventId, OutboxEvent};
use crate::parts::store::PendingKey;

/// Settled rows remembered, for hints that arrive after the poll has read their rows.
const SETTLED_MAX: usize = 16_384;

/// The task that has a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Worker,
    Parker,
}

#[derive(Debug)]
struct InFlightRow {
    key: Arc<str>,
    bucket: u16,
    holder: Holder,
}

/// Rows of a key in flight, by task.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyCounts {
    pub(super) in_worker: usize,
    pub(super) at_parker: usize,
}

#[derive(Debug, Default)]
pub(super) struct InFlight {
    rows: Map<EventId, InFlightRow>,
    keys: Map<Arc<str>, KeyCounts>,
    settled: Set<EventId>,
    settled_order: VecDeque<EventId>,
}

impl InFlight {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn contains(&self, id: EventId) -> bool {
        self.rows.contains_key(&id)
    }

    pub(super) fn under_way(&self, key: &str) -> KeyCounts {
        self.keys.get(key).copied().unwrap_or_default()
    }

    pub(super) fn insert(&mut self, event: &OutboxEvent, holder: Holder, context: &Context) {
        let row = PendingKey::of(event);
        self.insert_row(row, Arc::clone(&event.key), holder, context);
    }

    /// Adds a row whose event cannot be read, so that its key is unknown.
    pub(super) fn insert_unreadable(&mut self, row: PendingKey, context: &Context) {
        self.insert_row(row, Arc::default(), Holder::Parker, context);
    }

    fn insert_row(&mut self, row: PendingKey, key: Arc<str>, holder: Holder, context: &Context) {
        context.ownership.add_in_flight(row.bucket);
        let rows = self.keys.entry(Arc::clone(&key)).or_default();
        match holder {
            Holder::Worker => rows.in_worker += 1,
            Holder::Parker => rows.at_parker += 1,
        }
        let claim = InFlightRow {
            key,
            bucket: row.bucket,
            holder,
        };
        self.rows.insert(row.event_id, claim);
    }

    /// Removes a row. With the last row of a key its recall ends.
    pub(super) fn remove(&mut self, id: EventId, context: &Context) {
        let Some(claim) = self.rows.remove(&id) else {
            return;
        };
        context.ownership.remove_in_flight(claim.bucket);
        let Some(rows) = self.keys.get_mut(&claim.key) else {
            return;
        };
        match claim.holder {
            Holder::Worker => rows.in_worker = rows.in_worker.saturating_sub(1),
            Holder::Parker => rows.at_parker = rows.at_parker.saturating_sub(1),
        }
        if rows.in_worker == 0 {
            context.recalled_keys.remove(&claim.key);
            if rows.at_parker == 0 {
                self.keys.remove(&claim.key);
            }
        }
    }

    pub(super) fn was_settled(&self, id: EventId) -> bool {
        self.settled.contains(&id)
    }

    /// Remembers that a row was settled, and forgets the oldest of those remembered.
    pub(super) fn remember(&mut self, id: EventId) {
        if self.settled.insert(id) {
            self.settled_order.push_back(id);
        }
        if self.settled_order.len() > SETTLED_MAX
            && let Some(oldest) = self.settled_order.pop_front()
        {
            self.settled.remove(&oldest);
        }
    }
}

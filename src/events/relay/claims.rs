//! Which rows are under way. A row is claimed before a lane sees it and given up when its result is
//! in the database, so that none is sent twice; the dispatcher alone holds this.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Map, Parts, Set};
use crate::domain::{EventId, OutboxEvent};
use crate::parts::store::PendingKey;

/// Settled rows remembered, against hints that come after the poll was faster.
const SETTLED_MAX: usize = 16_384;

/// Who has a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Lane,
    Parker,
}

#[derive(Debug)]
struct Claim {
    key: Arc<str>,
    bucket: u16,
    place: Place,
}

/// How many rows of a key are where.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UnderWay {
    pub(super) in_lane: usize,
    pub(super) at_parker: usize,
}

#[derive(Debug, Default)]
pub(super) struct Claims {
    rows: Map<EventId, Claim>,
    keys: Map<Arc<str>, UnderWay>,
    settled: Set<EventId>,
    settled_order: VecDeque<EventId>,
}

impl Claims {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn contains(&self, id: EventId) -> bool {
        self.rows.contains_key(&id)
    }

    pub(super) fn under_way(&self, key: &str) -> UnderWay {
        self.keys.get(key).copied().unwrap_or_default()
    }

    pub(super) fn insert(&mut self, event: &OutboxEvent, place: Place, parts: &Parts) {
        let row = PendingKey::of(event);
        self.insert_row(row, Arc::clone(&event.key), place, parts);
    }

    /// The same for a row whose event, and so its key, is not known.
    pub(super) fn insert_unreadable(&mut self, row: PendingKey, parts: &Parts) {
        self.insert_row(row, Arc::default(), Place::Parker, parts);
    }

    fn insert_row(&mut self, row: PendingKey, key: Arc<str>, place: Place, parts: &Parts) {
        parts.ownership.claim(row.bucket);
        let rows = self.keys.entry(Arc::clone(&key)).or_default();
        match place {
            Place::Lane => rows.in_lane += 1,
            Place::Parker => rows.at_parker += 1,
        }
        let claim = Claim {
            key,
            bucket: row.bucket,
            place,
        };
        self.rows.insert(row.event_id, claim);
    }

    /// Gives a row up. With the last row of a key a lane may take that key again.
    pub(super) fn remove(&mut self, id: EventId, parts: &Parts) {
        let Some(claim) = self.rows.remove(&id) else {
            return;
        };
        parts.ownership.unclaim(claim.bucket);
        let Some(rows) = self.keys.get_mut(&claim.key) else {
            return;
        };
        match claim.place {
            Place::Lane => rows.in_lane = rows.in_lane.saturating_sub(1),
            Place::Parker => rows.at_parker = rows.at_parker.saturating_sub(1),
        }
        if rows.in_lane == 0 {
            parts.recalled.remove(&claim.key);
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

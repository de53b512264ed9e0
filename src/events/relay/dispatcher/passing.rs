//! Claims rows and passes each to its lane, or to the parker where its key is blocked.

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Dispatcher, Note};
use crate::domain::OutboxEvent;
use crate::events::relay::claims::Place;
use crate::events::relay::keys::Passage;
use crate::events::relay::{Haste, Item, Origin};

impl Dispatcher {
    /// Claims a pending row and passes it on. False: it stays pending for now.
    pub(super) fn dispatch(&mut self, event: OutboxEvent, committed_at: Option<Instant>) -> bool {
        let Some(term) = self.tenures.get(&event.bucket).copied() else {
            return false;
        };
        let rows = self.claims.under_way(&event.key);
        let passage = self.parts.blocked.passage(&event.key);
        let is_recalled = rows.in_lane > 0 && self.parts.recalled.contains(&event.key);
        let item = Item {
            event,
            origin: Origin::Pending,
            epoch: term.epoch,
            alone: false,
            haste: if committed_at.is_none() && self.reading.has_backlog() {
                Haste::Backlog
            } else {
                Haste::Fresh
            },
            committed_at,
        };
        match passage {
            Passage::Blocked => self.pass_to_parker(item),
            Passage::Reread => false,
            Passage::Open if rows.at_parker > 0 || is_recalled => false,
            Passage::Open => self.pass_to_lane(item),
        }
    }

    pub(super) fn pass_to_lane(&mut self, item: Item) -> bool {
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

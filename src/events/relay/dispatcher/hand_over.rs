//! Claims rows and passes each to its worker, or to the parker where its key is blocked.

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Dispatcher, Report};
use crate::domain::OutboxEvent;
use crate::events::relay::in_flight::Holder;
use crate::events::relay::keys::KeyState;
use crate::events::relay::{Item, Origin, Urgency};

impl Dispatcher {
    /// Claims a pending row and passes it on. False: it stays pending for now.
    pub(super) fn dispatch(&mut self, event: OutboxEvent, committed_at: Option<Instant>) -> bool {
        let Some(term) = self.tenures.get(&event.bucket).copied() else {
            return false;
        };
        let rows = self.in_flight.under_way(&event.key);
        let key_state = self.context.blocked_keys.key_state(&event.key);
        let is_recalled = rows.in_worker > 0 && self.context.recalled_keys.contains(&event.key);
        let item = Item {
            event,
            origin: Origin::Pending,
            epoch: term.epoch,
            alone: false,
            urgency: if committed_at.is_none() && self.reading.has_backlog() {
                Urgency::Backlog
            } else {
                Urgency::Fresh
            },
            committed_at,
        };
        match key_state {
            KeyState::Blocked => self.send_to_parker(item),
            KeyState::Reread => false,
            KeyState::Open if rows.at_parker > 0 || is_recalled => false,
            KeyState::Open => self.send_to_worker(item),
        }
    }

    pub(super) fn send_to_worker(&mut self, item: Item) -> bool {
        let workers = self.workers.len().max(1);
        let worker = self.workers.get(usize::from(item.event.bucket) % workers);
        // Room is reserved first, so that the worker never sees a row that is not claimed.
        let Some(Ok(room)) = worker.map(mpsc::Sender::try_reserve) else {
            return false;
        };
        self.in_flight
            .insert(&item.event, Holder::Worker, &self.context);
        room.send(item);
        true
    }

    fn send_to_parker(&mut self, item: Item) -> bool {
        let Ok(room) = self.parker.try_reserve() else {
            return false;
        };
        self.in_flight
            .insert(&item.event, Holder::Parker, &self.context);
        room.send(Report::Block(item));
        true
    }
}

//! Rows that can never be published.

use std::collections::HashSet;

use super::{Dispatcher, Report};
use crate::parts::store::{Loaded, Pending};

impl Dispatcher {
    /// Rows whose event is missing, or holds what this release does not know, can never be published.
    pub(super) fn give_up_unreadable(&mut self, rows: &[Pending], loaded: &Loaded) {
        let readable: HashSet<_> = loaded.events.iter().map(|event| event.id).collect();
        for row in rows {
            let id = row.key.event_id;
            if readable.contains(&id) {
                continue;
            }
            let why = loaded.unreadable.iter().find(|(found, _)| *found == id);
            let error =
                why.map_or_else(|| "its event is missing".to_owned(), |(_, why)| why.clone());
            let Some(term) = self.tenures.get(&row.key.bucket).copied() else {
                continue;
            };
            let Ok(room) = self.parker.try_reserve() else {
                continue;
            };
            self.in_flight.insert_unreadable(row.key, &self.context);
            room.send(Report::Unreadable {
                row: *row,
                epoch: term.epoch,
                error,
            });
        }
    }
}

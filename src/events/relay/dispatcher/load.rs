//! Loads the events of new rows and dispatches them.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Dispatcher, PROBE_ROWS_MAX};
use crate::domain::OutboxEvent;
use crate::parts::store::{Pending, StoreError};

/// Events loaded by one statement.
const LOAD_ROWS_MAX: usize = 500;
impl Dispatcher {
    /// Dispatches the new rows among those read, up to a limit, and returns their number.
    pub(super) async fn take_new(
        &mut self,
        found: Vec<Pending>,
        rows_max: usize,
    ) -> Result<usize, StoreError> {
        let (held, free): (Vec<_>, Vec<_>) = found.into_iter().partition(|row| row.held);
        let fresh: Vec<Pending> = free
            .into_iter()
            .filter(|row| !self.in_flight.contains(row.key.event_id))
            .take(rows_max)
            .collect();
        if fresh.is_empty() {
            return Ok(0);
        }
        let ids: Vec<_> = held.iter().map(|row| row.key.event_id).collect();
        let held_keys = self.context.store.keys_of(&ids).await?;
        self.take(&fresh, held_keys).await
    }

    /// Loads and dispatches pending rows: how many were taken. Rows of `refused` keys stay.
    async fn take(
        &mut self,
        fresh: &[Pending],
        mut refused: HashSet<String>,
    ) -> Result<usize, StoreError> {
        let mut taken = 0;
        let mut probe_partitions = 0;
        for rows in fresh.chunks(LOAD_ROWS_MAX) {
            let ids: Vec<_> = rows.iter().map(|row| row.key.event_id).collect();
            let mut loaded = self.context.store.outbox_events(&ids).await?;
            if loaded.events.len() < rows.len() {
                self.give_up_unreadable(rows, &loaded);
            }
            loaded.events.sort_by(in_order);
            for event in loaded.events {
                // Once one row of a key stays, so do those after it.
                if refused.contains(&*event.key) {
                    continue;
                }
                let target = self.context.target(&event);
                if self.context.breakers.is_partition_held(target) {
                    refused.insert(event.key.to_string());
                    continue;
                }
                if self.context.breakers.is_refused(event.stream) {
                    probe_partitions += 1;
                    if probe_partitions > PROBE_ROWS_MAX {
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
